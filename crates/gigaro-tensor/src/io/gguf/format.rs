//! How the bytes of a tensor make numbers: the formats, and the sizes of their blocks.
//!
//! What lies in a block is in `dequantize.rs`.

use std::fmt;

/// A format of a GGUF tensor. Quantised ones hold rows of blocks, each with scales of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// 32-bit floats.
    F32,
    /// IEEE half floats.
    F16,
    /// Brain floats.
    BF16,
    /// 32 numbers of 4 bits around zero, with a scale: 4.5 bits each.
    Q4_0,
    /// 32 numbers of 4 bits, with a scale and a smallest value: 5 bits each.
    Q4_1,
    /// 32 numbers of 5 bits around zero, with a scale: 5.5 bits each.
    Q5_0,
    /// 32 numbers of 5 bits, with a scale and a smallest value: 6 bits each.
    Q5_1,
    /// 32 numbers of 8 bits, with a scale: 8.5 bits each.
    Q8_0,
    /// 256 numbers of 4 bits in groups of 32, whose scales and smallest values have 6 bits: 4.5 bits each.
    Q4K,
    /// The same with 5 bits: 5.5 bits each.
    Q5K,
    /// 256 numbers of 6 bits around zero in groups of 16, whose scales have 8 bits: 6.56 bits each.
    Q6K,
}

impl BlockFormat {
    /// Every format that is read here.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// How many numbers a block holds; rows are whole blocks.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// How many bytes a block takes.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 2 + 2 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 2 + 2 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 2 + 2 + 12 + 128,
            Self::Q5K => 2 + 2 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// The number that a file has for it.
    #[must_use]
    pub const fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q5K => 13,
            Self::Q6K => 14,
            Self::BF16 => 30,
        }
    }

    /// The format with a number, or why it is not read.
    pub(super) fn from_id(id: u32) -> Result<Self, String> {
        if let Some(format) = Self::ALL.into_iter().find(|format| format.id() == id) {
            return Ok(format);
        }
        let name = match id {
            4 | 5 | 31..=33 | 36..=38 => "of a kind that was given up",
            9 => "Q8_1",
            10 => "Q2_K",
            11 => "Q3_K",
            15 => "Q8_K",
            16 => "IQ2_XXS",
            17 => "IQ2_XS",
            18 => "IQ3_XXS",
            19 => "IQ1_S",
            20 => "IQ4_NL",
            21 => "IQ3_S",
            22 => "IQ2_S",
            23 => "IQ4_XS",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            29 => "IQ1_M",
            34 => "TQ1_0",
            35 => "TQ2_0",
            39 => "MXFP4",
            _ => "unknown here",
        };
        let names = Self::ALL.map(|format| format.to_string()).join(", ");
        Err(format!(
            "is in the format {name} (number {id}), which is not supported; take a file of the same model in one of {names}"
        ))
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        })
    }
}
