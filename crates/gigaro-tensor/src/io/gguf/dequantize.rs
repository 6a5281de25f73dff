//! From the blocks of a format to numbers.
//!
//! In the pictures below `d` and `m` are half floats (scale and smallest value), a lower nibble is the lower four bits of a byte,
//! and `q` the whole number stored for an element. Layouts:
//!
//! ```text
//! Q4_0   d, 16 bytes            byte i: elements i (lower nibble) and i + 16 (upper);   x = d (q - 8)
//! Q4_1   d, m, 16 bytes         nibbles as Q4_0;                                        x = d q + m
//! Q5_0   d, h: u32, 16 bytes    nibbles as Q4_0, bit i of h is the fifth bit of i;      x = d (q - 16)
//! Q5_1   d, m, h: u32, 16 bytes bits as Q5_0;                                           x = d q + m
//! Q8_0   d, 32 i8                                                                       x = d q
//! Q4_K   d, m, 12 bytes of 6-bit scales, 128 bytes
//!          eight groups of 32, each with a scale s and an offset o;                     x = d s q - m o
//!          32 bytes hold two groups: the lower nibbles the first, the upper the second
//! Q5_K   d, m, 12 bytes of 6-bit scales, h: 32 bytes, 128 bytes
//!          as Q4_K; bit g of h[i] is the fifth bit of element i of group g
//! Q6_K   128 bytes of lower nibbles, 64 bytes of upper two bits, 16 i8 scales, d
//!          sixteen groups of 16, each with a scale s;                                   x = d s (q - 32)
//!          each half of 128 elements has 64 lower bytes, 32 upper ones and 8 scales
//! ```
//!
//! Products are formed in the order of the reference implementation, so that the numbers are its numbers to the bit.

use half::{bf16, f16};

use super::format::BlockFormat;
use crate::device::cpu::threads::parallel_chunks_mut;

/// Blocks that one thread takes at a time: large enough to be worth it, small enough that a matrix keeps all threads busy.
const NUMBERS_AT_ONCE: usize = 1 << 16;

impl BlockFormat {
    /// The numbers in a run of blocks.
    ///
    /// # Panics
    /// If `bytes` are no whole blocks.
    #[must_use]
    #[track_caller]
    pub fn dequantize(self, bytes: &[u8]) -> Vec<f32> {
        let (len, size) = (self.block_len(), self.block_bytes());
        assert!(
            bytes.len().is_multiple_of(size),
            "dequantize: {} bytes are no whole blocks of {self}",
            bytes.len()
        );
        let mut out = vec![0.0; bytes.len() / size * len];
        parallel_chunks_mut(&mut out, NUMBERS_AT_ONCE, |i, numbers| {
            let start = i * (NUMBERS_AT_ONCE / len * size);
            let blocks = bytes[start..].chunks_exact(size);
            for (block, numbers) in blocks.zip(numbers.chunks_exact_mut(len)) {
                self.dequantize_block(block, numbers);
            }
        });
        out
    }

    /// The numbers of one block.
    fn dequantize_block(self, block: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
            Self::F16 => out[0] = half_at(block, 0),
            Self::BF16 => out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
            Self::Q4_0 => {
                let d = half_at(block, 0);
                nibbles(&block[2..], out, |q, _| d * (f32::from(q) - 8.0));
            }
            Self::Q4_1 => {
                let (d, m) = (half_at(block, 0), half_at(block, 2));
                nibbles(&block[4..], out, |q, _| d * f32::from(q) + m);
            }
            Self::Q5_0 => {
                let (d, high) = (half_at(block, 0), fifth_bits(&block[2..]));
                nibbles(&block[6..], out, |q, i| d * (f32::from(q | high(i)) - 16.0));
            }
            Self::Q5_1 => {
                let (d, m, high) = (
                    half_at(block, 0),
                    half_at(block, 2),
                    fifth_bits(&block[4..]),
                );
                nibbles(&block[8..], out, |q, i| d * f32::from(q | high(i)) + m);
            }
            Self::Q8_0 => {
                let d = half_at(block, 0);
                for (x, &q) in out.iter_mut().zip(&block[2..]) {
                    *x = d * f32::from(q.cast_signed());
                }
            }
            Self::Q4K => k_quants(block, &block[16..], |_, _| 0, out),
            Self::Q5K => {
                let high = &block[16..48];
                k_quants(
                    block,
                    &block[48..],
                    |group, i| (high[i] >> group & 1) << 4,
                    out,
                );
            }
            Self::Q6K => q6_k(block, out),
        }
    }
}

pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// Sixteen bytes of two numbers each; `number(q, i)` makes element `i` of them.
pub(super) fn nibbles<T>(bytes: &[u8], out: &mut [T], number: impl Fn(u8, usize) -> T) {
    for (i, &byte) in bytes[..16].iter().enumerate() {
        out[i] = number(byte & 0xF, i);
        out[i + 16] = number(byte >> 4, i + 16);
    }
}

/// The fifth bit of each of 32 elements, in its place.
pub(super) fn fifth_bits(bytes: &[u8]) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    move |i| ((bits >> i & 1) as u8) << 4
}

/// Scale and offset of group `g` of eight, six bits each in twelve bytes: those of the first four groups lie in the lower bits of
/// bytes `g` and `g + 4`; those of the others in the nibbles of byte `g + 4`, and their upper two bits in the top of bytes `g - 4`
/// and `g`.
pub(super) fn scale_and_offset(packed: &[u8], g: usize) -> (u8, u8) {
    if g < 4 {
        return (packed[g] & 63, packed[g + 4] & 63);
    }
    let scale = packed[g + 4] & 0xF | (packed[g - 4] >> 6) << 4;
    let offset = packed[g + 4] >> 4 | (packed[g] >> 6) << 4;
    (scale, offset)
}

/// Q4_K and Q5_K; `high(group, i)` is the fifth bit in its place.
fn k_quants(block: &[u8], nibbles: &[u8], high: impl Fn(usize, usize) -> u8, out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (group, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, offset) = scale_and_offset(&block[4..16], group);
        let (scale, offset) = (d * f32::from(scale), m * f32::from(offset));
        let bytes = &nibbles[group / 2 * 32..][..32];
        for (i, (x, &byte)) in out.iter_mut().zip(bytes).enumerate() {
            let low = if group % 2 == 0 {
                byte & 0xF
            } else {
                byte >> 4
            };
            *x = scale * f32::from(low | high(group, i)) - offset;
        }
    }
}

fn q6_k(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 208);
    let mut values = [0; 256];
    q6_k_values(block, &mut values);
    for (g, (out, values)) in out
        .chunks_exact_mut(16)
        .zip(values.chunks_exact(16))
        .enumerate()
    {
        let scale = d * f32::from(block[192 + g].cast_signed());
        for (x, &q) in out.iter_mut().zip(values) {
            *x = scale * (f32::from(q) - 32.0);
        }
    }
}

/// The whole numbers of a block of Q6_K.
pub(super) fn q6_k_values(block: &[u8], out: &mut [u8; 256]) {
    for (half, out) in out.chunks_exact_mut(128).enumerate() {
        let low = &block[half * 64..][..64];
        let high = &block[128 + half * 32..][..32];
        for (quarter, out) in out.chunks_exact_mut(32).enumerate() {
            for (i, x) in out.iter_mut().enumerate() {
                let byte = low[quarter % 2 * 32 + i];
                let low = if quarter < 2 { byte & 0xF } else { byte >> 4 };
                *x = low | (high[i] >> (2 * quarter) & 3) << 4;
            }
        }
    }
}
