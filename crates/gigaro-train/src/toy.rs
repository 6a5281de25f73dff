//! A task for tests whose best policy is known: four tokens out of eight, scored by how many of them are the right one.
//!
//! It is small enough that whole runs through the trainer take a second, and everything that makes reinforcement
//! learning of text go wrong can be watched on it.

use std::path::Path;

use gigaro_models::generate::{Completion, Vocabulary};
use gigaro_models::{ActorCritic, Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW, Optimizer, ParamGroup};
use gigaro_nn::schedule::Schedule;
use gigaro_tensor::{DType, Device, Generator, Tensor, cuda};

use crate::advantage::{KlController, KlEstimator};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::grpo::{Grpo, GrpoSettings};
use crate::interrupt::StopFlag;
use crate::objective::{Figures, Objective, figure};
use crate::ppo::{Ppo, PpoSettings};
use crate::progress::Event;
use crate::rloo::Rloo;
use crate::rollout::{Prompts, Rollouts, Sampling};
use crate::scorer::{Check, Scorer};
use crate::trainer::{Identity, Outcome, Settings, Trainer};
use crate::validation::Validation;

/// The token that is worth something.
const TARGET: u32 = 5;

/// A vocabulary without letters, in which nothing ends an answer.
pub(crate) struct NoText;

impl Vocabulary for NoText {
    fn token_bytes(&self, _: u32) -> &[u8] {
        &[]
    }
    fn is_end(&self, _: u32) -> bool {
        false
    }
}

/// A vocabulary without letters, in which token 0 ends an answer.
pub(crate) struct ZeroEnds;

impl Vocabulary for ZeroEnds {
    fn token_bytes(&self, _: u32) -> &[u8] {
        &[]
    }
    fn is_end(&self, id: u32) -> bool {
        id == 0
    }
}

pub(crate) fn policy(seed: u64) -> Gpt {
    policy_with_dropout(seed, 0.0)
}

fn policy_with_dropout(seed: u64, dropout: f64) -> Gpt {
    let config = GptConfig {
        dropout,
        ..GptConfig::gpt2(8, 12, 1, 2, 16)
    };
    Gpt::new(&config, &Generator::new(seed))
}

pub(crate) fn sampling(prompts: usize, answers: usize) -> Sampling {
    Sampling {
        prompts,
        answers,
        max_tokens: 4,
        slots: 16,
        micro_batch: 8,
        ..Sampling::default()
    }
}

pub(crate) fn share_of_target(_: &[u32], completion: &Completion) -> f64 {
    let hits = completion.tokens.iter().filter(|&&t| t == TARGET).count();
    hits as f64 / completion.tokens.len() as f64
}

pub(crate) fn prompts() -> Prompts {
    Prompts::new((0..8).map(|i| vec![i]).collect(), 12, 3).expect("eight short prompts")
}

/// Prompts of different lengths.
pub(crate) fn uneven_prompts() -> Prompts {
    let all = (1..=6).map(|n| (0..n).collect()).collect();
    Prompts::new(all, 12, 3).expect("six short prompts")
}

fn settings(steps: u64, schedule: Schedule) -> Settings {
    Settings {
        steps,
        schedule,
        max_norm: 1.0,
        dtype: DType::F32,
        validate_every: 1,
        checkpoint_every: 0,
    }
}

fn adam(module: &dyn Module) -> AdamW {
    let groups = vec![ParamGroup::new(module.named_parameters())];
    let options = AdamOptions {
        eps: 1e-5,
        ..AdamOptions::default()
    };
    AdamW::new(groups, options)
}

/// Runs an objective and gives the figures of every step and how it ended.
fn run(
    objective: &mut dyn Objective,
    optimizer: &mut dyn Optimizer,
    settings: Settings,
    out: &Path,
    resume: Option<&Path>,
    stop_after: Option<u64>,
) -> Result<(Vec<Figures>, Outcome)> {
    let checkpoint = resume.map(|p| Checkpoint::open(p).expect("a whole checkpoint"));
    let trainer = Trainer::new(
        objective,
        optimizer,
        settings,
        Identity::default(),
        out,
        1,
        checkpoint.as_ref(),
    )?;
    let (mut steps, stop) = (Vec::new(), StopFlag::new());
    let outcome = trainer.run(&stop, &mut |event| {
        if let Event::Step(report) = event {
            // Times are never the same twice.
            let timed = |name: &str| name.starts_with("time/") || name == "rollout/tokens_per_s";
            let figures = report.figures.iter().filter(|(name, _)| !timed(name));
            steps.push(figures.copied().collect());
            if Some(report.step) == stop_after {
                stop.request();
            }
        }
    })?;
    Ok((steps, outcome))
}

/// PPO on the toy task: the figures of every step.
fn run_ppo(
    model: &ActorCritic,
    reference: &Gpt,
    scorer: &mut dyn Scorer,
    (sampling, ppo): (Sampling, PpoSettings),
    (steps, lr): (u64, f64),
) -> Result<Vec<Figures>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rollouts = Rollouts::new(reference, prompts(), scorer, &NoText, sampling)?;
    let mut objective = Ppo::new(model, rollouts, ppo)?;
    let settings = settings(steps, Schedule::constant(lr));
    let mut optimizer = adam(model);
    let done = run(
        &mut objective,
        &mut optimizer,
        settings,
        folder.path(),
        None,
        None,
    );
    Ok(done?.0)
}

fn of(figures: &Figures, name: &str) -> f64 {
    figure(figures, name).unwrap_or_else(|| panic!("{name} is not among {figures:?}"))
}

fn last_scores(steps: &[Figures]) -> f64 {
    let last = &steps[steps.len() - 3..];
    last.iter().map(|f| of(f, "objective/scores")).sum::<f64>() / 3.0
}

fn toy_ppo() -> PpoSettings {
    PpoSettings {
        ppo_epochs: 2,
        minibatches: 2,
        ..PpoSettings::default()
    }
}

#[test]
fn ppo_reaches_the_optimum_from_five_seeds() {
    for seed in 0..5 {
        let model = ActorCritic::shared(policy(seed));
        let (reference, mut scorer) = (policy(seed), Check(share_of_target));
        let sampling = Sampling {
            seed,
            ..sampling(32, 1)
        };
        let steps = run_ppo(
            &model,
            &reference,
            &mut scorer,
            (sampling, toy_ppo()),
            (40, 1e-2),
        )
        .expect("a run");
        let (first, last) = (of(&steps[0], "objective/scores"), last_scores(&steps));
        assert!(first < 0.4 && last > 0.95, "seed {seed}: {first} -> {last}");
        assert!(of(&steps[39], "objective/kl") > 1.0);
    }
}

/// The mean score of the last steps of GRPO or RLOO.
fn groups(seed: u64, grpo: Option<GrpoSettings>) -> f64 {
    let (policy, reference) = (policy(seed), policy(seed));
    let mut scorer = Check(share_of_target);
    let sampling = Sampling {
        seed,
        ..sampling(8, 4)
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rollouts = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, sampling);
    let rollouts = rollouts.expect("sound settings");
    let settings = settings(90, Schedule::constant(5e-3));
    let mut optimizer = adam(&policy);
    let run = |objective: &mut dyn Objective, optimizer: &mut AdamW| {
        run(objective, optimizer, settings, folder.path(), None, None).expect("a run")
    };
    let (steps, _) = match grpo {
        Some(grpo) => {
            let mut objective = Grpo::new(&policy, rollouts, grpo).expect("sound settings");
            run(&mut objective, &mut optimizer)
        }
        None => {
            let kl = KlController::Fixed { coef: 0.02 };
            let mut objective = Rloo::new(&policy, rollouts, kl).expect("sound settings");
            run(&mut objective, &mut optimizer)
        }
    };
    last_scores(&steps)
}

#[test]
fn grpo_reaches_the_optimum_from_five_seeds() {
    for seed in 0..5 {
        let last = groups(seed, Some(GrpoSettings::default()));
        assert!(last > 0.95, "seed {seed}: {last}");
    }
}

#[test]
fn dr_grpo_and_several_updates_a_step_reach_it_too() {
    let last = groups(1, Some(GrpoSettings::dr_grpo(4)));
    assert!(last > 0.95, "{last}");
    let often = GrpoSettings {
        epochs: 2,
        minibatches: 2,
        ..GrpoSettings::default()
    };
    let last = groups(1, Some(often));
    assert!(last > 0.95, "{last}");
}

#[test]
fn rloo_reaches_the_optimum_from_five_seeds() {
    for seed in 0..5 {
        let last = groups(seed, None);
        assert!(last > 0.95, "seed {seed}: {last}");
    }
}

#[test]
fn before_the_first_update_every_ratio_is_one_and_nothing_diverges() {
    let once = PpoSettings {
        ppo_epochs: 1,
        minibatches: 1,
        ..PpoSettings::default()
    };
    // Dropout is off in answers and in updates alike, or no ratio would be one.
    for (seed, temperature, dropout) in [(1, 1.0, 0.0), (2, 0.7, 0.0), (3, 1.0, 0.5)] {
        let policy = || policy_with_dropout(seed, dropout);
        let (model, reference) = (ActorCritic::shared(policy()), policy());
        let mut scorer = Check(share_of_target);
        let sampling = Sampling {
            temperature,
            micro_batch: 5,
            slots: 3,
            ..sampling(16, 1)
        };
        let rollouts = Rollouts::new(
            &reference,
            uneven_prompts(),
            &mut scorer,
            &ZeroEnds,
            sampling,
        )
        .expect("sound settings");
        let mut objective = Ppo::new(&model, rollouts, once).expect("sound settings");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let settings = settings(2, Schedule::constant(1e-2));
        let (steps, _) = run(
            &mut objective,
            &mut adam(&model),
            settings,
            folder.path(),
            None,
            None,
        )
        .expect("a run");
        for name in ["val/ratio", "val/ratio_max"] {
            assert_eq!(
                of(&steps[0], name),
                1.0,
                "{name} at temperature {temperature}"
            );
            assert_eq!(of(&steps[1], name), 1.0, "{name} in a later step");
        }
        let nothing = [
            "policy/approx_kl",
            "policy/policy_kl",
            "policy/clip_fraction",
        ];
        for name in nothing
            .into_iter()
            .chain(["objective/kl", "val/clip_fraction"])
        {
            assert_eq!(
                of(&steps[0], name),
                0.0,
                "{name} at temperature {temperature}"
            );
        }
        assert_ne!(of(&steps[1], "objective/kl"), 0.0);
    }
}

#[test]
fn the_divergence_that_is_reported_is_the_one_that_is_trained_against() {
    for kl_estimator in [KlEstimator::K1, KlEstimator::K3] {
        let model = ActorCritic::shared(policy(1));
        let (reference, mut scorer) = (policy(1), Check(share_of_target));
        let ppo = PpoSettings {
            kl: KlController::Adaptive {
                coef: 0.1,
                target: 0.5,
                horizon: 100.0,
            },
            kl_estimator,
            ..toy_ppo()
        };
        let steps = run_ppo(
            &model,
            &reference,
            &mut scorer,
            (sampling(16, 1), ppo),
            (8, 1e-2),
        )
        .expect("a run");
        for f in &steps {
            let penalty = of(f, "objective/kl_coef") * of(f, "objective/kl");
            let difference = of(f, "objective/scores") - penalty - of(f, "objective/reward");
            assert!(difference.abs() < 1e-9, "{f:?}");
        }
        // Nothing diverges before the first update, which is less than the target.
        assert!(of(&steps[1], "objective/kl_coef") < 0.1);
        assert!(of(&steps[7], "objective/kl") > 0.0);
    }
}

#[test]
fn an_interrupted_run_of_ppo_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let train = |out: &str, stop: Option<u64>, resume: Option<&Path>, seed: u64| {
        let (model, reference) = (ActorCritic::shared(policy(seed)), policy(1));
        let (mut scorer, mut truth) = (Check(share_of_target), Check(share_of_target));
        let ppo = PpoSettings {
            kl: KlController::Adaptive {
                coef: 0.1,
                target: 1.0,
                horizon: 100.0,
            },
            whiten_rewards: true,
            ..toy_ppo()
        };
        let held_out = Validation::new(vec![vec![2], vec![6]], &mut truth, 5);
        let rollouts = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, sampling(12, 1))
            .expect("sound settings")
            .with_validation(held_out);
        let mut objective = Ppo::new(&model, rollouts, ppo).expect("sound settings");
        let mut optimizer = adam(&model);
        let settings = settings(9, Schedule::constant(1e-2));
        let out = folder.path().join(out);
        let done = run(&mut objective, &mut optimizer, settings, &out, resume, stop);
        let (steps, outcome) = done.expect("a run");
        let weights: Vec<Vec<u8>> = model.state_dict().values().map(Tensor::to_bytes).collect();
        (steps, outcome, weights, objective.state())
    };
    let (steps, _, weights, state) = train("straight", None, None, 1);
    let (mut pieces, outcome, ..) = train("pieces", Some(4), None, 1);
    let Outcome::Interrupted(path) = outcome else {
        panic!("{outcome:?}")
    };
    let (rest, _, resumed, end) = train("pieces", None, Some(&path), 77);
    pieces.extend(rest);
    assert_eq!(pieces, steps);
    assert!(resumed == weights, "the weights differ");
    assert_eq!(end, state);
}

#[test]
fn broken_scores_stop_the_run_with_a_sentence_and_change_no_weight() {
    for broken in [f64::NAN, f64::INFINITY] {
        let model = ActorCritic::shared(policy(1));
        let before: Vec<Vec<u8>> = model.state_dict().values().map(Tensor::to_bytes).collect();
        let mut scorer = Check(|_: &[u32], c: &Completion| match c.tokens[0] {
            3 => broken,
            _ => 1.0,
        });
        let error = run_ppo(
            &model,
            &policy(1),
            &mut scorer,
            (sampling(32, 1), toy_ppo()),
            (3, 1e-2),
        )
        .expect_err("a broken score");
        assert!(error.to_string().contains("no finite numbers"), "{error}");
        let after: Vec<Vec<u8>> = model.state_dict().values().map(Tensor::to_bytes).collect();
        assert!(before == after, "a weight has changed");
    }
}

#[test]
fn constant_scores_are_shown_and_stay_finite() {
    let model = ActorCritic::shared(policy(1));
    let mut scorer = Check(|_: &[u32], _: &Completion| 2.5);
    let ppo = PpoSettings {
        whiten_rewards: true,
        ..toy_ppo()
    };
    let steps = run_ppo(
        &model,
        &policy(1),
        &mut scorer,
        (sampling(16, 1), ppo),
        (4, 1e-3),
    )
    .expect("a run");
    for f in &steps {
        assert_eq!(of(f, "objective/scores_std"), 0.0);
        assert!(f.iter().all(|(_, x)| x.is_finite()), "{f:?}");
    }
}

#[test]
fn all_updates_of_a_step_share_its_learning_rate() {
    // A warm-up starts at zero: no update of the first step moves anything.
    let model = ActorCritic::shared(policy(1));
    let bytes = || -> Vec<Vec<u8>> { model.state_dict().values().map(Tensor::to_bytes).collect() };
    let (reference, mut scorer) = (policy(1), Check(share_of_target));
    let rollouts = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, sampling(8, 1));
    let mut objective =
        Ppo::new(&model, rollouts.expect("sound settings"), toy_ppo()).expect("sound settings");
    let schedule = Schedule {
        warmup_steps: 2,
        ..Schedule::constant(1e-2)
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (before, mut optimizer) = (bytes(), adam(&model));
    let settings = settings(2, schedule);
    let out = folder.path();
    let done = run(&mut objective, &mut optimizer, settings, out, None, Some(1));
    let (_, outcome) = done.expect("a run");
    assert!(bytes() == before, "a weight moved at learning rate 0");
    let Outcome::Interrupted(path) = outcome else {
        panic!("{outcome:?}")
    };
    run(
        &mut objective,
        &mut optimizer,
        settings,
        out,
        Some(&path),
        None,
    )
    .expect("a run");
    assert!(bytes() != before, "the second step has half the peak");
}

#[test]
fn a_policy_that_exploits_its_score_is_stopped_and_its_best_weights_are_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = ActorCritic::shared(policy(1));
    let start = model.policy.state_dict()["transformer.wte.weight"].to_bytes();
    let (reference, mut scorer) = (policy(1), Check(share_of_target));
    let mut truth = Check(|p: &[u32], c: &Completion| 1.0 - share_of_target(p, c));
    let best = folder.path().join("best");
    let held_out =
        Validation::new(vec![vec![1]; 32], &mut truth, 8).keep_best(&best, Identity::default());
    let rollouts = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, sampling(32, 1))
        .expect("sound settings")
        .with_validation(held_out);
    let mut objective = Ppo::new(&model, rollouts, toy_ppo()).expect("sound settings");
    let mut optimizer = adam(&model);
    let settings = settings(60, Schedule::constant(1e-2));
    let error = run(
        &mut objective,
        &mut optimizer,
        settings,
        &folder.path().join("run"),
        None,
        None,
    )
    .expect_err("the scores part");
    let Error::Overoptimised {
        step,
        score,
        best: top,
        kept,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(
        *step < 60 && score < top && kept.as_deref() == Some(&best),
        "{error}"
    );
    let kept = Checkpoint::open(&best).expect("a whole checkpoint");
    let mut weights = crate::weights::collect(&best, |take| kept.weights(take)).expect("tensors");
    weights.retain(|name, _| !name.starts_with("value."));
    let opened = policy(9);
    opened.load_state_dict(&weights).expect("an ordinary model");
    // Whatever follows the score leaves the truth: nothing was better than the start.
    assert!(opened.wte.weight.to_bytes() == start);
}

#[test]
fn the_pretraining_loss_is_lowered_besides() {
    use gigaro_data::Tokens;
    use gigaro_data::loader::PretrainLoader;
    let text: Vec<u32> = (0..2000_u32).map(|i| i % 7).collect();
    let mut feed = PretrainLoader::new(Tokens::from(text), 4, 8, 5).expect("enough tokens");
    let model = ActorCritic::separate(policy(1), &policy(2));
    let (reference, mut scorer) = (policy(1), Check(share_of_target));
    let rollouts = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, sampling(8, 1));
    let ppo = PpoSettings {
        ptx_coef: 1.0,
        entropy_coef: 0.01,
        ..toy_ppo()
    };
    let mut objective = Ppo::new(&model, rollouts.expect("sound settings"), ppo)
        .expect("sound settings")
        .with_pretraining(&mut feed);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = settings(15, Schedule::constant(1e-2));
    let mut optimizer = adam(&model);
    let out = folder.path();
    let (steps, _) = run(&mut objective, &mut optimizer, settings, out, None, None).expect("a run");
    let loss = |i: usize| of(&steps[i], "loss/pretraining");
    assert!(loss(14) < 0.6 * loss(0), "{} -> {}", loss(0), loss(14));
    assert!(steps.iter().any(|f| of(f, "val/explained_variance") > 0.0));
}

#[test]
fn groups_of_one_and_a_temperature_of_zero_are_refused() {
    let (reference, mut scorer) = (policy(1), Check(share_of_target));
    let rollouts = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, sampling(4, 1));
    let error = Grpo::new(
        &reference,
        rollouts.expect("sound settings"),
        GrpoSettings::default(),
    );
    let message = error.err().expect("no others").to_string();
    assert!(message.starts_with("answers = 1"), "{message}");
    let cold = Sampling {
        temperature: 0.0,
        ..sampling(4, 2)
    };
    let error = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, cold);
    let message = error.err().expect("nothing is drawn").to_string();
    assert!(message.starts_with("temperature = 0"), "{message}");
}

/// A few steps of every way to learn from answers, on a device.
fn each_way(device: Device) -> Vec<Vec<Figures>> {
    let on = |policy: Gpt| {
        policy.to_device(device);
        policy
    };
    let (model, reference) = (ActorCritic::shared(on(policy(1))), on(policy(1)));
    model.to_device(device);
    let mut scorer = Check(share_of_target);
    let asked = (sampling(8, 1), toy_ppo());
    let ppo = run_ppo(&model, &reference, &mut scorer, asked, (3, 1e-2)).expect("a run");
    let mut all = vec![ppo];
    for rloo in [false, true] {
        let policy = on(policy(1));
        let mut scorer = Check(share_of_target);
        let rollouts = Rollouts::new(&reference, prompts(), &mut scorer, &NoText, sampling(4, 4));
        let rollouts = rollouts.expect("sound settings");
        let mut objective: Box<dyn Objective + '_> = if rloo {
            let kl = KlController::Fixed { coef: 0.02 };
            Box::new(Rloo::new(&policy, rollouts, kl).expect("sound settings"))
        } else {
            let grpo = GrpoSettings::default();
            Box::new(Grpo::new(&policy, rollouts, grpo).expect("sound settings"))
        };
        let (mut optimizer, settings) = (adam(&policy), settings(3, Schedule::constant(5e-3)));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let done = run(
            &mut *objective,
            &mut optimizer,
            settings,
            folder.path(),
            None,
            None,
        );
        all.push(done.expect("a run").0);
    }
    all
}

#[test]
fn answers_are_learnt_from_on_a_card_as_on_the_processor() {
    let card = cuda::open_for_tests().expect("a card");
    for (here, there) in each_way(Device::Cpu).iter().zip(each_way(card)) {
        for (a, b) in here.iter().flatten().zip(there.iter().flatten()) {
            let close = (a.1 - b.1).abs() < 1e-3 * a.1.abs().max(1.0);
            assert!(a.0 == b.0 && close, "{a:?} {b:?}");
        }
    }
}
