//! What learning from answers that are drawn on the way holds at once: told before it starts, and refused where it would not fit.
//!
//! The plan of a stage (`stage.rs`) knows of one model; here are two or three of them and the keys and values of the answers.

use std::path::Path;

use anyhow::Result;
use gigaro_models::gpt::LOGPROB_BYTES;
use gigaro_models::{Gpt, RewardModel};
use gigaro_nn::Module;
use gigaro_train::Error;
use gigaro_train::quantity::Bytes;
use gigaro_train::resources::{check_disk, memory_available};

use super::answers::SLOTS;
use super::scorers::MICRO_BATCH;
use crate::output::Output;
use crate::pipeline::stage::CHECKPOINTS_KEPT;

/// What is held: who trains, the policy as it was, who scores (if that is a model), and how many answers a step has.
pub(super) struct Held<'a> {
    pub(super) trained: &'a dyn Module,
    pub(super) reference: &'a Gpt,
    pub(super) rewards: Option<&'a RewardModel>,
    pub(super) answers: usize,
}

/// Says what will be held, part by part.
///
/// # Errors
/// If memory or disk do not suffice.
pub(super) fn plan(held: &Held<'_>, dir: &Path, output: &Output) -> Result<()> {
    let numbers = |module: &dyn Module| -> u64 {
        let parameters = module.named_parameters();
        parameters.iter().map(|(_, p)| p.numel() as u64).sum()
    };
    let c = &held.reference.config;
    let width = (c.n_kv_head * c.d_model / c.n_head) as u64;
    let slots = SLOTS.min(held.answers) as u64;
    let cache = 2 * 4 * c.n_layer as u64 * width * slots * c.max_seq_len as u64;
    let at_once = MICRO_BATCH.min(held.answers) * c.max_seq_len;
    let trained = numbers(held.trained);
    let parts = [
        // Weights, gradients and two moments.
        ("policy, with what trains it", 16 * trained),
        ("reference", 4 * numbers(held.reference)),
        (
            "reward model",
            held.rewards.map_or(0, |model| 4 * numbers(model)),
        ),
        ("keys and values while answering, at most", cache),
        (
            "activations, at most",
            c.memory_estimate(at_once, false).activations + LOGPROB_BYTES,
        ),
    ];
    let lines: Vec<(&str, String)> = parts
        .iter()
        .map(|&(name, bytes)| (name, shown(bytes)))
        .collect();
    output.fields("\nMemory of reinforcement learning", &lines);
    let need: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
    if let Some(free) = memory_available().filter(|free| *free < need) {
        let parts: Vec<String> = lines
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("{name} {text}"))
            .collect();
        return Err(Error::NotEnoughMemory {
            what: "this run".into(),
            need: Bytes(need).to_string(),
            parts: parts.join(", "),
            free: Bytes(free).to_string(),
            advice: "free some, or start from a smaller model".into(),
        }
        .into());
    }
    let checkpoint = 12 * trained;
    check_disk(
        "keeping checkpoints",
        checkpoint * (CHECKPOINTS_KEPT + 1),
        dir,
    )?;
    Ok(())
}

fn shown(bytes: u64) -> String {
    if bytes == 0 {
        String::new()
    } else {
        Bytes(bytes).to_string()
    }
}
