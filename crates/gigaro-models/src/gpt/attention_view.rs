//! What a model looks at: the attention weights behind its next token.
//!
//! For people who want to see it, not for training: the weights that attention's kernel never writes down are computed again, for one
//! token, from the queries and keys of an ordinary pass over the text.

use gigaro_tensor::Tensor;

use super::Gpt;
use super::cache::{DecodePart, KvCache};

impl Gpt {
    /// How much the last of `ids`, from which the next token is drawn, looks at each of them, itself included: `(n_layer, n_head, T)` one
    /// after another. Each head's weights add up to 1.
    ///
    /// # Panics
    /// If there are no ids, they do not fit into the context, or an id exceeds the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn attention_weights(&self, ids: &[u32]) -> Vec<f32> {
        let mut cache = KvCache::with_capacity(self, 1, ids.len());
        let part = DecodePart {
            row: 0,
            ids,
            logits: 0,
        };
        let mut weights = Vec::new();
        gigaro_tensor::no_grad(|| {
            self.extend(&[part], &mut cache, &mut |queries, keys| {
                weights.extend(last_weights(queries, keys, ids.len()));
            });
        });
        weights
    }
}

/// The softmax of the last query's products with all keys, head after head.
///
/// # Shapes
/// `queries: (1, T, H, D)`, `keys: (1, T, Hkv, D)` -> `(H, T)`
fn last_weights(queries: &Tensor, keys: &Tensor, t: usize) -> Vec<f32> {
    let (heads, kv_heads, d) = (queries.size(2), keys.size(2), queries.size(3));
    let q = queries.narrow(1, t - 1, 1).to_vec::<f32>();
    let k = keys.narrow(1, 0, t).to_vec::<f32>();
    let scale = 1.0 / (d as f64).sqrt();
    let mut weights = Vec::with_capacity(heads * t);
    for head in 0..heads {
        let query = &q[head * d..(head + 1) * d];
        let shared = head / (heads / kv_heads);
        let scores: Vec<f64> = (0..t)
            .map(|at| {
                let key = &k[(at * kv_heads + shared) * d..][..d];
                let products = query.iter().zip(key);
                scale
                    * products
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum::<f64>()
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = shares.iter().sum();
        weights.extend(shares.iter().map(|share| (share / total) as f32));
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GptConfig;
    use gigaro_nn::Mode;
    use gigaro_tensor::{DType, Device, Generator, functional as F, no_grad};

    /// The first layer by hand: its queries and keys depend on nothing but the embeddings.
    #[test]
    fn the_weights_are_the_softmax_of_queries_and_keys_and_add_up_to_one() {
        for config in [
            GptConfig::gpt2(61, 32, 2, 4, 32),
            GptConfig::llama(61, 32, 3, 4, 2, 32, 48),
        ] {
            let model = Gpt::new(&config, &Generator::new(5));
            let g = Generator::new(6);
            no_grad(|| {
                for block in &model.blocks {
                    let norm = match &block.ln_1 {
                        crate::gpt::NormLayer::LayerNorm(norm) => &norm.weight,
                        crate::gpt::NormLayer::RmsNorm(norm) => &norm.weight,
                    };
                    norm.add_(&(Tensor::randn(norm.shape(), DType::F32, Device::Cpu, &g) * 9.0));
                }
            });
            let ids: Vec<u32> = (0..20).map(|i| i * 7 % 61).collect();
            let (t, heads) = (ids.len(), config.n_head);
            let weights = model.attention_weights(&ids);
            assert_eq!(weights.len(), config.n_layer * heads * t);
            for head in weights.chunks(t) {
                assert!((head.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                assert!(head.iter().all(|weight| *weight >= 0.0));
            }
            let wide = Tensor::from_vec(ids.iter().map(|&id| i64::from(id)).collect(), [1, t]);
            let mut x = model.wte.forward(&wide);
            if let Some(wpe) = &model.wpe {
                x = x + wpe.weight.narrow(0, 0, t);
            }
            let block = &model.blocks[0];
            let rotary = model.rotary_tables(0, t);
            let [q, k, _] =
                block
                    .attn
                    .heads(&block.ln_1.forward(&x), &wide, rotary.as_ref(), &Mode::Eval);
            let shared = (0..heads).map(|head| (head * config.n_kv_head / heads) as i64);
            let k = k.index_select(2, &Tensor::from_vec(shared.collect(), [heads]));
            let scores = q.transpose(1, 2).matmul(&k.transpose(1, 2).transpose(2, 3))
                / (config.head_dim() as f64).sqrt();
            let expected = F::softmax(&scores.narrow(2, t - 1, 1), -1).to_vec::<f32>();
            for (got, expected) in weights.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-5, "{got} {expected}");
            }
            let flat = weights[..t].iter().all(|w| (w - weights[0]).abs() < 1e-3);
            assert!(!flat, "it looks somewhere");
        }
    }
}
