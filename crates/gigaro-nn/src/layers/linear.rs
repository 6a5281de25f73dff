//! The affine map.

use std::sync::Arc;

use gigaro_tensor::cpu::quantized::{Bits, QuantizedMatrix, quantize_int4, quantize_int8};
use gigaro_tensor::{DType, Device, Generator, Tensor, functional};

use super::Lora;
use crate::{Mode, Module, init, join};

/// `x @ weight.t() + bias`, and beside it the change of a [`Lora`] if it carries one.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `(out_features, in_features)`.
    pub weight: Tensor,
    /// `(out_features)`.
    pub bias: Option<Tensor>,
    /// Stands in for `weight` once that is [rounded](Self::quantize).
    quantized: Option<Arc<QuantizedMatrix>>,
    /// A change beside the weight.
    lora: Option<Lora>,
    /// The frozen weight, while `weight` is another tensor with the change folded in.
    unmerged: Option<Tensor>,
}

impl Linear {
    /// Weights and bias uniform within `1 / sqrt(in_features)`, as PyTorch has it.
    #[must_use]
    pub fn new(in_features: usize, out_features: usize, bias: bool, generator: &Generator) -> Self {
        let bound = 1.0 / (in_features.max(1) as f64).sqrt();
        let weight = init::uniform([out_features, in_features], -bound, bound, generator);
        let bias = bias.then(|| init::uniform([out_features], -bound, bound, generator));
        Self::from_weights(weight, bias)
    }

    /// These weights, made parameters.
    #[must_use]
    pub fn from_weights(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self {
            weight: weight.requires_grad_(true),
            bias: bias.map(|b| b.requires_grad_(true)),
            quantized: None,
            lora: None,
            unmerged: None,
        }
    }

    /// A layer whose weight is of small integers to begin with, `(out_features, in_features)`: for inference only.
    #[must_use]
    pub fn from_quantized(weight: Arc<QuantizedMatrix>, bias: Option<Tensor>) -> Self {
        let shape = [weight.outputs(), weight.inputs()];
        Self {
            // One number in the shape of the weight, so that widths can still be asked for.
            weight: Tensor::zeros([1, 1], DType::F32, Device::Cpu).expand(shape),
            bias,
            quantized: Some(weight),
            lora: None,
            unmerged: None,
        }
    }

    /// Rounds the weight to 4 or 8 bits, with a scale for every few of a row, and forgets what it was: for
    /// inference from fewer bytes. The layer can no longer be trained or saved. An adapter stays beside it, unless it is
    /// merged: then it is part of what is rounded. A layer that is rounded already stays as it is.
    pub fn quantize(&mut self, bits: Bits) {
        if self.is_quantized() {
            return;
        }
        let lora = self.lora.take().filter(|_| self.unmerged.is_none());
        let (o, i) = (self.out_features(), self.in_features());
        let values = self.weight.detach().to_dtype(DType::F32).to_vec::<f32>();
        let rounded = match bits {
            Bits::Four => quantize_int4(&values, o, i),
            Bits::Eight => quantize_int8(&values, o, i),
        };
        *self = Self {
            lora,
            ..Self::from_quantized(Arc::new(rounded), self.bias.take())
        };
    }

    /// Whether the weight is rounded to small integers.
    #[must_use]
    pub const fn is_quantized(&self) -> bool {
        self.quantized.is_some()
    }

    /// The rounded weight, if it is.
    #[must_use]
    pub const fn quantized(&self) -> Option<&Arc<QuantizedMatrix>> {
        self.quantized.as_ref()
    }

    /// Width of what goes in.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.weight.size(1)
    }

    /// Width of what comes out.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.weight.size(0)
    }

    /// Weight and bias, if they are all that the layer computes with: not rounded, and without an adapter beside them.
    #[must_use]
    pub fn plain(&self) -> Option<(&Tensor, Option<&Tensor>)> {
        let beside = self.lora.is_some() && !self.is_merged();
        (self.quantized.is_none() && !beside).then_some((&self.weight, self.bias.as_ref()))
    }

    /// Bytes that the weight takes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match &self.quantized {
            Some(weight) => weight.size_bytes(),
            None => self.weight.numel() * self.weight.dtype().size_bytes(),
        }
    }

    /// # Shapes
    /// `(.., in_features)` -> `(.., out_features)`
    /// # Panics
    /// If the last dim is not `in_features`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_to(x, &Mode::Eval, x.dtype())
    }

    /// [`Linear::forward`] for the inside of a network: with the dropout of an adapter, if there is one and `mode` trains, and in the dtype that
    /// [`functional::autocast_output`] says.
    ///
    /// # Shapes
    /// `(.., in_features)` -> `(.., out_features)`
    /// # Panics
    /// If the last dim is not `in_features`.
    #[must_use]
    #[track_caller]
    pub fn forward_in(&self, x: &Tensor, mode: &Mode) -> Tensor {
        self.forward_to(x, mode, functional::autocast_output(x))
    }

    #[track_caller]
    fn forward_to(&self, x: &Tensor, mode: &Mode, dtype: DType) -> Tensor {
        let y = match &self.quantized {
            Some(weight) => functional::linear_quantized(x, weight, self.bias.as_ref()),
            None => functional::linear_to(x, &self.weight, self.bias.as_ref(), dtype),
        };
        match &self.lora {
            Some(lora) if !self.is_merged() => y + lora.forward(x, mode),
            _ => y,
        }
    }
}

/// The adapter.
impl Linear {
    /// The adapter, if there is one.
    #[must_use]
    pub const fn lora(&self) -> Option<&Lora> {
        self.lora.as_ref()
    }

    /// Puts an adapter beside the weight, in place of one that may be there, and freezes weight and bias.
    ///
    /// # Panics
    /// If its widths are not the layer's.
    #[track_caller]
    pub fn add_lora(&mut self, lora: Lora) {
        assert!(
            (lora.a.size(1), lora.b.size(0)) == (self.in_features(), self.out_features()),
            "Linear: an adapter from {} to {} on a layer from {} to {}",
            lora.a.size(1),
            lora.b.size(0),
            self.in_features(),
            self.out_features()
        );
        self.unmerge_lora();
        lora.to_device(self.weight.device());
        self.train_weights(false);
        self.lora = Some(lora);
    }

    /// Whether the adapter is folded into the weight.
    #[must_use]
    pub const fn is_merged(&self) -> bool {
        self.unmerged.is_some()
    }

    /// Folds the adapter into the weight: the layer costs what it cost without, and its tensors are those of a plain layer. The
    /// frozen weight is kept and never written to, so that [`Linear::unmerge_lora`] brings back every bit and clones of the
    /// layer do not notice. Does nothing without an adapter or if it is merged.
    ///
    /// # Panics
    /// If the weight is rounded to small integers.
    #[track_caller]
    pub fn merge_lora(&mut self) {
        let Some(lora) = self.lora.as_ref().filter(|_| !self.is_merged()) else {
            return;
        };
        assert!(
            !self.is_quantized(),
            "Linear: an adapter cannot be folded into a weight of small integers; merge first, then round"
        );
        let dtype = self.weight.dtype();
        let merged = self.weight.detach().to_dtype(DType::F32) + lora.delta();
        self.unmerged = Some(std::mem::replace(&mut self.weight, merged.to_dtype(dtype)));
    }

    /// Takes the adapter out of the weight again. Does nothing if it is not merged.
    pub fn unmerge_lora(&mut self) {
        if let Some(weight) = self.unmerged.take() {
            self.weight = weight;
        }
    }

    /// Forgets the adapter, leaves the weight as it is at the moment (merged or not), and makes it a parameter again.
    pub fn unload_lora(&mut self) {
        (self.lora, self.unmerged) = (None, None);
        self.train_weights(true);
    }

    /// Makes weight and bias parameters, or freezes them.
    pub fn train_weights(&mut self, train: bool) {
        self.weight = self.weight.requires_grad_(train);
        self.bias = self.bias.as_ref().map(|b| b.requires_grad_(train));
    }
}

impl Module for Linear {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        if self.quantized.is_none() {
            f(&join(prefix, "weight"), &self.weight);
        }
        if let Some(bias) = &self.bias {
            f(&join(prefix, "bias"), bias);
        }
        if let Some(lora) = self.lora.as_ref().filter(|_| !self.is_merged()) {
            lora.visit(prefix, f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_tensor::no_grad;

    #[test]
    fn a_rounded_layer_gives_nearly_the_same_from_a_quarter_of_the_bytes() {
        let random = Generator::new(1);
        let mut layer = Linear::new(70, 33, true, &random);
        let x = Tensor::randn([2, 5, 70], DType::F32, Device::Cpu, &random);
        let exact = no_grad(|| layer.forward(&x));
        layer.quantize(Bits::Eight);
        let rounded = no_grad(|| layer.forward(&x));
        assert_eq!(rounded.shape(), [2, 5, 33]);
        let error = (&rounded - &exact).abs().max_all().item();
        assert!(error > 0.0 && error < 0.02, "{error}");
        assert_eq!((layer.in_features(), layer.out_features()), (70, 33));
        assert_eq!(layer.named_parameters().len(), 1);
    }
}
