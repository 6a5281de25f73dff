//! Decoding with a key-value cache: what a token costs no longer grows with the square of the text.
//!
//! A cache holds several sequences, a row each, and one call may read tokens of many of them: all
//! products run over all tokens of the call at once, so that a weight is fetched once for everybody.
//! It is written by the very layers that train ([`Attention::heads`](super::block::Attention::heads)),
//! so a reply's log-probabilities are those of the training forward pass. Each token's row passes
//! through products and attention whose sums do not depend on what else is in the call, so feeding a
//! prompt at once, in pieces, or token by token, alone or in company, gives the same bits.
//!
//! How the tokens of a call look back at pages is in [`PagedCache`]. Who gets which row is not decided here but
//! in `generate/batch.rs`.

use gigaro_nn::Mode;
use gigaro_tensor::{DType, PagedCache, Part, Tensor, no_grad};

use super::Gpt;
use super::decode_graph::Steps;

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

/// Keys and values of the texts so far, a row for each sequence. Memory is taken in pages as texts grow.
#[derive(Debug)]
pub struct KvCache {
    pub(super) rows: PagedCache,
    /// Steps that a card repeats.
    pub(super) steps: Steps,
}

impl KvCache {
    /// Tokens of a page.
    pub const PAGE_TOKENS: usize = PagedCache::PAGE_TOKENS;

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

    /// An empty cache for so many texts of at most `capacity` tokens.
    #[must_use]
    pub fn with_capacity(model: &Gpt, rows: usize, capacity: usize) -> Self {
        let c = &model.config;
        let shape = [c.n_layer, c.n_kv_head, c.head_dim()];
        Self {
            rows: PagedCache::new(shape, rows, capacity.min(c.max_seq_len)).on(model.device()),
            steps: Steps::default(),
        }
    }

    /// The same with at most so many pages for all rows together, instead of as many as they may come to need.
    #[must_use]
    pub fn with_pages(self, pages: usize) -> Self {
        Self {
            rows: self.rows.with_pages(pages),
            steps: self.steps,
        }
    }

    /// Sequences that it has room for.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.rows.texts()
    }

    /// Tokens that a row holds.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn len(&self, row: usize) -> usize {
        self.rows.len(row)
    }

    /// Whether a row holds no token.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn is_empty(&self, row: usize) -> bool {
        self.len(row) == 0
    }

    /// Tokens that still fit into a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn room(&self, row: usize) -> usize {
        self.rows.capacity() - self.len(row)
    }

    /// Bytes that a row takes when it is full.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.rows.capacity().div_ceil(Self::PAGE_TOKENS) * self.page_bytes()
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.rows.page_bytes()
    }

    /// Pages that can still be had.
    #[must_use]
    pub fn free_pages(&self) -> usize {
        self.rows.free_pages()
    }

    /// Pages that reading `tokens` more tokens in a row takes.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn pages_for(&self, row: usize, tokens: usize) -> usize {
        self.rows.pages_for(row, tokens)
    }

    /// Pages that would be free if the row were: those that no other row begins with.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    #[track_caller]
    pub fn own_pages(&self, row: usize) -> usize {
        self.rows.own_pages(row)
    }

    /// Puts the first `len` tokens of row `from` into row `to` instead of what that held: a text that begins like another
    /// need not be read again. Whole pages are shared, not copied.
    ///
    /// # Panics
    /// If there is no such row, both are the same, or `from` does not hold as many tokens.
    #[track_caller]
    pub fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        self.rows.copy_prefix(from, to, len);
    }

    /// Kinds of steps that a card repeats by a graph: one for each number of rows that took part in a step twice. 0 on the processor.
    #[must_use]
    pub fn captured_steps(&self) -> usize {
        self.steps.captured()
    }

    /// Forgets everything, whatever a call that was cut short has left.
    pub fn clear(&mut self) {
        // What they hold may be what a call had no room for.
        self.steps = Steps::default();
        self.rows.clear();
    }

    /// Forgets a row's tokens from position `len` on; 0 makes the row free for another text.
    ///
    /// # Panics
    /// If there are not as many, or no such row.
    #[track_caller]
    pub fn truncate(&mut self, row: usize, len: usize) {
        self.rows.truncate(row, len);
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
    /// tokens.
    ///
    /// # Panics
    /// If a part is empty or does not fit into its row, asks for more logits than it has tokens, a
    /// row is named twice, or an id exceeds the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn decode_parts(&self, parts: &[DecodePart<'_>], cache: &mut KvCache) -> Tensor {
        self.decode_watched(parts, cache, &mut |_| {})
    }

    /// As [`Gpt::decode_parts`]; `watch` is shown what the logits are projected from, `(n, C)`: what
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
        if let Some(step) = self.repeated_step(parts, cache) {
            watch(&step.hidden);
            return step.logits;
        }
        let wanted = wanted_rows(parts);
        if wanted.is_empty() {
            if !parts.is_empty() {
                no_grad(|| self.extend(parts, cache, &mut |_, _| {}));
            }
            return Tensor::zeros([0, self.config.vocab_size], DType::F32, self.device());
        }
        no_grad(|| {
            let mut x = self.extend(parts, cache, &mut |_, _| {}).squeeze(0);
            let n = wanted.len();
            if x.size(0) > n {
                x = x.index_select(0, &Tensor::from_vec(wanted, [n]));
            }
            let hidden = self.ln_f.forward(&x);
            watch(&hidden);
            self.logits(&hidden).to_dtype(DType::F32)
        })
    }

    /// Reads some tokens for each of some rows as [`Gpt::decode_parts`] does, and gives what the logits would be projected from for every
    /// one of them, part after part: `(N, C)`, the rows of [`Gpt::hidden`].
    ///
    /// # Panics
    /// As [`Gpt::decode_parts`].
    #[must_use]
    #[track_caller]
    pub fn decode_hidden(&self, parts: &[DecodePart<'_>], cache: &mut KvCache) -> Tensor {
        no_grad(|| {
            let x = self.extend(parts, cache, &mut |_, _| {}).squeeze(0);
            self.ln_f.forward(&x).to_dtype(DType::F32)
        })
    }

    /// What the last layer leaves for each of the tokens, part after part: `(1, N, C)`; the rows grow
    /// by them.
    ///
    /// `watch` is shown each layer's queries `(1, N, H, D)` and keys `(1, N, Hkv, D)` of these tokens.
    #[track_caller]
    pub(super) fn extend(
        &self,
        parts: &[DecodePart<'_>],
        cache: &mut KvCache,
        watch: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Tensor {
        let places = admit(parts, cache);
        let [ids, positions] = inputs(parts, cache);
        cache.rows.reserve(&places);
        let x = self.through_layers(&ids, &positions, &places, &mut cache.rows, watch);
        cache.rows.advance(&places);
        x
    }

    /// What the last layer leaves for tokens `ids: (1, N)` at `positions: (N)`, for which `rows` have room: `(1, N, C)`.
    pub(super) fn through_layers(
        &self,
        ids: &Tensor,
        positions: &Tensor,
        places: &[Part],
        rows: &mut PagedCache,
        watch: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Tensor {
        let x = self.wte.forward(ids);
        let mut x = x.to_dtype(DType::F32); // embeddings may be held in less
        if let Some(wpe) = &self.wpe {
            x = x + wpe.forward(positions);
        }
        let rotary = self.rotary_here().map(|(cos, sin)| {
            (
                cos.index_select(0, positions),
                sin.index_select(0, positions),
            )
        });
        for (layer, block) in self.blocks.iter().enumerate() {
            let [q, k, v] = block.attn.heads(
                &block.ln_1.forward_in(&x),
                ids,
                rotary.as_ref(),
                &Mode::Eval,
            ); // (1, N, H, D)
            watch(&q, &k);
            rows.write(layer, places, &k, &v);
            let y = rows.attend(layer, places, &q); // (1, N, C)
            x = x + block.attn.out.forward_in(&y, &Mode::Eval);
            x = &x + block.mlp.forward(&block.ln_2.forward_in(&x), &Mode::Eval);
        }
        x
    }
}

/// The tokens of a call, `(1, N)`, and their positions, `(N)`.
pub(super) fn inputs(parts: &[DecodePart<'_>], cache: &KvCache) -> [Tensor; 2] {
    let tokens = parts.iter().flat_map(|p| p.ids);
    let ids: Vec<i64> = tokens.map(|&id| i64::from(id)).collect();
    let positions: Vec<i64> = parts
        .iter()
        .map(|p| (cache.len(p.row), p.ids.len()))
        .flat_map(|(start, n)| start as i64..(start + n) as i64)
        .collect();
    let n = ids.len();
    [
        Tensor::from_vec(ids, [1, n]),
        Tensor::from_vec(positions, [n]),
    ]
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

/// The parts as the cache knows them.
///
/// # Panics
/// If a part is empty or does not fit, or a row is named twice.
#[track_caller]
pub(super) fn admit(parts: &[DecodePart<'_>], cache: &KvCache) -> Vec<Part> {
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
            cache.len(row),
            cache.rows.capacity()
        );
        named[row] = true;
        at += ids.len();
        Part {
            text: row,
            at: at - ids.len(),
            tokens: ids.len(),
        }
    });
    let admitted: Vec<Part> = admitted.collect();
    assert!(!admitted.is_empty(), "Gpt: there is nothing to read");
    admitted
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
