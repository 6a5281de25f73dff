//! A table of vectors, looked up by number.

use std::sync::Arc;

use gigaro_tensor::cpu::quantized::QuantizedMatrix;
use gigaro_tensor::{DType, Device, Generator, Tensor, functional};

use crate::{Module, init, join};

/// A row for each of `num_embeddings` ids.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `(num_embeddings, embedding_dim)`.
    pub weight: Tensor,
    /// Stands in for `weight` where the table is of small integers.
    quantized: Option<Arc<QuantizedMatrix>>,
}

impl Embedding {
    /// Rows drawn from the standard normal distribution, as PyTorch has it.
    #[must_use]
    pub fn new(num_embeddings: usize, embedding_dim: usize, generator: &Generator) -> Self {
        Self::from_weight(init::normal(
            [num_embeddings, embedding_dim],
            0.0,
            1.0,
            generator,
        ))
    }

    /// The table itself, made a parameter.
    #[must_use]
    pub fn from_weight(weight: Tensor) -> Self {
        Self {
            weight: weight.requires_grad_(true),
            quantized: None,
        }
    }

    /// A table of small integers, `(num_embeddings, embedding_dim)`, whose rows are turned into floats when they are looked up: for
    /// inference only.
    #[must_use]
    pub fn from_quantized(table: Arc<QuantizedMatrix>) -> Self {
        let shape = [table.outputs(), table.inputs()];
        Self {
            // One number in the shape of the table, so that widths can still be asked for.
            weight: Tensor::zeros([1, 1], DType::F32, Device::Cpu).expand(shape),
            quantized: Some(table),
        }
    }

    /// # Shapes
    /// `ids: (..)` of integers -> `(.., embedding_dim)`
    /// # Panics
    /// If an id is out of range.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        let Some(table) = &self.quantized else {
            return functional::embedding(ids, &self.weight);
        };
        let width = table.inputs();
        let numbers = ids.to_dtype(DType::I64).to_vec::<i64>();
        let mut rows = vec![0.0; numbers.len() * width];
        for (&id, row) in numbers.iter().zip(rows.chunks_exact_mut(width)) {
            let place = usize::try_from(id).ok().filter(|&i| i < table.outputs());
            let Some(place) = place else {
                panic!("Embedding: there is no row {id} among {}", table.outputs())
            };
            table.dequantize_row(place, row);
        }
        Tensor::from_vec(rows, [ids.shape(), &[width]].concat())
    }
}

impl Module for Embedding {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "weight"), &self.weight);
    }
}
