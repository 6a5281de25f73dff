//! Products with small integers against naive ones.

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

fn dequantized(weight: &QuantizedMatrix) -> Vec<f32> {
    let mut back = vec![0.0; weight.outputs() * weight.inputs()];
    for (o, row) in back.chunks_mut(weight.inputs()).enumerate() {
        weight.dequantize_row(o, row);
    }
    back
}

/// A matrix of each form, filled with noise.
fn of_every_form(outputs: usize, inputs: usize) -> Vec<QuantizedMatrix> {
    let mut all = Vec::new();
    for bits in [Bits::Four, Bits::Eight] {
        for group in [16, 32] {
            for minima in [false, true] {
                let zero = if minima {
                    0
                } else if bits == Bits::Four {
                    8
                } else {
                    128
                };
                let form = Form {
                    bits,
                    group,
                    minima,
                    zero,
                };
                let top = if bits == Bits::Four { 15.0 } else { 255.0 };
                let fill = |o: usize, row: &mut RowMut<'_>| {
                    for g in 0..inputs.div_ceil(group) {
                        let seed = (o * 1000 + g) as u32;
                        let values: Vec<u8> = noise(group, seed)
                            .iter()
                            .map(|x| ((x + 1.0) / 2.0 * top).round() as u8)
                            .collect();
                        let numbers = noise(2, seed + 7).into_iter().map(f16::from_f32);
                        let numbers: Vec<f16> = numbers.collect();
                        row.set(g, &values, numbers[0], numbers[1]);
                    }
                };
                all.push(QuantizedMatrix::build([outputs, inputs], form, 0.25, fill));
            }
        }
    }
    all
}

#[test]
fn products_are_exact_up_to_the_rounding_of_inputs() {
    on_every_path(|| {
        for (rows, inputs, outputs) in [
            (1, 1, 1),
            (1, 128, 33),
            (2, 130, 5),
            (5, 300, 70),
            (12, 96, 16),
            (31, 200, 40),
        ] {
            let (x, bias) = (noise(rows * inputs, 4), noise(outputs, 6));
            for weight in of_every_form(outputs, inputs) {
                let back = dequantized(&weight);
                let mut y = vec![0.0; rows * outputs];
                weight.multiply(rows, &x, Some(&bias), &mut y);
                let size = back.iter().fold(1.0_f32, |m, w| m.max(w.abs()));
                let allowed = f64::from(size) * (3e-5 * (inputs as f64).sqrt() + 1e-6);
                for (y, e) in y.iter().zip(naive(rows, inputs, &x, &back, &bias)) {
                    let error = (f64::from(*y) - e).abs();
                    assert!(error < allowed, "{weight:?}: {y} is not {e}");
                }
            }
        }
    });
}

#[test]
fn a_row_has_the_same_bits_beside_any_others() {
    on_every_path(|| {
        for inputs in [64, 200] {
            let (rows, outputs) = (30, 50);
            let x = noise(rows * inputs, 7);
            for weight in of_every_form(outputs, inputs) {
                let run = |rows: usize| {
                    let mut y = vec![0.0; rows * outputs];
                    weight.multiply(rows, &x[..rows * inputs], None, &mut y);
                    y
                };
                let all = run(rows);
                for fewer in (1..15).chain([24, 25]) {
                    assert!(
                        run(fewer) == all[..fewer * outputs],
                        "{weight:?}: {fewer} rows"
                    );
                }
            }
        }
    });
}

#[test]
fn rounding_is_within_half_a_step() {
    let (outputs, inputs) = (5, 77);
    for size in [1e-30, 1e-6, 1.0, 3e4, 1e30] {
        let w: Vec<f32> = noise(outputs * inputs, 5)
            .iter()
            .map(|x| x * size)
            .collect();
        for (weight, step) in [
            (quantize_int8(&w, outputs, inputs), 1.0 / 127.0),
            (quantize_int4(&w, outputs, inputs), 2.0 / 15.0),
        ] {
            for (x, y) in w.iter().zip(dequantized(&weight)) {
                // A minimum is rounded to f16 on top.
                assert!(
                    (x - y).abs() <= (0.501 * step + 1e-3) * size,
                    "{weight:?}: {x} {y}"
                );
            }
        }
    }
}

#[test]
fn zeros_and_extremes_survive() {
    on_every_path(|| {
        for quantize in [quantize_int8, quantize_int4] {
            let mut y = [1.0];
            quantize(&[0.0; 200], 1, 200).multiply(1, &[1.0; 200], None, &mut y);
            assert_eq!(y, [0.0]);
            for sign in [1.0, -1.0] {
                quantize(&[sign; 256], 1, 256).multiply(1, &[-3.0; 256], None, &mut y);
                assert!((y[0] + sign * 768.0).abs() < 0.05, "{y:?}");
            }
            quantize(&[], 0, 7).multiply(3, &[0.0; 21], None, &mut []);
        }
    });
}

#[test]
fn what_is_no_number_stays_none() {
    on_every_path(|| {
        for quantize in [quantize_int8, quantize_int4] {
            let mut y = [0.0, 0.0];
            let weight = quantize(&[1.0, 2.0, 3.0, f32::NAN, 1.0, f32::INFINITY], 2, 3);
            weight.multiply(1, &[1.0, 1.0, 1.0], None, &mut y);
            assert!(y[1].is_nan() && !y[0].is_nan(), "{y:?}");
            let weight = quantize(&[1.0; 4], 2, 2);
            weight.multiply(1, &[f32::NAN, 1.0], None, &mut y);
            assert!(y.iter().all(|y| y.is_nan()), "{y:?}");
        }
    });
}
