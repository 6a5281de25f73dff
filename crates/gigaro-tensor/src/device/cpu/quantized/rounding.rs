//! Floats to small integers.

use super::{Bits, Form, LONGEST_GROUP, QuantizedMatrix};
use half::f16;

/// Symmetric around 0, 8.5 bits a weight.
const INT8: Form = Form {
    bits: Bits::Eight,
    group: LONGEST_GROUP,
    minima: false,
    zero: 128,
};
/// From a minimum up, 5 bits a weight.
const INT4: Form = Form {
    bits: Bits::Four,
    group: LONGEST_GROUP,
    minima: true,
    zero: 0,
};

/// Rounds a weight `(outputs, inputs)`, row by row without gaps, to 8 bits: each group of 32 weights in 255 steps between its
/// largest magnitude and its negative.
///
/// A group with a weight that is not finite becomes NaN.
///
/// # Panics
/// If `weight` does not have `outputs * inputs` elements.
#[must_use]
#[track_caller]
pub fn quantize_int8(weight: &[f32], outputs: usize, inputs: usize) -> QuantizedMatrix {
    quantize(weight, [outputs, inputs], INT8, |group| {
        let largest = group.iter().fold(0.0, |m: f32, x| larger(m, x.abs()));
        (largest / 127.0, 0.0)
    })
}

/// Rounds a weight `(outputs, inputs)`, row by row without gaps, to 4 bits: each group of 32 weights in 15 steps between its
/// smallest and its largest.
///
/// A group with a weight that is not finite becomes NaN.
///
/// # Panics
/// If `weight` does not have `outputs * inputs` elements.
#[must_use]
#[track_caller]
pub fn quantize_int4(weight: &[f32], outputs: usize, inputs: usize) -> QuantizedMatrix {
    quantize(weight, [outputs, inputs], INT4, |group| {
        let largest = group.iter().copied().fold(f32::NEG_INFINITY, larger);
        let smallest = -group.iter().map(|x| -x).fold(f32::NEG_INFINITY, larger);
        ((largest - smallest) / 15.0, smallest)
    })
}

/// The larger of two; not a number if one of them is not.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

#[track_caller]
fn quantize(
    weight: &[f32],
    [outputs, inputs]: [usize; 2],
    form: Form,
    scale_and_minimum: impl Fn(&[f32]) -> (f32, f32) + Sync,
) -> QuantizedMatrix {
    assert!(
        weight.len() == outputs * inputs,
        "quantize: {} elements where ({outputs}, {inputs}) is wanted",
        weight.len()
    );
    let unit = unit_of(weight);
    QuantizedMatrix::build([outputs, inputs], form, unit, |output, row| {
        let weights = &weight[output * inputs..][..inputs];
        for (g, weights) in weights.chunks(form.group).enumerate() {
            let (scale, minimum) = scale_and_minimum(weights);
            let [scale, minimum] = [scale, minimum].map(|x| f16::from_f32(x / unit));
            let mut values = [form.zero; LONGEST_GROUP];
            let [step, start] = [scale, minimum].map(|x| x.to_f32() * unit);
            let inverse = if step > 0.0 { step.recip() } else { 0.0 };
            let top = f32::from(if form.bits == Bits::Four { 15_u8 } else { 255 });
            for (value, x) in values.iter_mut().zip(weights) {
                let steps = ((x - start) * inverse).round() + f32::from(form.zero);
                *value = steps.clamp(0.0, top) as u8;
            }
            // A number that f16 cannot hold must not hide in a scale of zero.
            let broken = weights.iter().any(|x| !x.is_finite());
            let scale = if broken { f16::NAN } else { scale };
            row.set(g, &values[..form.group], scale, minimum);
        }
    })
}

/// A power of two by which scales and minima come to lie well within what f16 holds.
fn unit_of(weight: &[f32]) -> f32 {
    let finite = weight.iter().filter(|x| x.is_finite());
    let largest = finite.fold(0.0, |m: f32, x| m.max(x.abs()));
    if largest > 0.0 {
        // Minima are as large as weights; 2^13 leaves them a factor of eight.
        (largest.log2().floor() - 13.0).clamp(-120.0, 120.0).exp2()
    } else {
        1.0
    }
}
