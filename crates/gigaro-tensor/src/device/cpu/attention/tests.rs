//! Attention against the textbook form in f64, forward and backward.

use super::*;
use crate::device::cpu::isa::on_every_path;
use crate::device::cpu::threads::{num_threads, set_num_threads};

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

/// How heads and rows lie in memory.
#[derive(Clone, Copy, Debug)]
enum Lay {
    /// (B, H, T, D)
    HeadsOutside,
    /// (B, T, H, D), with room for two more such tensors in a row, as a joint projection leaves them.
    RowsOutside,
}

impl Lay {
    fn strides(self, heads: usize, rows: usize, d: usize) -> [usize; 3] {
        match self {
            Lay::HeadsOutside => [heads * rows * d, rows * d, d],
            Lay::RowsOutside => [rows * heads * d * 3, d, heads * d * 3],
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    dims: Dims,
    causal: bool,
    mask: Option<[usize; 4]>,
    lay: Lay,
    compute: Compute,
}

#[derive(PartialEq)]
struct Results {
    out: Vec<f32>,
    lse: Vec<f32>,
    grads: [Vec<f32>; 3],
}

struct Inputs {
    x: [Vec<f32>; 3],
    grad: Vec<f32>,
    mask: Vec<f32>,
    queries: [usize; 3],
    keys: [usize; 3],
}

const SCALE: f32 = 0.4;

impl Inputs {
    fn new(case: &Case) -> Self {
        let Dims {
            b,
            h,
            h_kv,
            t,
            s,
            d,
        } = case.dims;
        let (queries, keys) = (case.lay.strides(h, t, d), case.lay.strides(h_kv, s, d));
        let size = |strides: [usize; 3]| b * strides[0];
        let mut mask = noise(b * h * t * s, 9);
        mask.iter_mut()
            .filter(|x| **x > 0.6)
            .for_each(|x| *x = f32::NEG_INFINITY);
        let x = [
            noise(size(queries), 1),
            noise(size(keys), 2),
            noise(size(keys), 3),
        ];
        Self {
            x,
            grad: noise(size(queries), 4),
            mask,
            queries,
            keys,
        }
    }
}

fn run(case: &Case, x: &Inputs) -> Results {
    let Dims { b, h, t, .. } = case.dims;
    let rule = Rule {
        scale: SCALE,
        causal: case.causal,
        mask: case.mask.map(|strides| (&x.mask[..], strides)),
    };
    let view = |data, strides| View {
        data: Data::F32(data),
        strides,
    };
    let [q, k, v] = [
        view(&x.x[0], x.queries),
        view(&x.x[1], x.keys),
        view(&x.x[2], x.keys),
    ];
    let mut out = vec![7.0; x.grad.len()];
    let mut lse = vec![7.0; b * h * t];
    let target = Target::new(&mut out, x.queries);
    forward(case.dims, rule, [q, k, v], target, &mut lse, case.compute);
    let mut grads = x.x.clone().map(|x| vec![7.0; x.len()]);
    let saved = Saved {
        q,
        k,
        v,
        out: view(&out, x.queries),
        grad: view(&x.grad, x.queries),
        lse: &lse,
    };
    let [dq, dk, dv] = &mut grads;
    let targets = [(dq, x.queries), (dk, x.keys), (dv, x.keys)]
        .map(|(data, strides)| Target::new(data, strides));
    backward(case.dims, rule, saved, targets, case.compute);
    Results { out, lse, grads }
}

/// What the kernel reads: in bf16 the rounded values.
fn rounded(values: &[f32], compute: Compute) -> Vec<f64> {
    let round = |&x: &f32| {
        if compute == Compute::BF16 {
            half::bf16::from_f32(x).to_f32()
        } else {
            x
        }
    };
    values.iter().map(|x| f64::from(round(x))).collect()
}

/// Every score in memory, in f64; elements that no head owns are left as they were.
fn naive(case: &Case, x: &Inputs) -> [Vec<f64>; 5] {
    let Dims {
        b,
        h,
        h_kv,
        t,
        s,
        d,
    } = case.dims;
    let [q, k, v] = x.x.each_ref().map(|v| rounded(v, case.compute));
    let grad = rounded(&x.grad, case.compute);
    let mut out = vec![7.0; grad.len()];
    let mut lse = vec![7.0; b * h * t];
    let (mut dq, mut dk, mut dv) = (vec![7.0; q.len()], vec![7.0; k.len()], vec![7.0; v.len()]);
    for at in 0..b * h {
        let (bi, hi) = (at / h, at % h);
        let kv = hi / (h / h_kv);
        let row = |strides: [usize; 3], head: usize, i: usize| {
            bi * strides[0] + head * strides[1] + i * strides[2]
        };
        let (qr, kr) = (|i| row(x.queries, hi, i), |j| row(x.keys, kv, j));
        if hi % (h / h_kv) == 0 {
            (0..s).for_each(|j| (0..d).for_each(|c| (dk[kr(j) + c], dv[kr(j) + c]) = (0.0, 0.0)));
        }
        for i in 0..t {
            let score = |j: usize| -> f64 {
                let dot: f64 = (0..d).map(|c| q[qr(i) + c] * k[kr(j) + c]).sum();
                let hidden = case.causal && j + t > i + s;
                let mask = case.mask.map_or(0.0, |st| {
                    f64::from(x.mask[bi * st[0] + hi * st[1] + i * st[2] + j * st[3]])
                });
                if hidden {
                    f64::NEG_INFINITY
                } else {
                    dot * f64::from(SCALE) + mask
                }
            };
            let scores: Vec<f64> = (0..s).map(score).collect();
            let sum: f64 = scores.iter().map(|x| x.exp()).sum();
            let p: Vec<f64> = scores
                .iter()
                .map(|x| if sum > 0.0 { x.exp() / sum } else { 0.0 })
                .collect();
            lse[at * t + i] = sum.ln();
            for c in 0..d {
                out[qr(i) + c] = (0..s).map(|j| p[j] * v[kr(j) + c]).sum();
            }
            let delta: f64 = (0..d).map(|c| out[qr(i) + c] * grad[qr(i) + c]).sum();
            (0..d).for_each(|c| dq[qr(i) + c] = 0.0);
            for j in 0..s {
                let dp: f64 = (0..d).map(|c| grad[qr(i) + c] * v[kr(j) + c]).sum();
                let ds = p[j] * (dp - delta) * f64::from(SCALE);
                for c in 0..d {
                    dq[qr(i) + c] += ds * k[kr(j) + c];
                    dk[kr(j) + c] += ds * q[qr(i) + c];
                    dv[kr(j) + c] += p[j] * grad[qr(i) + c];
                }
            }
        }
    }
    [out, lse, dq, dk, dv]
}

fn check(case: Case) {
    let x = Inputs::new(&case);
    let Results {
        out,
        lse,
        grads: [dq, dk, dv],
    } = run(&case, &x);
    let exact = naive(&case, &x);
    let tolerance = if case.compute == Compute::BF16 {
        0.03
    } else {
        2e-5
    };
    for (what, (got, exact)) in ["out", "lse", "dq", "dk", "dv"]
        .iter()
        .zip([out, lse, dq, dk, dv].iter().zip(&exact))
    {
        let size = exact.iter().fold(
            1.0f64,
            |m, &x| if x.is_finite() { m.max(x.abs()) } else { m },
        );
        for (i, (&got, &exact)) in got.iter().zip(exact).enumerate() {
            let same =
                f64::from(got) == exact || (f64::from(got) - exact).abs() <= tolerance * size;
            assert!(same, "{case:?}: {what}[{i}] is {got}, not {exact}");
        }
    }
}

fn supported() -> bool {
    is_supported(64)
}

const fn dims(b: usize, h: usize, h_kv: usize, t: usize, s: usize, d: usize) -> Dims {
    Dims {
        b,
        h,
        h_kv,
        t,
        s,
        d,
    }
}

const SHAPES: [Dims; 12] = [
    dims(1, 1, 1, 1, 1, 1),
    dims(2, 2, 1, 5, 5, 8),
    dims(1, 2, 2, 33, 33, 64),
    dims(1, 4, 2, 65, 131, 40),
    dims(1, 1, 1, 130, 70, 16),
    dims(1, 1, 1, 257, 257, 64),
    dims(1, 2, 1, 300, 300, 33),
    dims(1, 1, 1, 1, 400, 64),
    dims(2, 1, 1, 3, 129, 96),
    dims(0, 1, 1, 3, 3, 4),
    dims(1, 1, 1, 0, 3, 4),
    dims(1, 1, 1, 4, 0, 4),
];

#[test]
fn every_shape_matches_the_textbook() {
    for dims in SHAPES {
        for causal in [false, true] {
            for lay in [Lay::HeadsOutside, Lay::RowsOutside] {
                on_every_path(|| {
                    if !supported() {
                        return;
                    }
                    for compute in [Compute::F32, Compute::BF16] {
                        check(Case {
                            dims,
                            causal,
                            mask: None,
                            lay,
                            compute,
                        });
                    }
                });
            }
        }
    }
}

#[test]
fn masks_are_added_and_may_repeat_or_hide_everything() {
    if !supported() {
        return;
    }
    for dims in SHAPES {
        let Dims { h, t, s, .. } = dims;
        for strides in [
            [h * t * s, t * s, s, 1],
            [0, 0, s, 1],
            [t, 0, 1, 0],
            [0, 1, 0, t],
        ] {
            for causal in [false, true] {
                for compute in [Compute::F32, Compute::BF16] {
                    check(Case {
                        dims,
                        causal,
                        mask: Some(strides),
                        lay: Lay::HeadsOutside,
                        compute,
                    });
                }
            }
        }
    }
}

#[test]
fn threads_do_not_change_the_bits() {
    if !supported() {
        return;
    }
    let threads = num_threads();
    for compute in [Compute::F32, Compute::BF16] {
        let dims = dims(2, 4, 2, 300, 300, 64);
        let case = Case {
            dims,
            causal: true,
            mask: None,
            lay: Lay::RowsOutside,
            compute,
        };
        let x = Inputs::new(&case);
        set_num_threads(1);
        let one = run(&case, &x);
        set_num_threads(3);
        assert!(run(&case, &x) == one);
    }
    set_num_threads(threads);
}

#[test]
fn keys_and_values_may_be_narrow() {
    if !supported() {
        return;
    }
    let dims = dims(1, 2, 2, 20, 90, 24);
    let case = Case {
        dims,
        causal: true,
        mask: None,
        lay: Lay::HeadsOutside,
        compute: Compute::F32,
    };
    let mut x = Inputs::new(&case);
    let narrow = [1, 2].map(|i| {
        x.x[i]
            .iter()
            .map(|&x| half::bf16::from_f32(x))
            .collect::<Vec<_>>()
    });
    for i in [1, 2] {
        x.x[i] = narrow[i - 1].iter().map(|x| x.to_f32()).collect();
    }
    let wide = run(&case, &x);
    let rule = Rule {
        scale: SCALE,
        causal: true,
        mask: None,
    };
    let (mut out, mut lse) = (vec![0.0; x.grad.len()], vec![0.0; 40]);
    let views = [
        View {
            data: Data::F32(&x.x[0]),
            strides: x.queries,
        },
        View {
            data: Data::BF16(&narrow[0]),
            strides: x.keys,
        },
        View {
            data: Data::BF16(&narrow[1]),
            strides: x.keys,
        },
    ];
    forward(
        dims,
        rule,
        views,
        Target::new(&mut out, x.queries),
        &mut lse,
        Compute::F32,
    );
    assert!(out == wide.out && lse == wide.lse);
}

#[test]
#[should_panic(expected = "attention: ")]
fn a_short_slice_is_refused() {
    let dims = dims(1, 1, 1, 4, 4, 8);
    let rule = Rule {
        scale: 1.0,
        causal: false,
        mask: None,
    };
    let view = View {
        data: Data::F32(&[0.0; 31]),
        strides: [32, 32, 8],
    };
    let mut out = [0.0; 32];
    let target = Target::new(&mut out, [32, 32, 8]);
    forward(dims, rule, [view; 3], target, &mut [0.0; 4], Compute::F32);
}
