//! Training on a card, an emulated one unless `GIGARO_TEST_DEVICE` says otherwise: the losses of the processor, a resumed run bit for bit, and a batch that is cut when memory is full.

use std::path::Path;

use gigaro_data::Tokens;
use gigaro_data::loader::PretrainLoader;
use gigaro_models::{Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW};
use gigaro_nn::schedule::Schedule;
use gigaro_tensor::{DType, Device, Generator, Tensor, cuda};
use gigaro_train::checkpoint::Checkpoint;
use gigaro_train::interrupt::StopFlag;
use gigaro_train::next_token::NextToken;
use gigaro_train::progress::Event;
use gigaro_train::trainer::{Identity, Outcome, Settings, Trainer};

/// Losses, the figures of the last step, the weights, and how it ended.
struct Run {
    losses: Vec<f64>,
    figures: Vec<(&'static str, f64)>,
    weights: Vec<Vec<u8>>,
    outcome: gigaro_train::Result<Outcome>,
}

const ROWS: usize = 8;

/// Trains eight steps, or until `stop_after`.
fn train(
    out: &Path,
    device: Device,
    dropout: f64,
    stop_after: Option<u64>,
    resume: Option<&Path>,
) -> Run {
    let config = GptConfig {
        dropout,
        ..GptConfig::gpt2(13, 16, 1, 2, 16)
    };
    let model = Gpt::new(
        &config,
        &Generator::new(if resume.is_some() { 99 } else { 1 }),
    );
    model.to_device(device);
    let mut optimizer = AdamW::new(model.param_groups(0.1), AdamOptions::default());
    let tokens: Vec<u32> = (0..4000_u32).map(|i| (5 * i + i / 50) % 13).collect();
    let mut feed = PretrainLoader::new(Tokens::from(tokens), ROWS, 16, 5).expect("enough tokens");
    let checkpoint = resume.map(|path| Checkpoint::open(path).expect("a whole checkpoint"));
    let mut objective = NextToken::new(&model, &mut feed, &[], 1);
    let settings = Settings {
        steps: 8,
        schedule: Schedule::constant(3e-3),
        max_norm: 1.0,
        dtype: DType::F32,
        validate_every: 0,
        checkpoint_every: 0,
    };
    let (mut losses, mut figures) = (Vec::new(), Vec::new());
    let trainer = Trainer::new(
        &mut objective,
        &mut optimizer,
        settings,
        Identity::default(),
        out,
        7,
        checkpoint.as_ref(),
    );
    let stop = StopFlag::new();
    let outcome = trainer
        .expect("a writable folder")
        .run(&stop, &mut |event| {
            if let Event::Step(report) = event {
                losses.push(report.loss);
                figures = report.figures.to_vec();
                if Some(report.step) == stop_after {
                    stop.request();
                }
            }
        });
    Run {
        losses,
        figures,
        weights: model.state_dict().values().map(Tensor::to_bytes).collect(),
        outcome,
    }
}

fn card() -> Device {
    cuda::open_for_tests().expect("a card")
}

#[test]
fn the_losses_are_those_of_the_processor_and_a_resumed_run_has_every_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let here = train(&at("here"), Device::Cpu, 0.1, None, None);
    let there = train(&at("there"), card(), 0.1, None, None);
    for (a, b) in here.losses.iter().zip(&there.losses) {
        assert!((a - b).abs() < 1e-4, "{:?} {:?}", here.losses, there.losses);
    }
    let first = train(&at("cut"), card(), 0.1, Some(3), None);
    let Ok(Outcome::Interrupted(path)) = first.outcome else {
        panic!("{:?}", first.outcome)
    };
    let second = train(&at("cut"), card(), 0.1, None, Some(&path));
    assert_eq!([first.losses, second.losses].concat(), there.losses);
    assert_eq!(second.weights, there.weights);
    // A checkpoint does not know where it was made.
    let moved = train(&at("moved"), Device::Cpu, 0.1, None, Some(&path));
    assert!((moved.losses[4] - there.losses[7]).abs() < 1e-4);
}

#[test]
fn a_batch_that_does_not_fit_is_taken_in_parts_and_one_row_that_does_not_is_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let emulated = cuda::open_emulated(900).expect("an emulated card");
    let whole = train(&at("whole"), emulated, 0.0, None, None);
    assert!(whole.figures.iter().all(|(name, _)| *name != "micro_batch"));
    let mut cut = None;
    for (i, kib) in [160, 200, 240, 280, 320, 400, 500].into_iter().enumerate() {
        let small = cuda::open_emulated_of(910 + i, kib << 10).expect("an emulated card");
        let run =
            std::panic::catch_unwind(|| train(&at(&format!("{kib}")), small, 0.0, None, None));
        let Ok(run) = run else { continue };
        match run.outcome {
            Ok(_) => {
                cut = Some(run);
                break;
            }
            Err(error) => {
                let sentence = error.to_string();
                assert!(
                    sentence.contains("step 1: cuda:9") && sentence.contains("needs"),
                    "{sentence}"
                );
            }
        }
    }
    let cut = cut.expect("a card on which fewer rows fit");
    let rows = cut.figures.iter().find(|(name, _)| *name == "micro_batch");
    let (_, rows) = rows.expect("the batch did not fit");
    assert!(*rows < ROWS as f64);
    for (a, b) in whole.losses.iter().zip(&cut.losses) {
        assert!((a - b).abs() < 1e-4, "{:?} {:?}", whole.losses, cut.losses);
    }
}
