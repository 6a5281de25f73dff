//! `state.json`: where a run stands, apart from its tensors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a resumed run needs to go on as if nothing had happened.
///
/// The parts that belong to others (loader, schedule, settings) are kept as they gave them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunState {
    /// Optimiser steps done.
    pub step: u64,
    /// Tokens trained on, padding not counted.
    pub tokens_seen: u64,
    /// Seconds of training behind this state, over all resumptions.
    pub seconds_trained: f64,
    /// Counter and key of each random generator, by its purpose (`dropout`, `sampling`).
    pub rng: BTreeMap<String, [u64; 2]>,
    /// The data loader's position, in its own form.
    pub loader: Value,
    /// The schedule, in its own form.
    pub schedule: Value,
    /// The settings that must not change on resuming.
    pub settings: BTreeMap<String, Value>,
    /// The lowest validation loss so far, in nats per token.
    pub best_validation_loss: Option<f64>,
    /// SHA-256 of the tokenizer.json that the weights were trained with; set when saving.
    pub tokenizer_sha256: Option<String>,
}
