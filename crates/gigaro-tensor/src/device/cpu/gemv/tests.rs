//! Streaming products against naive ones.

use super::*;
use crate::device::cpu::isa::on_every_path;

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(n).collect()
}

fn naive(rows: usize, inputs: usize, x: &[f32], w: &[f32], bias: &[f32]) -> Vec<f64> {
    let outputs = bias.len();
    let one = |at: usize| {
        let (i, o) = (at / outputs, at % outputs);
        let terms =
            (0..inputs).map(|k| f64::from(x[i * inputs + k]) * f64::from(w[o * inputs + k]));
        terms.sum::<f64>() + f64::from(bias[o])
    };
    (0..rows * outputs).map(one).collect()
}

#[test]
fn float_weights_match_the_naive_product() {
    on_every_path(|| {
        for (rows, inputs, outputs) in [
            (1, 1, 1),
            (1, 100, 50),
            (3, 33, 17),
            (8, 770, 129),
            (9, 64, 40),
            (0, 5, 5),
        ] {
            let (x, w) = (noise(rows * inputs, 1), noise(outputs * inputs, 2));
            let (wb, wh): (Vec<bf16>, Vec<f16>) = w
                .iter()
                .map(|&x| (bf16::from_f32(x), f16::from_f32(x)))
                .unzip();
            let bias = noise(outputs, 3);
            let widened: Vec<f32> = wb.iter().map(|x| x.to_f32()).collect();
            let halves: Vec<f32> = wh.iter().map(|x| x.to_f32()).collect();
            let cases = [
                (Weight::F32(&w), &w),
                (Weight::BF16(&wb), &widened),
                (Weight::F16(&wh), &halves),
            ];
            for (weight, exact) in cases {
                let mut y = vec![0.0; rows * outputs];
                gemv(
                    (rows, inputs, outputs),
                    &x,
                    weight,
                    Some(&bias),
                    &mut y,
                    Compute::F32,
                );
                for (y, e) in y.iter().zip(naive(rows, inputs, &x, exact, &bias)) {
                    assert!((f64::from(*y) - e).abs() < 1e-4, "{y} is not {e}");
                }
            }
        }
    });
}

#[test]
fn eight_bit_products_are_exact_up_to_the_rounding_of_inputs() {
    on_every_path(|| {
        for (rows, inputs, outputs) in [
            (1, 1, 1),
            (1, 128, 33),
            (2, 130, 5),
            (5, 300, 70),
            (8, 768, 65),
            (20, 200, 40),
        ] {
            let (x, w, bias) = (
                noise(rows * inputs, 4),
                noise(outputs * inputs, 5),
                noise(outputs, 6),
            );
            let weight = quantize_int8(&w, outputs, inputs);
            let mut back = vec![0.0; w.len()];
            back.chunks_mut(inputs)
                .enumerate()
                .for_each(|(o, row)| weight.dequantize_row(o, row));
            assert!(
                w.iter()
                    .zip(&back)
                    .all(|(x, y)| (x - y).abs() <= 0.501 / 127.0)
            );
            let mut y = vec![0.0; rows * outputs];
            gemv(
                (rows, inputs, outputs),
                &x,
                Weight::Int8(&weight),
                Some(&bias),
                &mut y,
                Compute::F32,
            );
            for (y, e) in y.iter().zip(naive(rows, inputs, &x, &back, &bias)) {
                assert!(
                    (f64::from(*y) - e).abs() < 2e-5 * (inputs as f64).sqrt() + 1e-5,
                    "{y} is not {e}"
                );
            }
        }
    });
}

#[test]
fn a_row_has_the_same_bits_beside_any_others() {
    on_every_path(|| {
        for inputs in [64, 200, 1100] {
            let outputs = 50;
            let (x, w) = (noise(8 * inputs, 7), noise(outputs * inputs, 8));
            let wb: Vec<bf16> = w.iter().map(|&x| bf16::from_f32(x)).collect();
            let w8 = quantize_int8(&w, outputs, inputs);
            for weight in [Weight::F32(&w), Weight::BF16(&wb), Weight::Int8(&w8)] {
                for compute in [Compute::F32, Compute::BF16] {
                    let run = |rows: usize| {
                        let mut y = vec![0.0; rows * outputs];
                        gemv(
                            (rows, inputs, outputs),
                            &x[..rows * inputs],
                            weight,
                            None,
                            &mut y,
                            compute,
                        );
                        y
                    };
                    let all = run(8);
                    for rows in 1..8 {
                        assert!(run(rows) == all[..rows * outputs], "{rows} rows");
                    }
                }
            }
        }
    });
}

#[test]
fn zeros_and_extremes_survive() {
    let w = quantize_int8(&[0.0; 200], 1, 200);
    let mut y = [1.0];
    gemv(
        (1, 200, 1),
        &[1.0; 200],
        Weight::Int8(&w),
        None,
        &mut y,
        Compute::F32,
    );
    assert_eq!(y, [0.0]);
    on_every_path(|| {
        for sign in [1.0, -1.0] {
            let w = quantize_int8(&[sign; 256], 1, 256);
            let mut y = [0.0];
            gemv(
                (1, 256, 1),
                &[-3.0; 256],
                Weight::Int8(&w),
                None,
                &mut y,
                Compute::F32,
            );
            assert!((y[0] + sign * 768.0).abs() < 1e-3, "{y:?}");
        }
    });
}
