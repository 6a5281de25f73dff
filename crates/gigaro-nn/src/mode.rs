//! Whether a forward pass trains or only computes.

use gigaro_tensor::Generator;

/// What a forward pass is for. Handed down through every `forward` that behaves differently, so
/// that no module keeps a flag that somebody forgot to set back.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Nothing random happens: validation, generation.
    Eval,
    /// Dropout draws from this generator; clones share its position.
    Train(Generator),
}

impl Mode {
    /// Whether this is a training pass.
    #[must_use]
    pub const fn is_train(&self) -> bool {
        matches!(self, Self::Train(_))
    }

    /// The source of randomness of a training pass.
    #[must_use]
    pub const fn generator(&self) -> Option<&Generator> {
        match self {
            Self::Eval => None,
            Self::Train(generator) => Some(generator),
        }
    }
}
