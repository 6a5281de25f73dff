//! A result that is its own transpose: tiles above the diagonal are left out (`tile.rs`), and here they are filled in.
//!
//! The copies have the bits that the product would have: both triangles sum the same products in the same order.

use super::driver::{Product, for_each};
use super::pack::Kind;

/// Rows and columns of a block that is transposed at once, so that both sides of it stay in the first-level cache.
const BLOCK: usize = 32;

impl Product {
    /// Copies what is below the diagonal of `C` to its place above.
    pub(super) fn mirror(&self, parallel: bool) {
        for_each(parallel, self.m.div_ceil(BLOCK), |i| match self.c.kind {
            Kind::F32 => self.mirror_rows::<u32>(i * BLOCK),
            Kind::BF16 | Kind::F16 => self.mirror_rows::<u16>(i * BLOCK),
        });
    }

    /// Copies a block of rows, as far as the diagonal.
    fn mirror_rows<T: Copy>(&self, row0: usize) {
        let c = self.c.ptr.cast::<T>();
        for column0 in (0..=row0).step_by(BLOCK) {
            // Along the rows of the result, so that neighbours are written together.
            for j in column0..(column0 + BLOCK).min(self.m) {
                for i in row0.max(j + 1)..(row0 + BLOCK).min(self.m) {
                    // SAFETY: both elements exist. Those below the diagonal are only read, and each above it is written
                    // by the one task that has its mirror image.
                    unsafe {
                        *c.add(j * self.rs + i * self.cs) = *c.add(i * self.rs + j * self.cs)
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::device::cpu::gemm::{
        Compute, Data, DataMut, Gemm, Operand, Output, gemm, gemm_symmetric,
    };
    use crate::device::cpu::isa::{available, with_isa};
    use half::bf16;

    fn noise(n: usize) -> Vec<f32> {
        let next = |i: usize| ((i * 7919 + i * i % 613) % 1009) as f32 / 1009.0 - 0.5;
        (0..n).map(next).collect()
    }

    /// `A A^T` of an `(n, k)` matrix, in full and from one triangle; `C` has these strides.
    fn check(n: usize, k: usize, (rs, cs): (usize, usize), compute: Compute) {
        let a = noise(n * k);
        let left = Operand {
            data: Data::F32(&a),
            rs: k,
            cs: 1,
        };
        let right = Operand {
            rs: 1,
            cs: k,
            ..left
        };
        let product = |c: DataMut<'_>, run: fn(Gemm<'_>)| {
            run(Gemm {
                m: n,
                n,
                k,
                a: left,
                b: right,
                c: Output { data: c, rs, cs },
                compute,
                accumulate: false,
                bias: None,
            });
        };
        let len = n.saturating_sub(1) * (rs + cs) + 1;
        let (mut full, mut half) = (vec![9.0f32; len], vec![9.0f32; len]);
        product(DataMut::F32(&mut full), gemm);
        product(DataMut::F32(&mut half), gemm_symmetric);
        assert!(full == half, "({n}, {k}) in {compute:?}");
        let (mut full, mut half) = (vec![bf16::ONE; len], vec![bf16::ONE; len]);
        product(DataMut::BF16(&mut full), gemm);
        product(DataMut::BF16(&mut half), gemm_symmetric);
        assert!(full == half, "({n}, {k}) in {compute:?}, to bf16");
    }

    #[test]
    fn one_triangle_has_the_bits_of_the_whole_product() {
        for &isa in available() {
            with_isa(isa, || {
                for n in [0, 1, 5, 33, 64, 65, 130, 257] {
                    for (k, compute) in
                        [(40, Compute::F32), (600, Compute::F32), (77, Compute::BF16)]
                    {
                        check(n, k, (n + 3, 1), compute);
                        check(n, k, (1, n + 1), compute);
                        check(n, k, (2 * n + 2, 2), compute);
                    }
                }
            });
        }
    }

    #[test]
    #[should_panic(expected = "gemm_symmetric: a (2, 1) result is not symmetric")]
    fn a_result_that_is_not_square_is_refused() {
        let operand = |data| Operand {
            data: Data::F32(data),
            rs: 1,
            cs: 1,
        };
        gemm_symmetric(Gemm {
            m: 2,
            n: 1,
            k: 1,
            a: operand(&[1.0; 2]),
            b: operand(&[1.0]),
            c: Output {
                data: DataMut::F32(&mut [0.0; 2]),
                rs: 1,
                cs: 1,
            },
            compute: Compute::F32,
            accumulate: false,
            bias: None,
        });
    }
}
