//! What weights are held in for inference: a step of decoding takes as long as reading them.

use gigaro_nn::Linear;
use gigaro_tensor::DType;
use gigaro_tensor::cpu::quantized::Bits;

use super::Gpt;

/// How weights lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightFormat {
    /// 32-bit floats, as they are trained.
    F32,
    /// Brain floats: half the bytes. Embeddings stay f32, so that logits are those of training in brain floats, bit for bit.
    Bf16,
    /// Integers of 8 bits with a scale for every few: a quarter. Embeddings stay f32.
    Int8,
    /// Integers of 4 bits with a scale and a minimum for every few: a sixth. The projection onto the vocabulary, which decides between
    /// words of nearly the same logits, has 8; embeddings stay f32.
    Int4,
}

impl Gpt {
    /// Holds the matrices in a format; what flows between them stays f32. For inference: rounded weights
    /// are no longer what was trained.
    pub fn store_weights(&mut self, format: WeightFormat) {
        if format == WeightFormat::F32 {
            return;
        }
        // A tied head is rounded on its own: embeddings are looked up, not multiplied.
        let tied = Linear::from_weights(self.head_weight().detach(), None);
        self.lm_head.get_or_insert(tied);
        match format {
            WeightFormat::F32 => {}
            WeightFormat::Bf16 => self.each_linear(|layer| {
                if !layer.is_quantized() {
                    layer.weight = layer.weight.detach().to_dtype(DType::BF16);
                }
            }),
            WeightFormat::Int8 => self.each_linear(|layer| layer.quantize(Bits::Eight)),
            WeightFormat::Int4 => {
                self.lm_head
                    .iter_mut()
                    .for_each(|head| head.quantize(Bits::Eight));
                self.each_linear(|layer| layer.quantize(Bits::Four));
            }
        }
    }

    /// Bytes of weights that a step of decoding reads: all but the embeddings that are only looked up.
    #[must_use]
    pub fn bytes_per_token(&self) -> u64 {
        let mut model = self.clone();
        let mut bytes = match self.lm_head {
            Some(_) => 0,
            None => self.wte.weight.numel() * self.wte.weight.dtype().size_bytes(),
        };
        model.each_linear(|layer| bytes += layer.weight_bytes());
        bytes as u64
    }

    fn each_linear(&mut self, mut f: impl FnMut(&mut Linear)) {
        for (_, layer) in self.linears_mut() {
            f(layer);
        }
        self.lm_head.iter_mut().for_each(f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GptConfig;
    use crate::gpt::KvCache;
    use gigaro_tensor::Generator;

    #[test]
    fn rounded_weights_give_nearly_the_same_logits() {
        for config in [
            GptConfig::gpt2(97, 32, 2, 4, 64),
            GptConfig::llama(97, 32, 2, 4, 2, 64, 96),
            GptConfig {
                value_embeddings: true,
                ..GptConfig::llama(97, 32, 2, 4, 2, 64, 96)
            },
        ] {
            let model = Gpt::new(&config, &Generator::new(1));
            let logits = |format| {
                let mut model = model.clone();
                model.store_weights(format);
                model.decode(&[5, 9, 2, 40], &mut KvCache::new(&model))
            };
            let exact = logits(WeightFormat::F32);
            let largest = exact.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
            for (format, within) in [
                (WeightFormat::Bf16, 0.05),
                (WeightFormat::Int8, 0.05),
                (WeightFormat::Int4, 0.3),
            ] {
                let rounded = logits(format);
                let errors = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs());
                let error = errors.fold(0.0, f32::max);
                assert!(
                    error > 0.0 && error < within * largest,
                    "{format:?}: {error} of {largest}"
                );
            }
        }
    }
}
