//! Models of the benchmarks: the same shapes as the peers' side.

use clap::ValueEnum;
use gigaro_models::GptConfig;

/// A model and how it is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Preset {
    /// 6 layers, 6 heads, width 384, context 256, vocabulary 4096, batch 8: 12.3M parameters
    Small,
    /// GPT-2 small in a context of 256, batch 4: 124M parameters
    #[value(name = "gpt2-124m")]
    Gpt2,
    /// GPT-2 small in its full context of 1024, batch 16
    #[value(name = "gpt2-124m-1024")]
    Gpt2Full,
    /// SmolLM2-135M's shape: a Llama of 30 layers, width 576, vocabulary 49152
    #[value(name = "smollm2-135m")]
    SmolLm2,
}

impl Preset {
    /// The model.
    pub(super) fn config(self) -> GptConfig {
        match self {
            Self::Small => GptConfig::small(),
            Self::Gpt2 => GptConfig {
                max_seq_len: 256,
                ..GptConfig::gpt2_124m()
            },
            Self::Gpt2Full => GptConfig::gpt2_124m(),
            Self::SmolLm2 => GptConfig {
                tied_head: true,
                ..GptConfig::llama(49_152, 2048, 30, 9, 3, 576, 1536)
            },
        }
    }

    /// Sequences per step, unless the user says otherwise.
    pub(super) fn batch(self) -> usize {
        match self {
            Self::Small => 8,
            Self::Gpt2 | Self::SmolLm2 => 4,
            Self::Gpt2Full => 16,
        }
    }

    /// As the user types it.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map(|v| v.get_name().to_owned())
            .unwrap_or_default()
    }
}
