//! A table of vectors, looked up by number.

use gigaro_tensor::{Generator, Tensor, functional};

use crate::{Module, init, join};

/// A row for each of `num_embeddings` ids.
#[derive(Clone, Debug)]
pub struct Embedding {
    /// `(num_embeddings, embedding_dim)`.
    pub weight: Tensor,
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
        }
    }

    /// # Shapes
    /// `ids: (..)` of integers -> `(.., embedding_dim)`
    /// # Panics
    /// If an id is out of range.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        functional::embedding(ids, &self.weight)
    }
}

impl Module for Embedding {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "weight"), &self.weight);
    }
}
