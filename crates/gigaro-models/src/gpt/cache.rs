//! Decoding with a key-value cache: what a token costs no longer grows with the square of the text.
//!
//! A cache holds several sequences, a row each, and one call may read tokens of many of them: all
//! products run over all tokens of the call at once, so that a weight is fetched once for everybody.
//! It is written by the very layers that train ([`Attention::heads`](super::block::Attention::heads)),
//! so a reply's log-probabilities are those of the training forward pass. Each token's row passes
//! through products and attention whose sums do not depend on what else is in the call, so feeding a
//! prompt at once, in pieces, or token by token, alone or in company, gives the same bits.
//!
//! How the tokens of a call look back is in `lookback.rs`. Who gets which row is not decided here but
//! in `generate/batch.rs`.

use gigaro_nn::Mode;
use gigaro_tensor::cpu::gemv;
use gigaro_tensor::{DType, Device, Tensor, no_grad};

use super::Gpt;
use super::lookback::{Lookback, Part};

/// Tokens of one row to read in a call, and how many of the logits are wanted.
#[derive(Clone, Copy, Debug)]
pub struct DecodePart<'a> {
    /// The row of the cache.
    pub row: usize,
    /// What to read behind what the row holds.
    pub ids: &'a [u32],
    /// After how many of the last tokens the logits are wanted: 1 to draw the next token, all of them to score a text, 0
    /// for a piece of a prompt that goes on.
    pub logits: usize,
}

/// Keys and values of the texts so far, a row for each sequence.
#[derive(Debug)]
pub struct KvCache {
    /// Per layer, `(rows, capacity, n_kv_head, D)` each. Zeros behind a row's tokens.
    layers: Vec<(Tensor, Tensor)>,
    /// Tokens held, per row.
    lens: Vec<usize>,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for one text up to the model's context: row 0.
    #[must_use]
    pub fn new(model: &Gpt) -> Self {
        Self::with_rows(model, 1)
    }

    /// An empty cache for so many texts up to the model's context.
    #[must_use]
    pub fn with_rows(model: &Gpt, rows: usize) -> Self {
        Self::with_capacity(model, rows, model.config.max_seq_len)
    }

    /// An empty cache for so many texts of at most `capacity` tokens: less memory than the whole context takes.
    #[must_use]
    pub fn with_capacity(model: &Gpt, rows: usize, capacity: usize) -> Self {
        let c = &model.config;
        let capacity = capacity.min(c.max_seq_len);
        let shape = [rows, capacity, c.n_kv_head, c.d_model / c.n_head];
        let empty = || Tensor::zeros(shape, DType::F32, Device::Cpu);
        Self {
            layers: (0..c.n_layer).map(|_| (empty(), empty())).collect(),
            lens: vec![0; rows],
            capacity,
        }
    }

    /// Sequences that it has room for.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.lens.len()
    }

    /// Tokens that a row holds.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn len(&self, row: usize) -> usize {
        self.lens[row]
    }

    /// Whether a row holds no token.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn is_empty(&self, row: usize) -> bool {
        self.lens[row] == 0
    }

    /// Tokens that still fit into a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn room(&self, row: usize) -> usize {
        self.capacity - self.lens[row]
    }

    /// Bytes that each row takes.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        let held: usize = self.layers.iter().map(|(k, v)| k.numel() + v.numel()).sum();
        held / self.rows().max(1) * DType::F32.size_bytes()
    }

    /// Puts the first `len` tokens of row `from` into row `to` instead of what that held: a text that begins like another
    /// need not be read again.
    ///
    /// # Panics
    /// If there is no such row, both are the same, or `from` does not hold as many tokens.
    #[track_caller]
    pub fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        let held = self.lens[from];
        assert!(
            from != to && len <= held,
            "KvCache: cannot copy {len} of {held} tokens of row {from} to row {to}"
        );
        self.truncate(to, 0);
        if len > 0 {
            for (keys, values) in &self.layers {
                for kept in [keys, values] {
                    let begun = kept.narrow(0, from, 1).narrow(1, 0, len);
                    // Both rows lie in one storage, which is not read while it is written.
                    let copied = Tensor::from_vec(begun.to_vec::<f32>(), begun.shape());
                    kept.narrow(0, to, 1).narrow(1, 0, len).copy_(&copied);
                }
            }
        }
        self.lens[to] = len;
    }

    /// Forgets everything, whatever a call that was cut short has left.
    pub fn clear(&mut self) {
        for (keys, values) in &self.layers {
            keys.zero_();
            values.zero_();
        }
        self.lens.fill(0);
    }

    /// Forgets a row's tokens from position `len` on; 0 makes the row free for another text.
    ///
    /// # Panics
    /// If there are not as many, or no such row.
    #[track_caller]
    pub fn truncate(&mut self, row: usize, len: usize) {
        let held = self.lens[row];
        assert!(
            len <= held,
            "KvCache: cannot keep {len} of {held} tokens of row {row}"
        );
        if len == held {
            return;
        }
        // Zeros, because attention multiplies what lies behind a row by a weight of zero, and a model
        // whose training diverged may have left NaN there.
        for (keys, values) in &self.layers {
            for kept in [keys, values] {
                kept.narrow(0, row, 1).narrow(1, len, held - len).zero_();
            }
        }
        self.lens[row] = len;
    }
}

impl Gpt {
    /// Reads `ids` behind what row 0 of the cache holds and gives the logits that follow the last of
    /// them, `(V)`.
    ///
    /// # Panics
    /// If there are none, they do not fit into the context, or an id exceeds the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn decode(&self, ids: &[u32], cache: &mut KvCache) -> Vec<f32> {
        self.decode_ragged(&[(0, ids)], cache).to_vec()
    }

    /// As [`Gpt::decode`], with the logits after every one of `ids`: `(T, V)`.
    ///
    /// # Panics
    /// As [`Gpt::decode`].
    #[must_use]
    #[track_caller]
    pub fn decode_all(&self, ids: &[u32], cache: &mut KvCache) -> Tensor {
        no_grad(|| {
            let part = DecodePart {
                row: 0,
                ids,
                logits: ids.len(),
            };
            self.logits(
                &self
                    .ln_f
                    .forward(&self.extend(&[part], cache, &mut |_, _| {})),
            )
            .squeeze(0)
        })
    }

    /// Reads one token for each of the named rows, all at once, and gives the logits that follow:
    /// `(n, V)` in f32, in the order of `rows`. It is fastest when the rows ascend without gaps.
    ///
    /// # Panics
    /// As [`Gpt::decode_ragged`], or if there are not as many ids as rows.
    #[must_use]
    #[track_caller]
    pub fn decode_rows(&self, ids: &[u32], rows: &[usize], cache: &mut KvCache) -> Tensor {
        assert!(
            ids.len() == rows.len(),
            "Gpt: {} ids for {} rows",
            ids.len(),
            rows.len()
        );
        let parts: Vec<(usize, &[u32])> = rows.iter().copied().zip(ids.chunks(1)).collect();
        self.decode_ragged(&parts, cache)
    }

    /// Reads some tokens for each of some rows (one for a text that is being written, a whole prompt
    /// for a new one), all at once, and gives the logits that follow the last of each: `(n, V)` in
    /// f32, in the order of `parts`. As [`Gpt::decode_parts`] otherwise.
    ///
    /// # Panics
    /// As [`Gpt::decode_parts`].
    #[must_use]
    #[track_caller]
    pub fn decode_ragged(&self, parts: &[(usize, &[u32])], cache: &mut KvCache) -> Tensor {
        let parts: Vec<DecodePart<'_>> = parts
            .iter()
            .map(|&(row, ids)| DecodePart {
                row,
                ids,
                logits: 1,
            })
            .collect();
        self.decode_parts(&parts, cache)
    }

    /// Reads some tokens for each of some rows, all at once, and gives the logits that follow as many
    /// of the last tokens of each part as it asks for: `(sum of those, V)` in f32, part after part.
    ///
    /// A row's logits have the same bits in every company, and those of [`Gpt::forward`] on its
    /// tokens. (With weights in 8 bits, which have no training forward pass, those that it has alone.)
    ///
    /// # Panics
    /// If a part is empty or does not fit into its row, asks for more logits than it has tokens, a
    /// row is named twice, or an id exceeds the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn decode_parts(&self, parts: &[DecodePart<'_>], cache: &mut KvCache) -> Tensor {
        self.decode_watched(parts, cache, &mut |_| {})
    }

    /// As [`Gpt::decode_parts`]; `watch` is shown what the logits are projected from, `(n, C)`, call after call: what
    /// [`Gpt::hidden`] gives for these tokens.
    ///
    /// # Panics
    /// As [`Gpt::decode_parts`].
    #[must_use]
    #[track_caller]
    pub fn decode_watched(
        &self,
        parts: &[DecodePart<'_>],
        cache: &mut KvCache,
        watch: &mut dyn FnMut(&Tensor),
    ) -> Tensor {
        let mut logits = Vec::new();
        for parts in self.calls(parts) {
            let wanted = wanted_rows(parts);
            let x = no_grad(|| self.extend(parts, cache, &mut |_, _| {}).squeeze(0));
            if wanted.is_empty() {
                continue;
            }
            logits.push(no_grad(|| {
                let x = if x.size(0) > wanted.len() {
                    let n = wanted.len();
                    x.index_select(0, &Tensor::from_vec(wanted, [n]))
                } else {
                    x
                };
                let hidden = self.ln_f.forward(&x);
                watch(&hidden);
                self.logits(&hidden).to_dtype(DType::F32)
            }));
        }
        match &logits[..] {
            [] => Tensor::zeros([0, self.config.vocab_size], DType::F32, Device::Cpu),
            [all] => all.clone(),
            several => Tensor::cat(&several.iter().collect::<Vec<_>>(), 0),
        }
    }

    /// Reads some tokens for each of some rows as [`Gpt::decode_parts`] does, and gives what the logits would be projected from for every
    /// one of them, part after part: `(N, C)`, the rows of [`Gpt::hidden`].
    ///
    /// # Panics
    /// As [`Gpt::decode_parts`].
    #[must_use]
    #[track_caller]
    pub fn decode_hidden(&self, parts: &[DecodePart<'_>], cache: &mut KvCache) -> Tensor {
        let read = |parts: &&[DecodePart<'_>]| {
            no_grad(|| {
                self.ln_f
                    .forward(&self.extend(parts, cache, &mut |_, _| {}).squeeze(0))
                    .to_dtype(DType::F32)
            })
        };
        let hidden: Vec<Tensor> = self.calls(parts).iter().map(read).collect();
        Tensor::cat(&hidden.iter().collect::<Vec<_>>(), 0)
    }

    /// The parts that may go through the layers together. Products with weights in 8 bits round
    /// differently for many rows than for a few, so there a part shares a call only while they are few.
    fn calls<'a, 'b>(&self, parts: &'a [DecodePart<'b>]) -> Vec<&'a [DecodePart<'b>]> {
        if !self
            .lm_head
            .as_ref()
            .is_some_and(gigaro_nn::Linear::is_int8)
        {
            return vec![parts];
        }
        let (mut calls, mut rest) = (Vec::new(), parts);
        while !rest.is_empty() {
            let mut tokens = 0;
            let fit = rest.iter().take_while(|part| {
                tokens += part.ids.len();
                tokens <= gemv::MAX_ROWS
            });
            let (call, after) = rest.split_at(fit.count().max(1));
            calls.push(call);
            rest = after;
        }
        calls
    }

    /// What the last layer leaves for each of the tokens, part after part: `(1, N, C)`; the rows grow
    /// by them.
    ///
    /// `watch` is shown each layer's queries `(1, N, H, D)` and the cache's keys `(rows, capacity, Hkv, D)`.
    #[track_caller]
    pub(super) fn extend(
        &self,
        parts: &[DecodePart<'_>],
        cache: &mut KvCache,
        watch: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Tensor {
        let parts = admit(parts, cache);
        let ids: Vec<i64> = parts
            .iter()
            .flat_map(|p| p.ids.iter().map(|&id| i64::from(id)))
            .collect();
        let positions: Vec<i64> = parts
            .iter()
            .flat_map(|p| p.start as i64..(p.start + p.ids.len()) as i64)
            .collect();
        let n = ids.len();
        let positions = Tensor::from_vec(positions, [n]);
        let ids = Tensor::from_vec(ids, [1, n]);
        let x = self.wte.forward(&ids);
        let mut x = x.to_dtype(DType::F32); // embeddings may be held in less
        if let Some(wpe) = &self.wpe {
            x = x + wpe.forward(&positions);
        }
        let rotary = self.rotary.as_ref().map(|(cos, sin)| {
            (
                cos.index_select(0, &positions),
                sin.index_select(0, &positions),
            )
        });
        let lookback = Lookback::new(&parts);
        for (block, (keys, values)) in self.blocks.iter().zip(&cache.layers) {
            let [q, k, v] =
                block
                    .attn
                    .heads(&block.ln_1.forward(&x), &ids, rotary.as_ref(), &Mode::Eval); // (1, N, H, D)
            lookback.keep(keys, &k);
            lookback.keep(values, &v);
            watch(&q, keys);
            let y = lookback.attend(&q, keys, values); // (1, N, C)
            x = x + block.attn.out.forward(&y);
            x = &x + block.mlp.forward(&block.ln_2.forward(&x), &Mode::Eval);
        }
        for part in &parts {
            cache.lens[part.row] += part.ids.len();
        }
        x
    }
}

/// The places in the call of the tokens whose logits are wanted.
///
/// # Panics
/// If a part asks for more than it has.
#[track_caller]
fn wanted_rows(parts: &[DecodePart<'_>]) -> Vec<i64> {
    let (mut end, mut wanted) = (0, Vec::new());
    for part in parts {
        let n = part.ids.len();
        assert!(
            part.logits <= n,
            "Gpt: logits after {} of {n} tokens",
            part.logits
        );
        end += n as i64;
        wanted.extend(end - part.logits as i64..end);
    }
    wanted
}

/// The parts with their places in the call and in their rows.
///
/// # Panics
/// If a part is empty or does not fit, or a row is named twice.
#[track_caller]
fn admit<'a>(parts: &[DecodePart<'a>], cache: &KvCache) -> Vec<Part<'a>> {
    let (mut at, mut named) = (0, vec![false; cache.rows()]);
    let admitted = parts.iter().map(|&DecodePart { row, ids, .. }| {
        assert!(
            row < cache.rows() && !named[row],
            "Gpt: row {row} of {} is missing or named twice",
            cache.rows()
        );
        assert!(
            !ids.is_empty() && ids.len() <= cache.room(row),
            "Gpt: {} more tokens for row {row}, {} of {} held",
            ids.len(),
            cache.lens[row],
            cache.capacity
        );
        named[row] = true;
        at += ids.len();
        Part {
            row,
            start: cache.lens[row],
            at: at - ids.len(),
            ids,
        }
    });
    let admitted: Vec<Part<'a>> = admitted.collect();
    assert!(!admitted.is_empty(), "Gpt: there is nothing to read");
    admitted
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
