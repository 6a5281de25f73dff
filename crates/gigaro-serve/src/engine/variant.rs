//! What a reply is written with: weights, what their tokens mean, and how they compute.
//!
//! A reply keeps its variant from beginning to end. So when other weights take a model's place (`swap.rs`) the replies under way go on with
//! the old ones, which are freed with the last of them; and adapters are variants that share all else with their base. Replies of several
//! variants stand in one cache and are stepped together, each variant in calls of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use gigaro_data::Tokenizer;
use gigaro_models::Gpt;
use gigaro_models::gpt::WeightFormat;
use gigaro_tensor::DType;

use super::words::Words;

/// Weights in service.
pub(super) struct Variant {
    /// No other variant of this process has it.
    pub(super) id: u64,
    pub(super) model: Gpt,
    pub(super) words: Words,
    /// What products are computed in.
    pub(super) compute: DType,
}

impl Variant {
    /// A model whose weights are held in `weights` already.
    pub(super) fn new(model: Gpt, tokenizer: Tokenizer, weights: WeightFormat) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            words: Words(tokenizer),
            compute: match weights {
                WeightFormat::Bf16 => DType::BF16,
                WeightFormat::F32 | WeightFormat::Int8 | WeightFormat::Int4 => DType::F32,
            },
            model,
        }
    }

    /// Whether texts of both may stand in one cache and be scheduled alike.
    pub(super) fn shares_a_room_with(&self, other: &Self) -> bool {
        let shape = |variant: &Self| {
            let c = &variant.model.config;
            let shape = [c.n_layer, c.n_kv_head, c.head_dim(), c.max_seq_len];
            (shape, variant.compute)
        };
        shape(self) == shape(other)
    }
}

impl std::fmt::Debug for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variant").field("id", &self.id).finish()
    }
}
