//! How long a PPO step and its parts take, medians over a few steps as one JSON object: 64 prompts of 20 tokens, answers of 20, one
//! pass in four minibatches, GPT-2's form with four layers of width 256. Beside it, how fast as many texts of that length are decoded as
//! `gigaro bench decode` does it: the likeliest token each time, no end to look for, no log-probabilities.
//!
//! ```text
//! cargo run --release -p gigaro-train --example ppo_step
//! ```

#![expect(clippy::print_stdout, reason = "an example reports on the terminal")]

use std::time::Instant;

use gigaro_models::generate::{Completion, Vocabulary};
use gigaro_models::gpt::KvCache;
use gigaro_models::{ActorCritic, Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW, ParamGroup};
use gigaro_nn::schedule::Schedule;
use gigaro_tensor::{DType, Generator};
use gigaro_train::interrupt::StopFlag;
use gigaro_train::ppo::{Ppo, PpoSettings};
use gigaro_train::progress::Event;
use gigaro_train::rollout::{Prompts, Rollouts, Sampling};
use gigaro_train::scorer::Check;
use gigaro_train::trainer::{Identity, Settings, Trainer};

const VOCAB: usize = 4096;
const CONTEXT: usize = 64;
/// Prompts of a step, and tokens of an answer.
const ANSWERS: usize = 64;
const ANSWER_TOKENS: usize = 20;

struct NoText;

impl Vocabulary for NoText {
    fn token_bytes(&self, _: u32) -> &[u8] {
        &[]
    }
    fn is_end(&self, _: u32) -> bool {
        false
    }
}

fn prompts() -> Vec<Vec<u32>> {
    let all = (0..256_u32).map(|i| (0..20).map(|k| (i * 31 + k * 7) % VOCAB as u32).collect());
    all.collect()
}

fn first_is_odd(_: &[u32], answer: &Completion) -> f64 {
    f64::from(answer.tokens[0] % 2)
}

/// Steps that are timed, after one that is not.
const TIMED: usize = 7;

/// Tokens per second of decoding alone.
fn decoded_per_s(model: &Gpt) -> f64 {
    let prompts = prompts();
    let first = prompts.iter().take(ANSWERS).map(Vec::as_slice);
    let prompts: Vec<(usize, &[u32])> = first.enumerate().collect();
    let once = |_| {
        let mut cache = KvCache::with_rows(model, ANSWERS);
        let start = Instant::now();
        let mut logits = model.decode_ragged(&prompts, &mut cache);
        let rows: Vec<usize> = (0..ANSWERS).collect();
        for _ in 1..ANSWER_TOKENS {
            let best = logits.argmax(-1).to_vec::<i64>();
            let best: Vec<u32> = best.into_iter().map(|token| token as u32).collect();
            logits = model.decode_rows(&best, &rows, &mut cache);
        }
        start.elapsed().as_secs_f64()
    };
    once(0);
    let mut seconds: Vec<f64> = (0..TIMED).map(once).collect();
    seconds.sort_by(f64::total_cmp);
    (ANSWERS * ANSWER_TOKENS) as f64 / seconds[TIMED / 2]
}

fn main() {
    let config = GptConfig::gpt2(VOCAB, CONTEXT, 4, 8, 256);
    let gpt = || Gpt::new(&config, &Generator::new(1));
    let (model, reference) = (ActorCritic::shared(gpt()), gpt());
    let sampling = Sampling {
        prompts: ANSWERS,
        max_tokens: ANSWER_TOKENS,
        ..Sampling::default()
    };
    let mut scorer = Check(first_is_odd);
    let prompts = Prompts::new(prompts(), CONTEXT, 1).expect("prompts fit");
    let rollouts = Rollouts::new(&reference, prompts, &mut scorer, &NoText, sampling);
    let settings = PpoSettings {
        ppo_epochs: 1,
        ..PpoSettings::default()
    };
    let mut ppo = Ppo::new(&model, rollouts.expect("settings"), settings).expect("settings");
    let groups = vec![ParamGroup::new(model.named_parameters())];
    let mut optimizer = AdamW::new(groups, AdamOptions::default());
    let settings = Settings {
        steps: 1 + TIMED as u64,
        schedule: Schedule::constant(1e-5),
        max_norm: 1.0,
        dtype: DType::F32,
        validate_every: 0,
        checkpoint_every: 0,
    };
    let out = std::env::temp_dir().join(format!("gigaro-ppo-step-{}", std::process::id()));
    let identity = Identity::default();
    let trainer = Trainer::new(&mut ppo, &mut optimizer, settings, identity, &out, 1, None);
    let (mut start, mut steps) = (Instant::now(), Vec::new());
    let done = trainer
        .expect("a writable folder")
        .run(&StopFlag::new(), &mut |event| {
            if let Event::Step(report) = event {
                let part = |name| report.figures.iter().find(|(n, _)| *n == name);
                let parts = ["time/rollout", "time/scoring", "time/update"]
                    .map(|name| part(name).map_or(f64::NAN, |(_, seconds)| *seconds));
                let [rollout, scoring, update] = parts;
                steps.push([start.elapsed().as_secs_f64(), rollout, scoring, update]);
                start = Instant::now();
            }
        });
    done.expect("a run");
    std::fs::remove_dir_all(&out).expect("its own folder");
    let median = |part: usize| {
        let mut seconds: Vec<f64> = steps[1..].iter().map(|step| step[part]).collect();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    println!(
        "{{\"seconds_per_step\":{:.4},\"rollout_s\":{:.4},\"scoring_s\":{:.4},\"update_s\":{:.4},\
         \"rollout_tokens_per_s\":{:.0},\"decode_tokens_per_s\":{:.0}}}",
        median(0),
        median(1),
        median(2),
        median(3),
        (ANSWERS * ANSWER_TOKENS) as f64 / median(1),
        decoded_per_s(&reference),
    );
}
