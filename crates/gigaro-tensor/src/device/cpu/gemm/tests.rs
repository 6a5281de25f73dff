//! Every path of the matrix product against a naive one in f64.

use super::*;
use crate::device::cpu::isa::on_every_path;
use crate::device::cpu::threads::{num_threads, set_num_threads};

/// A stream of numbers in [-1, 1), the same on every machine.
struct Noise(u64);
impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
    fn fill(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.next()).collect()
    }
}

/// Row and column stride of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lay {
    Rows,
    Columns,
    Spread,
    Repeat,
}

impl Lay {
    fn strides(self, rows: usize, cols: usize) -> (usize, usize) {
        match self {
            Lay::Rows => (cols + 3, 1),
            Lay::Columns => (1, rows + 1),
            Lay::Spread => (2 * cols + 5, 2),
            Lay::Repeat => (0, 1),
        }
    }
}

fn length(rows: usize, cols: usize, (rs, cs): (usize, usize)) -> usize {
    span(rows, cols, rs, cs, 0).unwrap()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a: Lay,
    b: Lay,
    c: Lay,
    compute: Compute,
    accumulate: bool,
    bias: bool,
}

impl Case {
    fn plain(m: usize, n: usize, k: usize) -> Self {
        let (a, b, c) = (Lay::Rows, Lay::Rows, Lay::Rows);
        Self {
            m,
            n,
            k,
            a,
            b,
            c,
            compute: Compute::F32,
            accumulate: false,
            bias: false,
        }
    }
}

fn rounded(x: &[f32]) -> Vec<f32> {
    x.iter().map(|&x| bf16::from_f32(x).to_f32()).collect()
}

/// Runs a case in f32 and returns the result with its strides.
fn product(case: Case) -> (Vec<f32>, (usize, usize)) {
    let Case { m, n, k, .. } = case;
    let (a, b, c) = (
        case.a.strides(m, k),
        case.b.strides(k, n),
        case.c.strides(m, n),
    );
    let mut noise = Noise(7);
    let x = noise.fill(length(m, k, a));
    let y = noise.fill(length(k, n, b));
    let mut z = noise.fill(length(m, n, c));
    let bias = noise.fill(n);
    gemm(Gemm {
        m,
        n,
        k,
        a: Operand {
            data: Data::F32(&x),
            rs: a.0,
            cs: a.1,
        },
        b: Operand {
            data: Data::F32(&y),
            rs: b.0,
            cs: b.1,
        },
        c: Output {
            data: DataMut::F32(&mut z),
            rs: c.0,
            cs: c.1,
        },
        compute: case.compute,
        accumulate: case.accumulate,
        bias: case.bias.then_some(Data::F32(&bias)),
    });
    (z, c)
}

/// Compares a case with sums in f64.
fn check(case: Case) {
    let Case { m, n, k, .. } = case;
    let (a, b, c) = (
        case.a.strides(m, k),
        case.b.strides(k, n),
        case.c.strides(m, n),
    );
    let mut noise = Noise(7);
    let (mut x, mut y) = (noise.fill(length(m, k, a)), noise.fill(length(k, n, b)));
    let before = noise.fill(length(m, n, c));
    let bias = noise.fill(n);
    if case.compute == Compute::BF16 {
        (x, y) = (rounded(&x), rounded(&y));
    }
    let (z, _) = product(case);
    let mut touched = vec![false; z.len()];
    for i in 0..m {
        for j in 0..n {
            let at = i * c.0 + j * c.1;
            let terms =
                (0..k).map(|l| f64::from(x[i * a.0 + l * a.1]) * f64::from(y[l * b.0 + j * b.1]));
            let mut sum: f64 = terms.sum();
            sum += if case.accumulate {
                f64::from(before[at])
            } else {
                0.0
            };
            sum += if case.bias { f64::from(bias[j]) } else { 0.0 };
            let error = (f64::from(z[at]) - sum).abs();
            assert!(
                error <= 1e-6 * (k as f64 + 4.0).sqrt() * 4.0,
                "{case:?} at ({i}, {j}): {} is not {sum}",
                z[at]
            );
            touched[at] = true;
        }
    }
    let spared = (0..z.len()).all(|i| touched[i] || z[i].to_bits() == before[i].to_bits());
    assert!(spared, "{case:?} wrote outside the matrix");
}

const SIZES: [usize; 9] = [0, 1, 2, 13, 15, 33, 65, 130, 257];

#[test]
fn awkward_sizes_match_the_naive_product() {
    on_every_path(|| {
        for (i, &m) in SIZES.iter().enumerate() {
            for (j, &n) in SIZES.iter().enumerate() {
                let k = SIZES[(i * 4 + j) % SIZES.len()];
                for compute in [Compute::F32, Compute::BF16] {
                    let (accumulate, bias) = ((i + j) % 2 == 0, (i + j) % 3 == 0);
                    check(Case {
                        compute,
                        accumulate,
                        bias,
                        ..Case::plain(m, n, k)
                    });
                }
            }
        }
    });
}

#[test]
fn every_layout_matches_the_naive_product() {
    on_every_path(|| {
        for (m, n, k) in [(5, 70, 40), (75, 35, 33), (100, 3, 61)] {
            for a in [Lay::Rows, Lay::Columns, Lay::Spread, Lay::Repeat] {
                for b in [Lay::Rows, Lay::Columns, Lay::Spread, Lay::Repeat] {
                    for c in [Lay::Rows, Lay::Columns, Lay::Spread] {
                        for compute in [Compute::F32, Compute::BF16] {
                            let (accumulate, bias) = (a == b, b != c);
                            check(Case {
                                m,
                                n,
                                k,
                                a,
                                b,
                                c,
                                compute,
                                accumulate,
                                bias,
                            });
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn long_sums_are_blocked_correctly() {
    for k in [255, 256, 257, 511, 512, 513, 1025, 2500] {
        for (m, n) in [(3, 40), (90, 50)] {
            for compute in [Compute::F32, Compute::BF16] {
                for c in [Lay::Rows, Lay::Spread] {
                    check(Case {
                        compute,
                        c,
                        accumulate: true,
                        bias: true,
                        ..Case::plain(m, n, k)
                    });
                }
            }
        }
    }
}

#[test]
fn chunks_larger_than_the_cache_are_put_together() {
    check(Case {
        a: Lay::Columns,
        bias: true,
        ..Case::plain(1100, 300, 2100)
    });
    check(Case {
        b: Lay::Columns,
        compute: Compute::BF16,
        ..Case::plain(140, 1300, 4200)
    });
}

#[test]
fn one_and_two_threads_give_the_same_bits() {
    let threads = num_threads();
    for (m, n, k) in [
        (130, 257, 300),
        (5, 1000, 700),
        (300, 3, 900),
        (200, 200, 1500),
    ] {
        for compute in [Compute::F32, Compute::BF16] {
            let case = Case {
                compute,
                bias: true,
                ..Case::plain(m, n, k)
            };
            set_num_threads(1);
            let one = product(case);
            for count in [2, 3] {
                set_num_threads(count);
                assert!(product(case) == one, "{case:?} with {count} threads");
            }
        }
    }
    set_num_threads(threads);
}

/// The first `rows` of one product, computed alone, in every layout of `C`.
#[test]
fn a_row_has_the_same_bits_in_a_batch_of_any_size() {
    on_every_path(|| {
        let (all, n) = (150, 70);
        for k in [1, 30, 512, 1025, 2049] {
            let mut noise = Noise(3);
            let (x, y) = (noise.fill(all * k), noise.fill(k * n));
            for compute in [Compute::F32, Compute::BF16] {
                let rows_of = |m: usize, b: (usize, usize), c: (usize, usize)| {
                    let mut z = vec![0.0f32; all * n];
                    gemm(Gemm {
                        m,
                        n,
                        k,
                        a: Operand {
                            data: Data::F32(&x),
                            rs: k,
                            cs: 1,
                        },
                        b: Operand {
                            data: Data::F32(&y),
                            rs: b.0,
                            cs: b.1,
                        },
                        c: Output {
                            data: DataMut::F32(&mut z),
                            rs: c.0,
                            cs: c.1,
                        },
                        compute,
                        accumulate: false,
                        bias: None,
                    });
                    let bits = |i: usize, j: usize| z[i * c.0 + j * c.1].to_bits();
                    (0..m * n)
                        .map(|at| bits(at / n, at % n))
                        .collect::<Vec<_>>()
                };
                for b in [(n, 1), (1, k)] {
                    let full = rows_of(all, b, (n, 1));
                    for m in [1, 2, 3, 8, 13, 15, 64, 65, 149] {
                        assert!(
                            rows_of(m, b, (n, 1)) == full[..m * n],
                            "m = {m}, k = {k}, {compute:?}"
                        );
                        assert!(
                            rows_of(m, b, (1, all)) == full[..m * n],
                            "m = {m}, k = {k}, {compute:?}, transposed"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn narrow_floats_are_read_and_written() {
    let (m, n, k) = (70, 45, 90);
    let mut noise = Noise(5);
    let (x, y, bias) = (noise.fill(m * k), noise.fill(k * n), noise.fill(n));
    let to_bf16 = |x: &[f32]| x.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>();
    let to_f16 = |x: &[f32]| x.iter().map(|&x| f16::from_f32(x)).collect::<Vec<_>>();
    let (xb, yb, xh, yh) = (to_bf16(&x), to_bf16(&y), to_f16(&x), to_f16(&y));
    let (bias_b, bias_h) = (to_bf16(&bias), to_f16(&bias));
    on_every_path(|| {
        for compute in [Compute::F32, Compute::BF16] {
            for (a_data, b_data, bias) in [
                (Data::BF16(&xb), Data::F32(&y), Data::BF16(&bias_b)),
                (Data::F32(&x), Data::F16(&yh), Data::F16(&bias_h)),
                (Data::F16(&xh), Data::BF16(&yb), Data::F32(&bias)),
            ] {
                for (a, b) in [((k, 1), (n, 1)), ((1, m), (1, k))] {
                    let mut zs = (
                        vec![0.0f32; m * n],
                        vec![bf16::ZERO; m * n],
                        vec![f16::ZERO; m * n],
                    );
                    for c in [
                        DataMut::F32(&mut zs.0),
                        DataMut::BF16(&mut zs.1),
                        DataMut::F16(&mut zs.2),
                    ] {
                        gemm(Gemm {
                            m,
                            n,
                            k,
                            a: Operand {
                                data: a_data,
                                rs: a.0,
                                cs: a.1,
                            },
                            b: Operand {
                                data: b_data,
                                rs: b.0,
                                cs: b.1,
                            },
                            c: Output {
                                data: c,
                                rs: n,
                                cs: 1,
                            },
                            compute,
                            accumulate: false,
                            bias: Some(bias),
                        });
                    }
                    let get = |d: &Data<'_>, i: usize| match d {
                        Data::F32(x) if compute == Compute::BF16 => {
                            f64::from(bf16::from_f32(x[i]).to_f32())
                        }
                        Data::F16(x) if compute == Compute::BF16 => {
                            f64::from(bf16::from_f32(x[i].to_f32()).to_f32())
                        }
                        d => f64::from(d.to_f32().unwrap()[i]),
                    };
                    let (xs, ys): (Vec<_>, Vec<_>) = (
                        (0..m * k).map(|i| get(&a_data, i)).collect(),
                        (0..k * n).map(|i| get(&b_data, i)).collect(),
                    );
                    let bias = bias.to_f32().unwrap();
                    for i in 0..m {
                        for j in 0..n {
                            let sum: f64 = (0..k)
                                .map(|l| xs[i * a.0 + l * a.1] * ys[l * b.0 + j * b.1])
                                .sum();
                            let (sum, at) = (sum + f64::from(bias[j]), i * n + j);
                            assert!(
                                (f64::from(zs.0[at]) - sum).abs() < 1e-4,
                                "{} is not {sum}",
                                zs.0[at]
                            );
                            assert_eq!(zs.1[at], bf16::from_f32(zs.0[at]));
                            assert_eq!(zs.2[at], f16::from_f32(zs.0[at]));
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn doubles_and_integers_are_exact() {
    let (m, n, k) = (37, 70, 19);
    let x: Vec<i64> = (0..m * k).map(|i| (i as i64 * 37) % 101 - 50).collect();
    let y: Vec<i64> = (0..k * n).map(|i| (i as i64 * 53) % 97 - 48).collect();
    let expect: Vec<i64> = (0..m * n)
        .map(|at| {
            5 + (0..k)
                .map(|l| x[at / n * k + l] * y[at % n * k + l])
                .sum::<i64>()
        })
        .collect();
    macro_rules! check_type {
        ($kind:ident, $t:ty) => {
            let (x, y) = (
                x.iter().map(|&x| x as $t).collect::<Vec<_>>(),
                y.iter().map(|&y| y as $t).collect::<Vec<_>>(),
            );
            let (mut z, bias) = (vec![2 as $t; m * n], vec![3 as $t; n]);
            gemm(Gemm {
                m,
                n,
                k,
                a: Operand {
                    data: Data::$kind(&x),
                    rs: k,
                    cs: 1,
                },
                b: Operand {
                    data: Data::$kind(&y),
                    rs: 1,
                    cs: k,
                },
                c: Output {
                    data: DataMut::$kind(&mut z),
                    rs: n,
                    cs: 1,
                },
                compute: Compute::F32,
                accumulate: true,
                bias: Some(Data::$kind(&bias)),
            });
            assert!(z.iter().zip(&expect).all(|(&z, &e)| z == e as $t));
        };
    }
    on_every_path(|| {
        check_type!(F64, f64);
        check_type!(I64, i64);
        check_type!(I32, i32);
    });
}

#[test]
fn batches_are_the_products_one_by_one() {
    for (batch, m, n, k) in [
        (3, 70, 40, 30),
        (40, 5, 17, 9),
        (0, 4, 4, 4),
        (20, 90, 90, 90),
    ] {
        let mut noise = Noise(9);
        let (x, y) = (noise.fill(batch * m * k), noise.fill(k * n));
        let run = |batch: usize, at: usize, z: &mut [f32]| {
            let p = Gemm {
                m,
                n,
                k,
                a: Operand {
                    data: Data::F32(&x[at * m * k..]),
                    rs: 1,
                    cs: m,
                },
                b: Operand {
                    data: Data::F32(&y),
                    rs: n,
                    cs: 1,
                },
                c: Output {
                    data: DataMut::F32(z),
                    rs: n,
                    cs: 1,
                },
                compute: Compute::F32,
                accumulate: false,
                bias: None,
            };
            batched(
                p,
                batch,
                BatchStrides {
                    a: m * k,
                    b: 0,
                    c: m * n,
                },
            );
        };
        let mut together = vec![0.0; batch * m * n];
        run(batch, 0, &mut together);
        let mut alone = vec![0.0; batch * m * n];
        for (i, z) in alone.chunks_mut(m * n).enumerate() {
            run(1, i, z);
        }
        assert!(together == alone);
    }
}

#[test]
fn interleaved_results_do_not_disturb_each_other() {
    // (T, H, D) with one product per head, as attention writes.
    let (t, h, d) = (20, 3, 16);
    let mut noise = Noise(11);
    let (x, y) = (noise.fill(h * t * t), noise.fill(h * t * d));
    let mut z = vec![0.0f32; t * h * d];
    let p = Gemm {
        m: t,
        n: d,
        k: t,
        a: Operand {
            data: Data::F32(&x),
            rs: t,
            cs: 1,
        },
        b: Operand {
            data: Data::F32(&y),
            rs: d,
            cs: 1,
        },
        c: Output {
            data: DataMut::F32(&mut z),
            rs: h * d,
            cs: 1,
        },
        compute: Compute::F32,
        accumulate: false,
        bias: None,
    };
    batched(
        p,
        h,
        BatchStrides {
            a: t * t,
            b: t * d,
            c: d,
        },
    );
    for (at, &z) in z.iter().enumerate() {
        let (i, head, j) = (at / (h * d), at / d % h, at % d);
        let sum: f32 = (0..t)
            .map(|l| x[(head * t + i) * t + l] * y[(head * t + l) * d + j])
            .sum();
        assert!((z - sum).abs() < 1e-5);
    }
}

#[test]
#[should_panic(
    expected = "b is (3, 4) with strides (4, 1) from 0, but its slice holds 11 elements"
)]
fn a_short_slice_is_named() {
    let mut z = [0.0f32; 8];
    gemm(Gemm {
        m: 2,
        n: 4,
        k: 3,
        a: Operand {
            data: Data::F32(&[0.0; 6]),
            rs: 3,
            cs: 1,
        },
        b: Operand {
            data: Data::F32(&[0.0; 11]),
            rs: 4,
            cs: 1,
        },
        c: Output {
            data: DataMut::F32(&mut z),
            rs: 4,
            cs: 1,
        },
        compute: Compute::F32,
        accumulate: false,
        bias: None,
    });
}

#[test]
#[should_panic(expected = "elements of c overlap")]
fn an_output_that_overlaps_itself_is_refused() {
    let mut z = [0.0f32; 8];
    gemm(Gemm {
        m: 2,
        n: 4,
        k: 1,
        a: Operand {
            data: Data::F32(&[0.0; 2]),
            rs: 1,
            cs: 1,
        },
        b: Operand {
            data: Data::F32(&[0.0; 4]),
            rs: 4,
            cs: 1,
        },
        c: Output {
            data: DataMut::F32(&mut z),
            rs: 3,
            cs: 1,
        },
        compute: Compute::F32,
        accumulate: false,
        bias: None,
    });
}
