//! Decoding with a key-value cache: what a token costs no longer grows with the square of the text.
//!
//! The cache is written by the very layers that train ([`Attention::heads`](super::block::Attention::heads)),
//! so a reply's log-probabilities are those of the training forward pass. Each token's row passes through products and
//! attention whose sums do not depend on what else is in the call, so feeding a prompt at once, in
//! pieces, or token by token gives the same bits.

use gigaro_nn::Mode;
use gigaro_tensor::{DType, Device, Tensor, functional as F, no_grad};

use super::Gpt;

/// Keys and values of the text so far, for one sequence.
#[derive(Debug)]
pub struct KvCache {
    /// Per layer, `(1, max_seq_len, n_kv_head, D)` each.
    layers: Vec<(Tensor, Tensor)>,
    len: usize,
    capacity: usize,
}

impl KvCache {
    /// An empty cache for texts up to the model's context.
    #[must_use]
    pub fn new(model: &Gpt) -> Self {
        let c = &model.config;
        let shape = [1, c.max_seq_len, c.n_kv_head, c.d_model / c.n_head];
        let empty = || Tensor::zeros(shape, DType::F32, Device::Cpu);
        Self {
            layers: (0..c.n_layer).map(|_| (empty(), empty())).collect(),
            len: 0,
            capacity: c.max_seq_len,
        }
    }

    /// Tokens held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no token is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Tokens that still fit.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Forgets all tokens from position `len` on.
    ///
    /// # Panics
    /// If there are not as many.
    #[track_caller]
    pub fn truncate(&mut self, len: usize) {
        assert!(
            len <= self.len,
            "KvCache: cannot keep {len} of {} tokens",
            self.len
        );
        self.len = len;
    }
}

impl Gpt {
    /// Reads `ids` behind what the cache holds and gives the logits that follow the last of them,
    /// `(V)`.
    ///
    /// # Panics
    /// If there are none, they do not fit into the context, or an id exceeds the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn decode(&self, ids: &[u32], cache: &mut KvCache) -> Vec<f32> {
        let hidden = self.extend(ids, cache);
        no_grad(|| self.logits(&hidden.narrow(1, ids.len() - 1, 1)))
            .to_dtype(DType::F32)
            .to_vec()
    }

    /// As [`Gpt::decode`], with the logits after every one of `ids`: `(T, V)`.
    ///
    /// # Panics
    /// As [`Gpt::decode`].
    #[must_use]
    #[track_caller]
    pub fn decode_all(&self, ids: &[u32], cache: &mut KvCache) -> Tensor {
        let hidden = self.extend(ids, cache);
        no_grad(|| self.logits(&hidden)).squeeze(0)
    }

    /// What the last layer leaves for each of `ids`, `(1, T, C)`; the cache grows by them.
    #[track_caller]
    fn extend(&self, ids: &[u32], cache: &mut KvCache) -> Tensor {
        let (start, t) = (cache.len, ids.len());
        assert!(
            t > 0 && t <= cache.room(),
            "Gpt: {t} more tokens, {} of {} held",
            start,
            cache.capacity
        );
        no_grad(|| {
            let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
            let x = self.wte.forward(&Tensor::from_vec(ids, [1, t]));
            let mut x = x.to_dtype(DType::F32); // embeddings may be held in less
            if let Some(wpe) = &self.wpe {
                x = x + wpe.weight.narrow(0, start, t);
            }
            let rotary = self.rotary_tables(start, t);
            for (block, (keys, values)) in self.blocks.iter().zip(&cache.layers) {
                let [q, k, v] = block.attn.heads(&block.ln_1.forward(&x), rotary.as_ref()); // (1, T, H, D)
                keys.narrow(1, start, t).copy_(&k);
                values.narrow(1, start, t).copy_(&v);
                let [q, k, v] = [
                    q,
                    keys.narrow(1, 0, start + t),
                    values.narrow(1, 0, start + t),
                ]
                .map(|x| x.transpose(1, 2));
                let y = F::scaled_dot_product_attention(&q, &k, &v, None, true, None);
                x = x + block.attn.out.forward(&y.transpose(1, 2).reshape([
                    1,
                    t,
                    self.config.d_model,
                ]));
                x = &x + block.mlp.forward(&block.ln_2.forward(&x), &Mode::Eval);
            }
            cache.len += t;
            self.ln_f.forward(&x)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GptConfig;
    use gigaro_tensor::Generator;

    fn models() -> Vec<Gpt> {
        let gpt2 = GptConfig::gpt2(97, 48, 2, 4, 32);
        let modern = GptConfig::modern(97, 48, 2, 4, 32);
        [gpt2, modern]
            .iter()
            .map(|c| randomised(Gpt::new(c, &Generator::new(3))))
            .collect()
    }

    /// Fresh modern weights have zero output projections, which would hide everything.
    fn randomised(model: Gpt) -> Gpt {
        use gigaro_nn::Module;
        let g = Generator::new(8);
        no_grad(|| {
            for (_, p) in model.named_parameters() {
                p.add_(&(Tensor::randn(p.shape(), DType::F32, Device::Cpu, &g) * 0.1));
            }
        });
        model
    }

    #[test]
    fn cached_decoding_gives_the_bits_of_the_whole_forward_pass() {
        for model in models() {
            let ids: Vec<u32> = (0..40).map(|i| i * 31 % 97).collect();
            let whole = model.forward(
                &Tensor::from_vec(ids.iter().map(|&i| i64::from(i)).collect(), [1, 40]),
                &Mode::Eval,
            );
            let whole = whole.squeeze(0);
            for sizes in [vec![40], vec![1; 40], vec![7, 1, 20, 12]] {
                let mut cache = KvCache::new(&model);
                let mut at = 0;
                for n in sizes {
                    let logits = model.decode(&ids[at..at + n], &mut cache);
                    at += n;
                    assert_eq!(
                        logits,
                        whole.select(0, at - 1).detach().to_vec::<f32>(),
                        "after {at} tokens"
                    );
                }
            }
        }
    }

    #[test]
    fn a_truncated_cache_continues_as_if_nothing_had_followed() {
        let model = &models()[0];
        let mut cache = KvCache::new(model);
        let first = model.decode(&[1, 2, 3], &mut cache);
        let _ = model.decode(&[9, 9], &mut cache);
        cache.truncate(2);
        assert_eq!(model.decode(&[3], &mut cache), first);
        assert_eq!((cache.len(), cache.room()), (3, 45));
    }
}
