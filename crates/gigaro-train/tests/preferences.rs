//! Tiny models learn preferences: each objective moves what it should, and a killed run ends with the same bits.

use std::path::Path;
use std::process::{Command, Stdio};

use gigaro_models::{Gpt, GptConfig, RewardModel};
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW, ParamGroup};
use gigaro_nn::schedule::Schedule;
use gigaro_tensor::{DType, Device, Generator, Tensor, cuda};
use gigaro_train::answers::Answer;
use gigaro_train::calibration::evaluate;
use gigaro_train::checkpoint::Checkpoint;
use gigaro_train::dpo::{self, Dpo, LossType};
use gigaro_train::interrupt::StopFlag;
use gigaro_train::kto::{self, Kto};
use gigaro_train::objective::{Objective, figure};
use gigaro_train::offline::{Deal, Offline};
use gigaro_train::orpo::Orpo;
use gigaro_train::preference::{JudgedAnswer, PreferencePair, RankedAnswer, Ranking, usable};
use gigaro_train::progress::Event;
use gigaro_train::reward::{RewardLoss, frozen_rewards, normalize};
use gigaro_train::trainer::{Identity, Settings, Trainer};

const VOCAB: u64 = 16;
const END: u32 = 0;
const DEAL: Deal = Deal {
    batch_size: 8,
    micro_batch: 4,
    seed: 3,
};

fn model(seed: u64) -> Gpt {
    Gpt::new(
        &GptConfig::gpt2(VOCAB as usize, 24, 1, 2, 32),
        &Generator::new(seed),
    )
}

fn words(g: &Generator, n: u64) -> Vec<u32> {
    (0..n).map(|_| 1 + g.below(VOCAB - 1) as u32).collect()
}

/// A pair of random answers, of which the one that begins with the prompt's last word is the better one.
fn pair(g: &Generator) -> PreferencePair {
    let prompt = words(g, 1 + g.below(5));
    let answer = |first: u32| {
        let rest = words(g, g.below(6));
        [&[first], &rest[..], &[END]].concat()
    };
    let last = prompt[prompt.len() - 1];
    PreferencePair {
        chosen: answer(last),
        rejected: answer(last % (VOCAB as u32 - 1) + 1),
        prompt,
    }
}

fn pairs(n: usize, seed: u64) -> Vec<PreferencePair> {
    let g = Generator::new(seed);
    (0..n).map(|_| pair(&g)).collect()
}

/// Trains for `steps` in a folder that is thrown away and gives the first and the last figures on held-out data.
fn train(objective: &mut dyn Objective, steps: u64, lr: f64) -> [Vec<(&'static str, f64)>; 2] {
    let out = tempfile::tempdir().expect("a temporary folder");
    let parameters = objective.module().named_parameters();
    let groups = vec![ParamGroup::new(parameters)];
    let mut optimizer = AdamW::new(groups, AdamOptions::default());
    let first = objective.validate().expect("data").expect("held-out data");
    let run = run(objective, &mut optimizer, steps, lr, out.path(), None);
    let mut last = Vec::new();
    run.run(&StopFlag::new(), &mut |event| {
        if let Event::Validation { figures, .. } = event {
            last = figures.to_vec();
        }
    })
    .expect("training goes through");
    [first, last]
}

fn run<'a>(
    objective: &'a mut dyn Objective,
    optimizer: &'a mut AdamW,
    steps: u64,
    lr: f64,
    out: &Path,
    resume: Option<&Checkpoint>,
) -> Trainer<'a> {
    let settings = Settings {
        steps,
        schedule: Schedule::constant(lr),
        max_norm: 1.0,
        dtype: DType::F32,
        validate_every: 0,
        checkpoint_every: 5,
    };
    let run = Trainer::new(
        objective,
        optimizer,
        settings,
        Identity::default(),
        out,
        1,
        resume,
    );
    run.expect("a writable folder")
}

fn get(figures: &[(&'static str, f64)], name: &str) -> f64 {
    figure(figures, name).unwrap_or_else(|| panic!("no {name} in {figures:?}"))
}

#[test]
fn dpo_and_ipo_raise_the_margin_of_the_better_answers() {
    for loss_type in [
        LossType::Sigmoid {
            label_smoothing: 0.0,
        },
        LossType::Sigmoid {
            label_smoothing: 0.1,
        },
        LossType::Ipo,
    ] {
        let model = model(1);
        let ask = |n, seed| dpo::ask_reference(&model, pairs(n, seed), 16, DType::F32);
        let (examples, held_out) = (ask(1200, 1), ask(64, 2));
        let loss = Dpo::new(&model, 0.1, loss_type);
        let mut objective = Offline::new(loss, examples, held_out, DEAL).expect("examples");
        let [first, last] = train(&mut objective, 150, 3e-3);
        // The policy begins as its reference, to the last bit.
        assert_eq!(get(&first, "rewards/margins"), 0.0);
        assert!(
            get(&last, "rewards/margins") > 0.1,
            "{loss_type:?}: {last:?}"
        );
        assert!(
            get(&last, "rewards/accuracies") > 0.8,
            "{loss_type:?}: {last:?}"
        );
        assert!(
            get(&last, "loss") < get(&first, "loss"),
            "{loss_type:?}: {last:?}"
        );
    }
}

#[test]
fn orpo_makes_better_answers_likelier_and_prefers_them() {
    let model = model(2);
    let objective = Offline::new(Orpo::new(&model, 0.5), pairs(200, 3), pairs(64, 4), DEAL);
    let [first, last] = train(&mut objective.expect("examples"), 60, 3e-3);
    assert!(
        get(&last, "logps/chosen") > get(&first, "logps/chosen") + 0.1,
        "{first:?} {last:?}"
    );
    assert!(
        get(&last, "rewards/margins") > get(&first, "rewards/margins") + 0.05,
        "{first:?} {last:?}"
    );
    assert!(get(&last, "nll_loss") < get(&first, "nll_loss"));
}

/// Answers of which every other one is good.
fn judged(n: usize, seed: u64) -> Vec<JudgedAnswer> {
    let all = pairs(n, seed).into_iter().enumerate();
    let judged = all.map(|(i, pair)| JudgedAnswer {
        desirable: i % 2 == 0,
        answer: if i % 2 == 0 {
            pair.chosen
        } else {
            pair.rejected
        },
        prompt: pair.prompt,
    });
    usable(judged, 24).0
}

#[test]
fn kto_raises_good_answers_over_bad_ones_and_measures_its_divergence() {
    let model = model(3);
    let ask = |n, seed| kto::ask_reference(&model, judged(n, seed), 16, DType::F32);
    let (examples, held_out) = (ask(200, 5), ask(64, 6));
    let loss = Kto::new(&model, 0.1, 1.0, 1.0);
    let mut objective = Offline::new(loss, examples, held_out, DEAL).expect("examples");
    let [first, last] = train(&mut objective, 80, 3e-3);
    assert_eq!((get(&first, "loss"), get(&first, "kl")), (0.5, 0.0));
    assert!(get(&last, "rewards/margins") > 0.1, "{last:?}");
    assert!(get(&last, "loss") < 0.48, "{last:?}");
}

/// Rankings of up to `k` answers in which the longer one is better.
fn rankings(n: usize, k: u64, seed: u64) -> Vec<Ranking> {
    let g = Generator::new(seed);
    let ranking = |_| {
        let prompt = words(&g, 1 + g.below(5));
        let answer = |_| {
            let tokens = words(&g, 1 + g.below(12));
            RankedAnswer {
                rank: 100 - tokens.len() as u32,
                tokens,
            }
        };
        Ranking {
            answers: (0..k).map(answer).collect(),
            prompt,
        }
    };
    usable((0..n).map(ranking), 24).0
}

fn reference(rankings: &[Ranking]) -> Vec<Answer<'_>> {
    let all = rankings.iter().map(|r| Answer {
        prompt: &r.prompt,
        tokens: &r.answers[0].tokens,
    });
    all.collect()
}

#[test]
fn a_reward_model_learns_from_rankings_that_the_longer_answer_wins() {
    let (learn, held_out) = (rankings(300, 4, 7), rankings(100, 2, 8));
    let model = RewardModel::new(model(4), &Generator::new(5));
    let before = evaluate(&model, &held_out, 16);
    assert!(before.accuracy < 0.9, "{before:?}");
    normalize(&model, &reference(&learn), 16);
    let loss = RewardLoss::new(&model, 0.0);
    let mut objective =
        Offline::new(loss, learn.clone(), held_out.clone(), DEAL).expect("examples");
    let [_, last] = train(&mut objective, 150, 3e-3);
    let after = evaluate(&model, &held_out, 16);
    assert!(
        after.accuracy > 0.95 && after.interval.0 > 0.85,
        "{after:?}"
    );
    assert!((get(&last, "accuracy") - after.accuracy).abs() < 1e-9);
    // Normalising changes the scale and not one preference.
    normalize(&model, &reference(&learn), 16);
    assert_eq!(evaluate(&model, &held_out, 16).accuracy, after.accuracy);
    let rewards = frozen_rewards(&model, &reference(&learn), 16);
    let mean = rewards.iter().sum::<f32>() / rewards.len() as f32;
    assert!(mean.abs() < 1e-4, "{mean}");
}

#[test]
fn micro_batches_change_the_memory_and_not_the_gradient() {
    let gradients = |micro_batch| {
        let reward = RewardModel::new(model(4), &Generator::new(5));
        let deal = Deal {
            micro_batch,
            ..DEAL
        };
        let mut objective = Offline::new(
            RewardLoss::new(&reward, 0.1),
            rankings(20, 4, 7),
            vec![],
            deal,
        )
        .expect("examples");
        let out = tempfile::tempdir().expect("a temporary folder");
        let mut optimizer = AdamW::new(
            vec![ParamGroup::new(reward.named_parameters())],
            AdamOptions::default(),
        );
        let mut norms = Vec::new();
        run(&mut objective, &mut optimizer, 3, 1e-3, out.path(), None)
            .run(&StopFlag::new(), &mut |event| {
                if let Event::Step(report) = event {
                    norms.extend([report.loss, report.grad_norm]);
                }
            })
            .expect("training goes through");
        norms
    };
    for (a, b) in gradients(8).iter().zip(gradients(3)) {
        assert!((a - b).abs() < 1e-4 * a.abs(), "{a} {b}");
    }
}

const FOLDER: &str = "GIGARO_TEST_PREFERENCES_FOLDER";

/// A whole DPO run in `out`, from its last checkpoint if there is one; gives the weights.
fn dpo_run(out: &Path, slowly: bool) -> Vec<Vec<u8>> {
    let model = model(6);
    let examples = dpo::ask_reference(&model, pairs(30, 9), 16, DType::F32);
    let loss = Dpo::new(
        &model,
        0.1,
        LossType::Sigmoid {
            label_smoothing: 0.0,
        },
    );
    let mut objective = Offline::new(loss, examples, vec![], DEAL).expect("examples");
    let mut optimizer = AdamW::new(model.param_groups(0.01), AdamOptions::default());
    let from = Checkpoint::open(out).ok();
    run(&mut objective, &mut optimizer, 40, 1e-3, out, from.as_ref())
        .run(&StopFlag::new(), &mut |event| {
            if slowly && matches!(event, Event::Step(_)) {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        })
        .expect("training goes through");
    model.state_dict().values().map(Tensor::to_bytes).collect()
}

#[test]
fn child_that_learns_until_it_is_killed() {
    if let Some(out) = std::env::var_os(FOLDER) {
        dpo_run(Path::new(&out), true);
    }
}

#[test]
fn a_dpo_run_that_is_killed_and_resumed_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (straight, killed) = (folder.path().join("straight"), folder.path().join("killed"));
    let whole = dpo_run(&straight, false);
    let mut child = Command::new(std::env::current_exe().expect("this test's path"))
        .args(["--exact", "child_that_learns_until_it_is_killed"])
        .env(FOLDER, &killed)
        .stdout(Stdio::null())
        .spawn()
        .expect("a child");
    // As soon as it has saved something, so that it is in the middle of a run whatever the machine's speed.
    while Checkpoint::open(&killed).is_err() {
        assert!(
            child.try_wait().expect("the child's state").is_none(),
            "the child has ended"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(30));
    child.kill().expect("a child to kill");
    child.wait().expect("a killed child");
    let at = Checkpoint::open(&killed)
        .and_then(|c| c.state())
        .expect("a whole checkpoint");
    assert!((1..40).contains(&at.step), "killed at step {}", at.step);
    assert!(dpo_run(&killed, false) == whole, "other weights");
}

#[test]
fn other_preferences_are_refused_on_resuming() {
    let model = model(6);
    let objective = |seed| {
        Offline::new(Orpo::new(&model, 0.1), pairs(30, seed), vec![], DEAL).expect("examples")
    };
    let state = objective(1).state();
    objective(1).restore(&state).expect("the same preferences");
    let message = objective(2)
        .restore(&state)
        .expect_err("others")
        .to_string();
    assert!(
        message.contains("the preferences are not the same"),
        "{message}"
    );
}

/// Losses, gradient norms and other figures of a few steps.
type Steps = Vec<Vec<(&'static str, f64)>>;

fn few_steps(objective: &mut dyn Objective) -> gigaro_train::Result<Steps> {
    let out = tempfile::tempdir().expect("a temporary folder");
    let groups = vec![ParamGroup::new(objective.module().named_parameters())];
    let mut optimizer = AdamW::new(groups, AdamOptions::default());
    let mut steps = Vec::new();
    let run = run(objective, &mut optimizer, 3, 1e-3, out.path(), None);
    run.run(&StopFlag::new(), &mut |event| {
        if let Event::Step(report) = event {
            let mut figures = report.figures.to_vec();
            figures.push(("grad_norm", report.grad_norm));
            steps.push(figures);
        }
    })?;
    Ok(steps)
}

/// A few steps of every way to learn from preferences, on a device.
fn each_way(device: Device) -> [Steps; 4] {
    let on = |model: Gpt| {
        model.to_device(device);
        model
    };
    let sigmoid = LossType::Sigmoid {
        label_smoothing: 0.0,
    };
    let steps =
        |objective: &mut dyn Objective| few_steps(objective).expect("training goes through");
    let policy = on(model(1));
    let pairs_asked = dpo::ask_reference(&policy, pairs(20, 1), 16, DType::F32);
    let dpo = Dpo::new(&policy, 0.1, sigmoid);
    let dpo = steps(&mut Offline::new(dpo, pairs_asked, vec![], DEAL).expect("examples"));
    let policy = on(model(2));
    let orpo = Orpo::new(&policy, 0.5);
    let orpo = steps(&mut Offline::new(orpo, pairs(20, 3), vec![], DEAL).expect("examples"));
    let policy = on(model(3));
    let asked = kto::ask_reference(&policy, judged(20, 5), 16, DType::F32);
    let kto = Kto::new(&policy, 0.1, 1.0, 1.0);
    let kto = steps(&mut Offline::new(kto, asked, vec![], DEAL).expect("examples"));
    let judge = RewardModel::new(on(model(4)), &Generator::new(5));
    let loss = RewardLoss::new(&judge, 0.1);
    let reward =
        steps(&mut Offline::new(loss, rankings(20, 4, 7), vec![], DEAL).expect("examples"));
    [dpo, orpo, kto, reward]
}

#[test]
fn preferences_are_learnt_on_a_card_as_on_the_processor() {
    let card = cuda::open_for_tests().expect("a card");
    for (here, there) in each_way(Device::Cpu).iter().zip(each_way(card)) {
        for (a, b) in here.iter().flatten().zip(there.iter().flatten()) {
            let close = (a.1 - b.1).abs() < 1e-3 * a.1.abs().max(1.0);
            assert!(a.0 == b.0 && close, "{a:?} {b:?}");
        }
    }
}

#[test]
fn preferences_that_do_not_fit_on_a_card_are_taken_in_smaller_parts() {
    let learn = |device: Device| {
        let judge = RewardModel::new(model(4), &Generator::new(5));
        judge.to_device(device);
        let loss = RewardLoss::new(&judge, 0.1);
        let deal = Deal {
            micro_batch: 8,
            ..DEAL
        };
        let objective = Offline::new(loss, rankings(20, 4, 7), vec![], deal);
        few_steps(&mut objective.expect("examples"))
    };
    let whole = learn(cuda::open_emulated(900).expect("an emulated card")).expect("steps");
    let mut fewer = None;
    for (i, kib) in [300, 400, 500, 600, 800, 1000, 1300]
        .into_iter()
        .enumerate()
    {
        let small = cuda::open_emulated_of(920 + i, kib << 10).expect("an emulated card");
        // The model itself may not fit.
        let Ok(done) = std::panic::catch_unwind(|| learn(small)) else {
            continue;
        };
        match done {
            Ok(steps) => {
                fewer = Some(steps);
                break;
            }
            Err(error) => {
                let said = error.to_string();
                assert!(
                    said.contains("step 1: cuda:9") && said.contains("needs"),
                    "{said}"
                );
            }
        }
    }
    let fewer = fewer.expect("a card on which fewer fit");
    for (a, b) in whole.iter().zip(&fewer) {
        assert!(get(b, "micro_batch") < 8.0 && figure(a, "micro_batch").is_none());
        for name in ["loss", "grad_norm"] {
            assert!((get(a, name) - get(b, name)).abs() < 1e-4 * get(a, name).abs());
        }
    }
}
