//! Elementary functions for `f32` and `f64`, written so that loops over them vectorise.
//!
//! The `f32` forms are branch-free polynomials, within 2 units in the last place of the exact
//! value on the ranges that matter; the `f64` forms are the standard library's, since `f64` is for
//! checking, not for speed.

use super::Compute;

/// A floating-point compute type.
pub trait Real: Compute + std::ops::Div<Output = Self> + std::ops::Neg<Output = Self> {
    /// `e^self`.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// `self^p`.
    fn powf(self, p: Self) -> Self;
    /// Largest whole number not above.
    fn floor(self) -> Self;
    /// Smallest whole number not below.
    fn ceil(self) -> Self;
    /// Nearest whole number, halves to even.
    fn round(self) -> Self;
    /// The larger of two; NaN if either is.
    fn maximum(self, rhs: Self) -> Self;
    /// The smaller of two; NaN if either is.
    fn minimum(self, rhs: Self) -> Self;
    /// The lowest value, `-inf`.
    const NEG_INFINITY: Self;
    /// `1 / (1 + e^-self)`.
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
}

/// `e^x` by splitting off the power of two (Cody-Waite) and a degree-6 polynomial on
/// `|r| <= ln(2)/2`; below -87.3 the result underflows to 0, above 88.72 it is infinite.
#[inline(always)]
pub(crate) fn exp_f32(x: f32) -> f32 {
    const LN2_HI: f32 = 0.693_359_375;
    const LN2_LO: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer without a library call.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -104.0 { -104.0 } else { x };
    let clamped = if clamped > 89.0 { 89.0 } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HI - n * LN2_LO;
    let mut p = 1.987_569_1e-4_f32;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5.000_000_1e-1;
    let y = p * r * r + r + 1.0;
    // The whole number stands in the low bits of the sum too. A conversion, which saturates, would not vectorise.
    let n = shifted.to_bits() as i32 - ROUND.to_bits() as i32;
    // 2^n in two factors, so that results down to the smallest subnormal and up to the largest
    // finite number come out right.
    let half = n >> 1;
    let pow2 = |e: i32| f32::from_bits(((e + 127) as u32) << 23);
    y * pow2(half) * pow2(n - half)
}

/// `ln x` from the exponent and a polynomial on `[sqrt(1/2), sqrt(2))` (Cephes' coefficients).
#[inline(always)]
pub(crate) fn ln_f32(x: f32) -> f32 {
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits();
    let mut e = ((bits >> 23) & 0xff) as i32 - 126;
    let mut m = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
    let low = m < std::f32::consts::FRAC_1_SQRT_2;
    e -= i32::from(low) + if tiny { 23 } else { 0 };
    m = if low { m + m - 1.0 } else { m - 1.0 };
    let z = m * m;
    let mut p = 7.037_683_6e-2_f32;
    p = p * m - 1.151_461e-1;
    p = p * m + 1.167_699_9e-1;
    p = p * m - 1.242_014_1e-1;
    p = p * m + 1.424_932_3e-1;
    p = p * m - 1.666_805_8e-1;
    p = p * m + 2.000_071_5e-1;
    p = p * m - 2.499_999_4e-1;
    p = p * m + 3.333_333_1e-1;
    let e = e as f32;
    let y = m * z * p + e * -2.121_944_4e-4 - 0.5 * z;
    let y = m + y + e * 0.693_359_375;
    let y = if x == f32::INFINITY { x } else { y };
    let y = if x == 0.0 { f32::NEG_INFINITY } else { y };
    if x < 0.0 || x.is_nan() { f32::NAN } else { y }
}

/// `tanh x = 1 - 2 / (e^2x + 1)`, with the odd series near zero where the difference cancels.
#[inline(always)]
pub(crate) fn tanh_f32(x: f32) -> f32 {
    let a = x.abs();
    let big = 1.0 - 2.0 / (exp_f32(2.0 * a) + 1.0);
    let z = x * x;
    let mut p = -5.704_988_7e-3_f32;
    p = p * z + 2.063_908_8e-2;
    p = p * z - 5.373_971_3e-2;
    p = p * z + 1.333_144_2e-1;
    p = p * z - 3.333_328e-1;
    let small = a + a * z * p;
    (if a < 0.625 { small } else { big }).copysign(x)
}

/// The error function: its Taylor-like series below 0.5 and, above, Abramowitz and Stegun's
/// 7.1.26 is too coarse, so the complement is `e^(-x^2)` times a rational fit (Numerical Recipes'
/// Chebyshev form, 1.2e-7).
#[inline(always)]
pub(crate) fn erf_f32(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.5 * a);
    let mut p = 0.170_872_77_f32;
    for c in [
        -0.822_152_23,
        1.488_515_9,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ] {
        p = p * t + c;
    }
    let big = 1.0 - t * exp_f32(p - a * a);
    // 2/sqrt(pi) * (x - x^3/3 + x^5/10 - x^7/42 + x^9/216 - x^11/1320)
    let z = x * x;
    let mut s = -1.0 / 1320.0_f32;
    s = s * z + 1.0 / 216.0;
    s = s * z - 1.0 / 42.0;
    s = s * z + 0.1;
    s = s * z - 1.0 / 3.0;
    s = s * z + 1.0;
    let small = std::f32::consts::FRAC_2_SQRT_PI * a * s;
    (if a < 0.5 { small } else { big }).copysign(x)
}

impl Real for f32 {
    const NEG_INFINITY: Self = Self::NEG_INFINITY;
    #[inline(always)]
    fn exp(self) -> Self {
        exp_f32(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        ln_f32(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        tanh_f32(self)
    }
    #[inline(always)]
    fn erf(self) -> Self {
        erf_f32(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }
    #[inline(always)]
    fn sin(self) -> Self {
        self.sin()
    }
    #[inline(always)]
    fn cos(self) -> Self {
        self.cos()
    }
    #[inline(always)]
    fn powf(self, p: Self) -> Self {
        self.powf(p)
    }
    #[inline(always)]
    fn floor(self) -> Self {
        self.floor()
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        self.ceil()
    }
    #[inline(always)]
    fn round(self) -> Self {
        self.round_ties_even()
    }
    #[inline(always)]
    fn maximum(self, rhs: Self) -> Self {
        if self > rhs || self.is_nan() {
            self
        } else {
            rhs
        }
    }
    #[inline(always)]
    fn minimum(self, rhs: Self) -> Self {
        if self < rhs || self.is_nan() {
            self
        } else {
            rhs
        }
    }
}

impl Real for f64 {
    const NEG_INFINITY: Self = Self::NEG_INFINITY;
    fn exp(self) -> Self {
        self.exp()
    }
    fn ln(self) -> Self {
        self.ln()
    }
    fn tanh(self) -> Self {
        self.tanh()
    }
    /// Series `2/sqrt(pi) * sum (-1)^n x^(2n+1) / (n! (2n+1))` up to 3, complement by Lentz's
    /// continued fraction above; both to rounding.
    fn erf(self) -> Self {
        let a = self.abs();
        let y = if a < 3.0 {
            let (mut term, mut sum, mut n) = (a, a, 0.0);
            while term.abs() > 1e-17 * sum.abs() && n < 200.0 {
                n += 1.0;
                term *= -a * a / n;
                sum += term / (2.0 * n + 1.0);
            }
            std::f64::consts::FRAC_2_SQRT_PI * sum
        } else if a > 6.0 {
            1.0
        } else {
            let mut f = a;
            for k in (1..=120).rev() {
                f = a + f64::from(k) / 2.0 / f;
            }
            1.0 - (-a * a).exp() / (std::f64::consts::PI.sqrt() * f)
        };
        if self.is_nan() {
            self
        } else {
            y.copysign(self)
        }
    }
    fn sqrt(self) -> Self {
        self.sqrt()
    }
    fn abs(self) -> Self {
        self.abs()
    }
    fn sin(self) -> Self {
        self.sin()
    }
    fn cos(self) -> Self {
        self.cos()
    }
    fn powf(self, p: Self) -> Self {
        self.powf(p)
    }
    fn floor(self) -> Self {
        self.floor()
    }
    fn ceil(self) -> Self {
        self.ceil()
    }
    fn round(self) -> Self {
        self.round_ties_even()
    }
    fn maximum(self, rhs: Self) -> Self {
        if self > rhs || self.is_nan() {
            self
        } else {
            rhs
        }
    }
    fn minimum(self, rhs: Self) -> Self {
        if self < rhs || self.is_nan() {
            self
        } else {
            rhs
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(f: fn(f32) -> f32, exact: fn(f64) -> f64, range: (f32, f32), tolerance: f64) {
        let steps = 20_000;
        for i in 0..=steps {
            let x = range.0 + (range.1 - range.0) * i as f32 / steps as f32;
            let (y, e) = (f64::from(f(x)), exact(f64::from(x)));
            assert!(
                (y - e).abs() <= tolerance * e.abs().max(1e-37),
                "x {x}: {y:e}, exact {e:e}"
            );
        }
    }

    #[test]
    fn f32_functions_stay_within_a_few_units_in_the_last_place() {
        check(exp_f32, f64::exp, (-87.0, 88.5), 3e-7);
        check(ln_f32, f64::ln, (1e-3, 0.9), 3e-7);
        check(ln_f32, f64::ln, (1.1, 1e6), 3e-7);
        check(tanh_f32, f64::tanh, (-12.0, 12.0), 4e-7);
        check(erf_f32, <f64 as Real>::erf, (-5.0, 5.0), 6e-7);
    }

    #[test]
    fn f32_functions_treat_the_ends_of_the_line_as_libm_does() {
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert!(exp_f32(f32::NAN).is_nan() && exp_f32(-f32::NAN).is_nan());
        assert_eq!(exp_f32(0.0), 1.0);
        assert_eq!(ln_f32(0.0), f32::NEG_INFINITY);
        assert!(ln_f32(-1.0).is_nan());
        assert!((ln_f32(1e-40) - (1e-40_f64.ln() as f32)).abs() < 1e-4);
        assert_eq!(tanh_f32(100.0), 1.0);
        assert!(tanh_f32(f32::NAN).is_nan());
    }

    #[test]
    fn f64_erf_matches_known_values() {
        for (x, y) in [
            (0.5, 0.520_499_877_813_046_5),
            (2.0, 0.995_322_265_018_952_7),
            (4.0, 0.999_999_984_582_742_1),
        ] {
            assert!((<f64 as Real>::erf(x) - y).abs() < 1e-15, "{x}");
        }
    }
}
