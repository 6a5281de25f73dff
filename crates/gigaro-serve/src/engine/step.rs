//! The calls of the model in a step: each variant reads for its own texts, all of them at once.
//!
//! What is read is decided in `schedule.rs`; what becomes of the numbers in `room.rs`.

use std::sync::Arc;

use gigaro_models::gpt::{DecodePart, KvCache};
use gigaro_tensor::autocast;

use super::text::Text;
use super::variant::Variant;

/// What a call of the model gave.
pub(super) struct Reading {
    /// The texts that took part, and how many values belong to each.
    texts: Vec<(usize, usize)>,
    values: Vec<f32>,
}

impl Reading {
    /// The index of each text with its values: logits `(n, V)`, of which there may be none, or hidden states `(n, C)` if it is embedded.
    pub(super) fn by_text(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let mut rest = &self.values[..];
        self.texts.iter().map(move |&(i, n)| {
            let (own, after) = rest.split_at(n);
            rest = after;
            (i, own)
        })
    }
}

/// The texts that can share a call, with what they read.
struct Call<'a> {
    variant: &'a Arc<Variant>,
    hidden: bool,
    parts: Vec<(usize, DecodePart<'a>)>,
}

/// Reads the next `shares` tokens of each text; the rows of the cache grow by them.
pub(super) fn read(texts: &[Text], shares: &[usize], cache: &mut KvCache) -> Vec<Reading> {
    let mut calls: Vec<Call<'_>> = Vec::new();
    for (i, (text, &share)) in texts.iter().zip(shares).enumerate() {
        if share == 0 {
            continue;
        }
        let (variant, hidden) = (text.variant(), text.is_embedded());
        let part = (i, text.part(share));
        let same = |call: &&mut Call<'_>| call.variant.id == variant.id && call.hidden == hidden;
        match calls.iter_mut().find(same) {
            Some(call) => call.parts.push(part),
            None => calls.push(Call {
                variant,
                hidden,
                parts: vec![part],
            }),
        }
    }
    calls.into_iter().map(|call| call.run(cache)).collect()
}

impl Call<'_> {
    fn run(mut self, cache: &mut KvCache) -> Reading {
        // Rows in ascending order share calls of the attention kernel.
        self.parts.sort_unstable_by_key(|(_, part)| part.row);
        let parts: Vec<DecodePart<'_>> = self.parts.iter().map(|(_, part)| *part).collect();
        let (model, compute) = (&self.variant.model, self.variant.compute);
        let values = autocast(compute, || {
            if self.hidden {
                model.decode_hidden(&parts, cache)
            } else {
                model.decode_parts(&parts, cache)
            }
            .to_vec::<f32>()
        });
        let c = &model.config;
        let size = |part: &DecodePart<'_>| {
            if self.hidden {
                part.ids.len() * c.d_model
            } else {
                part.logits * c.vocab_size
            }
        };
        let texts = self.parts.iter().map(|(i, part)| (*i, size(part)));
        Reading {
            texts: texts.collect(),
            values,
        }
    }
}
