//! From the blocks of a format to a matrix that products are computed with, without floats in between.
//!
//! Groups of 32 (for Q6_K of 16) weights stay what they are; only their integers are put into the order of
//! [`QuantizedMatrix`]. Scales stay exact where the file has them as half floats; those of Q4_K, Q5_K and Q6_K, products of a half float
//! and a small integer, are rounded to one.

use half::f16;

use super::dequantize::{fifth_bits, half_at, nibbles, q6_k_values, scale_and_offset};
use super::format::BlockFormat;
use crate::device::cpu::quantized::{Bits, Form, QuantizedMatrix, RowMut};

impl BlockFormat {
    /// A matrix of the given rows, each the blocks of one output; `None` if the format is of floats.
    ///
    /// # Panics
    /// If a row is not as many whole blocks as `inputs` need.
    #[must_use]
    #[track_caller]
    pub fn quantized(self, inputs: usize, rows: &[&[u8]]) -> Option<QuantizedMatrix> {
        let form = self.form()?;
        let bytes = inputs.div_ceil(self.block_len()) * self.block_bytes();
        assert!(
            rows.iter().all(|row| row.len() == bytes),
            "quantized: rows of {inputs} numbers in {self} have {bytes} bytes each"
        );
        let unit = self.unit(rows);
        let shape = [rows.len(), inputs];
        Some(QuantizedMatrix::build(shape, form, unit, |output, row| {
            for (b, block) in rows[output].chunks_exact(self.block_bytes()).enumerate() {
                self.write_block(block, unit, b, row);
            }
        }))
    }

    /// What a group becomes.
    const fn form(self) -> Option<Form> {
        let (bits, group, minima, zero) = match self {
            Self::F32 | Self::F16 | Self::BF16 => return None,
            Self::Q4_0 => (Bits::Four, 32, false, 8),
            Self::Q4_1 | Self::Q4K => (Bits::Four, 32, true, 0),
            Self::Q5_0 => (Bits::Eight, 32, false, 16),
            Self::Q5_1 | Self::Q5K => (Bits::Eight, 32, true, 0),
            Self::Q8_0 => (Bits::Eight, 32, false, 128),
            Self::Q6K => (Bits::Eight, 16, false, 32),
        };
        Some(Form {
            bits,
            group,
            minima,
            zero,
        })
    }

    /// The power of two that brings scales which are no half floats into the middle of what half floats can hold.
    fn unit(self, rows: &[&[u8]]) -> f32 {
        let largest_factor = match self {
            Self::Q4K | Self::Q5K => 63.0,
            Self::Q6K => 128.0,
            _ => return 1.0,
        };
        let blocks = rows
            .iter()
            .flat_map(|row| row.chunks_exact(self.block_bytes()));
        let factors = blocks.flat_map(|block| match self {
            Self::Q6K => [half_at(block, 208), 0.0],
            _ => [half_at(block, 0), half_at(block, 2)],
        });
        let largest = factors
            .filter(|x| x.is_finite())
            .fold(0.0, |m: f32, x| m.max(x.abs()));
        if largest > 0.0 {
            ((largest * largest_factor).log2().floor() - 14.0).exp2()
        } else {
            1.0
        }
    }

    /// Writes the groups of block `b` of a row.
    fn write_block(self, block: &[u8], unit: f32, b: usize, row: &mut RowMut<'_>) {
        let exact = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]);
        let mut values = [0; 32];
        match self {
            Self::F32 | Self::F16 | Self::BF16 => {}
            Self::Q4_0 => {
                nibbles(&block[2..], &mut values, |q, _| q);
                row.set(b, &values, exact(0), f16::ZERO);
            }
            Self::Q4_1 => {
                nibbles(&block[4..], &mut values, |q, _| q);
                row.set(b, &values, exact(0), exact(2));
            }
            Self::Q5_0 => {
                let high = fifth_bits(&block[2..]);
                nibbles(&block[6..], &mut values, |q, i| q | high(i));
                row.set(b, &values, exact(0), f16::ZERO);
            }
            Self::Q5_1 => {
                let high = fifth_bits(&block[4..]);
                nibbles(&block[8..], &mut values, |q, i| q | high(i));
                row.set(b, &values, exact(0), exact(2));
            }
            Self::Q8_0 => {
                for (value, &q) in values.iter_mut().zip(&block[2..]) {
                    *value = q ^ 128;
                }
                row.set(b, &values, exact(0), f16::ZERO);
            }
            Self::Q4K | Self::Q5K => self.write_k_block(block, unit, b, row),
            Self::Q6K => {
                let d = half_at(block, 208) / unit;
                let mut values = [0; 256];
                q6_k_values(block, &mut values);
                for (g, values) in values.chunks_exact(16).enumerate() {
                    let scale = d * f32::from(block[192 + g].cast_signed());
                    row.set(16 * b + g, values, f16::from_f32(scale), f16::ZERO);
                }
            }
        }
    }

    /// The eight groups of a block of Q4_K or Q5_K.
    fn write_k_block(self, block: &[u8], unit: f32, b: usize, row: &mut RowMut<'_>) {
        let (d, m) = (half_at(block, 0) / unit, half_at(block, 2) / unit);
        let low = if self == Self::Q4K {
            &block[16..]
        } else {
            &block[48..]
        };
        for g in 0..8 {
            let (scale, offset) = scale_and_offset(&block[4..16], g);
            let mut values = [0; 32];
            for (i, (value, &byte)) in values.iter_mut().zip(&low[g / 2 * 32..]).enumerate() {
                let high = if self == Self::Q5K {
                    (block[16 + i] >> g & 1) << 4
                } else {
                    0
                };
                *value = (byte >> (g % 2 * 4) & 15) | high;
            }
            let [scale, offset] = [d * f32::from(scale), -m * f32::from(offset)].map(f16::from_f32);
            row.set(8 * b + g, &values, scale, offset);
        }
    }
}
