//! A low-rank change beside a frozen weight.
//!
//! Fine-tuning changes a weight `(out, in)` by little, and what it changes has a low rank. So the weight is frozen and the
//! change is written as a product of two thin matrices, `scale * B @ A`; only these are trained. `B` starts at zero, so
//! that a model with fresh adapters computes what it computed without them.
//!
//! A [`Lora`] is carried by a [`Linear`](super::Linear), which adds what it gives, or folds it into its weight. Which
//! layers of a model get one, and the files, are in gigaro-models.

use gigaro_tensor::{DType, Device, Generator, Tensor, functional as F, no_grad};

use super::Dropout;
use crate::{Mode, Module, init, join};

/// `scale * dropout(x) @ A.t() @ B.t()`.
///
/// # Reference
/// Hu et al. (2021), "LoRA: low-rank adaptation of large language models", <https://arxiv.org/abs/2106.09685>
#[derive(Clone, Debug)]
pub struct Lora {
    /// Into the narrow middle, `(r, in_features)`.
    pub a: Tensor,
    /// Out of it, `(out_features, r)`.
    pub b: Tensor,
    /// Multiplies the change: `alpha / r`.
    pub scale: f64,
    /// On what goes in, while training.
    pub dropout: Dropout,
}

impl Lora {
    /// A fresh adapter: `A` Kaiming-uniform with PEFT's `a = sqrt(5)`, which is uniform within `1 / sqrt(in_features)`, and `B`
    /// zero.
    ///
    /// # Panics
    /// If `r` is 0.
    #[must_use]
    #[track_caller]
    pub fn new(
        in_features: usize,
        out_features: usize,
        r: usize,
        alpha: f64,
        dropout: f64,
        generator: &Generator,
    ) -> Self {
        let bound = 1.0 / (in_features.max(1) as f64).sqrt();
        let a = init::uniform([r, in_features], -bound, bound, generator);
        let b = Tensor::zeros([out_features, r], DType::F32, Device::Cpu);
        Self::from_weights(a, b, alpha, dropout)
    }

    /// These matrices, made parameters.
    ///
    /// # Panics
    /// If they are not `(r, in_features)` and `(out_features, r)` with `r` at least 1.
    #[must_use]
    #[track_caller]
    pub fn from_weights(a: Tensor, b: Tensor, alpha: f64, dropout: f64) -> Self {
        let fits = a.ndim() == 2 && b.ndim() == 2 && a.size(0) == b.size(1) && a.size(0) > 0;
        assert!(
            fits,
            "Lora: A {:?} and B {:?} are not (r, in) and (out, r)",
            a.shape(),
            b.shape()
        );
        Self {
            scale: alpha / a.size(0) as f64,
            a: a.requires_grad_(true),
            b: b.requires_grad_(true),
            dropout: Dropout::new(dropout),
        }
    }

    /// The rank of the change.
    #[must_use]
    pub fn r(&self) -> usize {
        self.a.size(0)
    }

    /// What is added to the layer's result.
    ///
    /// # Shapes
    /// `(.., in_features)` -> `(.., out_features)`
    /// # Panics
    /// If the last dim is not `in_features`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Tensor {
        let narrow = F::linear(&self.dropout.forward(x, mode), &self.a, None); // (.., r)
        F::linear(&narrow, &self.b, None) * self.scale
    }

    /// The change as a matrix, `(out_features, in_features)`.
    #[must_use]
    pub fn delta(&self) -> Tensor {
        no_grad(|| self.b.matmul(&self.a) * self.scale)
    }
}

impl Module for Lora {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "lora_A.weight"), &self.a);
        f(&join(prefix, "lora_B.weight"), &self.b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Linear;
    use gigaro_tensor::cpu::quantized::Bits;

    /// A layer with a trained-looking adapter, and something to put in.
    fn adapted(dropout: f64) -> (Linear, Tensor) {
        let random = Generator::new(5);
        let mut layer = Linear::new(12, 7, true, &random);
        let lora = Lora::new(12, 7, 3, 6.0, dropout, &random);
        no_grad(|| lora.b.copy_(&init::normal([7, 3], 0.0, 0.3, &random)));
        layer.add_lora(lora);
        let x = Tensor::randn([2, 4, 12], DType::F32, Device::Cpu, &random);
        (layer, x)
    }

    fn largest(x: &Tensor) -> f64 {
        x.detach().abs().max_all().item()
    }

    #[test]
    fn a_fresh_adapter_changes_no_bit_and_is_drawn_within_its_bound() {
        let random = Generator::new(1);
        let mut layer = Linear::new(16, 5, true, &random);
        let x = Tensor::randn([3, 16], DType::F32, Device::Cpu, &random);
        let before = layer.forward(&x).to_bytes();
        layer.add_lora(Lora::new(16, 5, 4, 8.0, 0.0, &random));
        assert_eq!(layer.forward(&x).to_bytes(), before);
        let lora = layer.lora().expect("was added");
        assert_eq!((lora.r(), lora.scale), (4, 2.0));
        let a = largest(&lora.a);
        assert!(a > 0.15 && a <= 0.25, "{a}");
    }

    #[test]
    fn gradients_reach_the_adapter_and_nothing_else() {
        let (layer, x) = adapted(0.0);
        layer.forward(&x).square().sum_all().backward();
        let names: Vec<String> = layer
            .named_parameters()
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(names, ["lora_A.weight", "lora_B.weight"]);
        for (name, p) in layer.named_parameters() {
            assert!(largest(&p.grad().expect(&name)) > 0.0, "{name}");
        }
        assert!(layer.weight.grad().is_none());
    }

    #[test]
    fn merged_gives_the_same_as_beside_and_unmerging_brings_every_bit_back() {
        let (mut layer, x) = adapted(0.0);
        let (weight, beside) = (layer.weight.to_bytes(), layer.forward(&x));
        let plain = F::linear(&x, &layer.weight, layer.bias.as_ref());
        assert!(largest(&(&beside - &plain)) > 0.1);
        let untouched = layer.clone();
        layer.merge_lora();
        assert!(layer.is_merged() && layer.weight.to_bytes() != weight);
        assert!(largest(&(layer.forward(&x) - &beside)) < 1e-5);
        assert_eq!(untouched.weight.to_bytes(), weight, "a clone is its own");
        layer.merge_lora();
        layer.unmerge_lora();
        assert_eq!(layer.weight.to_bytes(), weight);
        assert_eq!(layer.forward(&x).to_bytes(), beside.to_bytes());
    }

    #[test]
    fn a_merged_layer_without_its_adapter_is_an_ordinary_one() {
        let (mut layer, x) = adapted(0.0);
        let beside = layer.forward(&x);
        layer.merge_lora();
        layer.unload_lora();
        assert!(layer.lora().is_none() && !layer.is_merged());
        assert!(largest(&(layer.forward(&x) - &beside)) < 1e-5);
        let names: Vec<String> = layer
            .named_parameters()
            .into_iter()
            .map(|(n, _)| n)
            .collect();
        assert_eq!(names, ["weight", "bias"]);
    }

    #[test]
    fn dropout_falls_on_the_adapter_only_and_only_while_training() {
        let (layer, x) = adapted(0.5);
        let calm = layer.forward(&x);
        assert_eq!(
            layer.forward_in(&x, &Mode::Eval).to_bytes(),
            calm.to_bytes()
        );
        let train = |seed| layer.forward_in(&x, &Mode::Train(Generator::new(seed)));
        assert_eq!(train(1).to_bytes(), train(1).to_bytes());
        assert_ne!(train(1).to_bytes(), train(2).to_bytes());
        assert_ne!(train(1).to_bytes(), calm.to_bytes());
    }

    #[test]
    fn an_adapter_works_beside_a_rounded_weight() {
        let (mut layer, x) = adapted(0.0);
        let exact = layer.forward(&x);
        layer.quantize(Bits::Eight);
        let rounded = no_grad(|| layer.forward(&x));
        let error = largest(&(rounded - exact));
        assert!(error > 0.0 && error < 0.05, "{error}");
    }
}
