//! Element types: what a tensor can hold, and how kernels compute with it.
//!
//! Three layers, from outside in: [`DType`] is the runtime name; [`Element`] is a Rust type that
//! users hand over and get back; [`Number`] is the stored form that kernels read, with the type
//! they compute in (`bf16` is stored, `f32` is computed). See `real.rs` for the mathematics.

mod real;

pub use half::{bf16, f16};
pub use real::Real;

use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// Brain float: 8 bits of exponent, 7 of fraction.
    BF16,
    /// IEEE half: 5 bits of exponent, 10 of fraction.
    F16,
    /// 64-bit signed integer: indices and token ids.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 8-bit unsigned integer: images.
    U8,
    /// Truth values, one byte each.
    Bool,
}

impl DType {
    /// Every dtype, for tests and tables.
    pub const ALL: [Self; 8] = [
        Self::F64,
        Self::F32,
        Self::BF16,
        Self::F16,
        Self::I64,
        Self::I32,
        Self::U8,
        Self::Bool,
    ];

    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::BF16 | Self::F16 => 2,
            Self::U8 | Self::Bool => 1,
        }
    }

    /// Whether this is one of the floating-point types, the only ones with gradients.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::BF16 | Self::F16)
    }

    /// The short name: `f32`, `bf16`, `i64` ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::BF16 => "bf16",
            Self::F16 => "f16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }

    /// The dtype that two operands meet in: floats win over integers, wider wins over narrower,
    /// and `bf16` with `f16` gives `f32`, as in PyTorch.
    #[must_use]
    pub fn promote(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        if self.is_float() && other.is_float() {
            return match (self, other) {
                (Self::F64, _) | (_, Self::F64) => Self::F64,
                _ => Self::F32,
            };
        }
        if self.is_float() {
            return self;
        }
        if other.is_float() {
            return other;
        }
        // Integers and bool are declared widest first.
        self.min(other)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that a tensor can be built from and read into.
pub trait Element: Copy + Send + Sync + fmt::Debug + PartialEq + 'static {
    /// The dtype that holds this type.
    const DTYPE: DType;
    /// The stored form; `u8` for `bool`, the type itself otherwise.
    type Raw: bytemuck::Pod;
    /// Into the stored form.
    fn into_raw(self) -> Self::Raw;
    /// Out of the stored form.
    fn from_raw(raw: Self::Raw) -> Self;
}

macro_rules! element {
    ($($t:ty => $d:ident),*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            type Raw = Self;
            fn into_raw(self) -> Self { self }
            fn from_raw(raw: Self) -> Self { raw }
        }
    )*};
}
element!(f64 => F64, f32 => F32, bf16 => BF16, f16 => F16, i64 => I64, i32 => I32, u8 => U8);

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    type Raw = u8;
    fn into_raw(self) -> u8 {
        u8::from(self)
    }
    fn from_raw(raw: u8) -> Self {
        raw != 0
    }
}

/// A stored number and the type that kernels compute it in.
pub trait Number: bytemuck::Pod + Send + Sync + PartialEq + PartialOrd {
    /// `f32` for the half types, `i64` for integers, the type itself otherwise.
    type Compute: Compute;
    /// Widens.
    fn load(self) -> Self::Compute;
    /// Narrows: floats round to nearest even, integers wrap.
    fn store(c: Self::Compute) -> Self;
    /// From the compute type of another number.
    fn of_f64(x: f64) -> Self;
    /// To `f64`, exactly but for large `i64`.
    fn as_f64(self) -> f64;
}

/// Arithmetic that every compute type has.
pub trait Compute:
    Copy
    + Send
    + Sync
    + 'static
    + PartialEq
    + PartialOrd
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
{
    /// The additive identity.
    const ZERO: Self;
    /// The multiplicative identity.
    const ONE: Self;
    /// Quotient; integers truncate, and a zero divisor gives zero instead of a trap.
    fn quotient(self, rhs: Self) -> Self;
    /// From `f64`.
    fn from_f64(x: f64) -> Self;
    /// To `f64`.
    fn to_f64(self) -> f64;
    /// Whether this is a NaN.
    fn is_nan(self) -> bool;
}

macro_rules! compute_float {
    ($($t:ty),*) => {$(
        impl Compute for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn quotient(self, rhs: Self) -> Self { self / rhs }
            #[inline(always)]
            fn from_f64(x: f64) -> Self { x as Self }
            #[inline(always)]
            fn to_f64(self) -> f64 { f64::from(self) }
            #[inline(always)]
            fn is_nan(self) -> bool { self != self }
        }
        impl Number for $t {
            type Compute = Self;
            #[inline(always)]
            fn load(self) -> Self { self }
            #[inline(always)]
            fn store(c: Self) -> Self { c }
            #[inline(always)]
            fn of_f64(x: f64) -> Self { x as Self }
            #[inline(always)]
            fn as_f64(self) -> f64 { f64::from(self) }
        }
    )*};
}
compute_float!(f32, f64);

/// `i64` arithmetic that wraps, as tensors of integers do.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Int(pub i64);

impl std::ops::Add for Int {
    type Output = Self;
    #[inline(always)]
    fn add(self, rhs: Self) -> Self {
        Self(self.0.wrapping_add(rhs.0))
    }
}
impl std::ops::Sub for Int {
    type Output = Self;
    #[inline(always)]
    fn sub(self, rhs: Self) -> Self {
        Self(self.0.wrapping_sub(rhs.0))
    }
}
impl std::ops::Mul for Int {
    type Output = Self;
    #[inline(always)]
    fn mul(self, rhs: Self) -> Self {
        Self(self.0.wrapping_mul(rhs.0))
    }
}
impl Compute for Int {
    const ZERO: Self = Self(0);
    const ONE: Self = Self(1);
    #[inline(always)]
    fn quotient(self, rhs: Self) -> Self {
        Self(if rhs.0 == 0 {
            0
        } else {
            self.0.wrapping_div(rhs.0)
        })
    }
    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        Self(x as i64)
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self.0 as f64
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
}

macro_rules! number_int {
    ($($t:ty),*) => {$(
        impl Number for $t {
            type Compute = Int;
            #[inline(always)]
            fn load(self) -> Int { Int(i64::from(self)) }
            #[inline(always)]
            fn store(c: Int) -> Self { c.0 as Self }
            #[inline(always)]
            fn of_f64(x: f64) -> Self { x as i64 as Self }
            #[inline(always)]
            fn as_f64(self) -> f64 { self as f64 }
        }
    )*};
}
number_int!(i64, i32, u8);

impl Number for bf16 {
    type Compute = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    /// Rounds to nearest even without branches, so that loops over it vectorise; NaN stays NaN.
    #[inline(always)]
    fn store(c: f32) -> Self {
        let bits = c.to_bits();
        let rounded = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
        let quiet = ((bits >> 16) | 0x40) as u16;
        Self::from_bits(if c.is_nan() { quiet } else { rounded })
    }
    #[inline(always)]
    fn of_f64(x: f64) -> Self {
        Self::store(x as f32)
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self.load())
    }
}

impl Number for f16 {
    type Compute = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        self.to_f32()
    }
    #[inline(always)]
    fn store(c: f32) -> Self {
        Self::from_f32(c)
    }
    #[inline(always)]
    fn of_f64(x: f64) -> Self {
        Self::from_f64(x)
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self.to_f32())
    }
}

/// Runs `$body` with `$T` bound to the stored type of any dtype (`u8` for bool).
macro_rules! dispatch {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::BF16 => {
                type $T = $crate::dtype::bf16;
                $body
            }
            $crate::DType::F16 => {
                type $T = $crate::dtype::f16;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::U8 | $crate::DType::Bool => {
                type $T = u8;
                $body
            }
        }
    };
}

/// Runs `$body` with `$T` bound to the stored type of a float dtype; other dtypes panic with the
/// name of the op.
macro_rules! dispatch_float {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::BF16 => {
                type $T = $crate::dtype::bf16;
                $body
            }
            $crate::DType::F16 => {
                type $T = $crate::dtype::f16;
                $body
            }
            other => panic!(
                "{}: needs a floating-point tensor, got {other}; convert with to_dtype",
                $op
            ),
        }
    };
}
pub(crate) use {dispatch, dispatch_float};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_store_rounds_as_half_does() {
        for bits in (0..u32::MAX).step_by(65_521) {
            let x = f32::from_bits(bits);
            let (ours, theirs) = (<bf16 as Number>::store(x), bf16::from_f32(x));
            assert!(
                ours == theirs || (x.is_nan() && ours.is_nan()),
                "{x:e}: {ours} {theirs}"
            );
        }
    }

    #[test]
    fn promotion_follows_pytorch() {
        use DType::*;
        assert_eq!(BF16.promote(F16), F32);
        assert_eq!(I64.promote(BF16), BF16);
        assert_eq!(F32.promote(F64), F64);
        assert_eq!(Bool.promote(U8), U8);
        assert_eq!(I32.promote(I64), I64);
    }
}
