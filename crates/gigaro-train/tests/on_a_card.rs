//! Training on a card, an emulated one unless `GIGARO_TEST_DEVICE` says otherwise: the losses of the processor, a resumed run bit for bit, and a batch that is cut when memory is full.

use std::path::Path;

use gigaro_data::Tokens;
use gigaro_data::loader::PretrainLoader;
use gigaro_models::{Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW, Muon, MuonOptions, Optimizer};
use gigaro_nn::schedule::Schedule;
use gigaro_tensor::{DType, Device, Generator, Tensor, cuda, no_grad};
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
    /// Whether the last step was one call.
    captured: bool,
}

const ROWS: usize = 8;

fn settings(steps: u64) -> Settings {
    Settings {
        steps,
        schedule: Schedule::constant(3e-3),
        max_norm: 1.0,
        dtype: DType::F32,
        validate_every: 0,
        checkpoint_every: 0,
    }
}

/// Trains eight steps, or until `stop_after`.
fn train(
    out: &Path,
    device: Device,
    (dropout, muon): (f64, bool),
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
    let mut optimizer: Box<dyn Optimizer> = if muon {
        let (matrices, rest) = model.muon_groups(0.1);
        Box::new(Muon::new(matrices, rest, MuonOptions::default()))
    } else {
        Box::new(AdamW::new(model.param_groups(0.1), AdamOptions::default()))
    };
    let tokens: Vec<u32> = (0..4000_u32).map(|i| (5 * i + i / 50) % 13).collect();
    let mut feed = PretrainLoader::new(Tokens::from(tokens), ROWS, 16, 5).expect("enough tokens");
    let checkpoint = resume.map(|path| Checkpoint::open(path).expect("a whole checkpoint"));
    let mut objective = NextToken::new(&model, &mut feed, &[], 2);
    let (mut losses, mut figures) = (Vec::new(), Vec::new());
    let trainer = Trainer::new(
        &mut objective,
        &mut *optimizer,
        settings(8),
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
        captured: objective.is_captured(),
    }
}

fn card() -> Device {
    cuda::open_for_tests().expect("a card")
}

#[test]
fn the_losses_are_those_of_the_processor_and_a_resumed_run_has_every_bit() {
    resumed(false);
}

#[test]
fn so_it_is_with_muon() {
    resumed(true);
}

fn resumed(muon: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let here = train(&at("here"), Device::Cpu, (0.1, muon), None, None);
    let there = train(&at("there"), card(), (0.1, muon), None, None);
    for (a, b) in here.losses.iter().zip(&there.losses) {
        assert!((a - b).abs() < 1e-4, "{:?} {:?}", here.losses, there.losses);
    }
    assert!(there.captured && !here.captured);
    // The first step after a start is asked for call by call, later ones are one call: they have the same bits.
    let first = train(&at("cut"), card(), (0.1, muon), Some(3), None);
    let Ok(Outcome::Interrupted(path)) = first.outcome else {
        panic!("{:?}", first.outcome)
    };
    let second = train(&at("cut"), card(), (0.1, muon), None, Some(&path));
    assert_eq!([first.losses, second.losses].concat(), there.losses);
    assert_eq!(second.weights, there.weights);
    // A checkpoint does not know where it was made.
    let moved = train(&at("moved"), Device::Cpu, (0.1, muon), None, Some(&path));
    assert!((moved.losses[4] - there.losses[7]).abs() < 1e-4);
}

#[test]
fn a_captured_step_that_breaks_down_says_where_and_changes_no_weight() {
    let model = Gpt::new(&GptConfig::gpt2(13, 16, 2, 2, 16), &Generator::new(1));
    model.to_device(card());
    let mut optimizer = AdamW::new(model.param_groups(0.1), AdamOptions::default());
    let tokens: Vec<u32> = (0..4000).map(|i| i % 13).collect();
    let mut feed = PretrainLoader::new(Tokens::from(tokens), 4, 16, 5).expect("enough tokens");
    let mut objective = NextToken::new(&model, &mut feed, &[], 1);
    let folder = tempfile::tempdir().expect("a folder");
    let trainer = Trainer::new(
        &mut objective,
        &mut optimizer,
        settings(8),
        Identity::default(),
        folder.path(),
        7,
        None,
    );
    let mut before = Vec::new();
    let weights =
        || -> Vec<Vec<u8>> { model.state_dict().values().map(Tensor::to_bytes).collect() };
    let run = trainer.expect("a writable folder");
    let ended = run.run(&StopFlag::new(), &mut |event| {
        if let Event::Step(report) = event
            && report.step == 5
        {
            let (_, broken) = model
                .named_parameters()
                .into_iter()
                .find(|(name, _)| name.starts_with("transformer.h.1.mlp"))
                .expect("a layer");
            no_grad(|| broken.mul_(f64::NAN));
            before = weights();
        }
    });
    let said = ended.expect_err("a NaN").to_string();
    let expected = "step 6: the loss, and before it the output of transformer.h.1, is not finite";
    assert!(said.contains(expected), "{said}");
    assert!(!before.is_empty() && before == weights());
}

#[test]
fn a_batch_that_does_not_fit_is_taken_in_parts_and_one_row_that_does_not_is_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let emulated = cuda::open_emulated(900).expect("an emulated card");
    let whole = train(&at("whole"), emulated, (0.0, false), None, None);
    assert!(whole.figures.iter().all(|(name, _)| *name != "micro_batch"));
    let mut cut = None;
    for (i, kib) in [160, 200, 240, 280, 320, 400, 500].into_iter().enumerate() {
        let small = cuda::open_emulated_of(910 + i, kib << 10).expect("an emulated card");
        let run = std::panic::catch_unwind(|| {
            train(&at(&format!("{kib}")), small, (0.0, false), None, None)
        });
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
