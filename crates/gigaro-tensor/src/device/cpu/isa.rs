//! Which vector instructions this machine has, found once at run time, and how a kernel gets compiled for
//! each of them.
//!
//! One binary carries every path. A kernel written with intrinsics asks [`isa`] and calls the matching
//! function; a kernel written as a plain loop goes through [`Isa::vectorize`] or `vectorized!`, which
//! compile the same source once per instruction set and let the compiler vectorise it. Kernels
//! ask on the thread that calls them and hand the answer to the workers, because [`with_isa`]
//! changes it for one thread only.
//!
//! The paths need not agree in the last bit (a fused multiply-add rounds once), so results are
//! reproducible on one kind of machine, not across kinds.

use std::cell::Cell;
use std::sync::OnceLock;

/// A set of vector instructions that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What every machine of the target architecture has.
    Portable,
    /// 256-bit vectors on x86-64: AVX2, FMA and F16C.
    Avx2,
    /// 512-bit vectors on x86-64: AVX-512 F, BW, DQ, VL and CD, and all of [`Isa::Avx2`].
    Avx512,
    /// 128-bit vectors on AArch64.
    Neon,
}

/// What was found on this machine.
struct Machine {
    /// From [`Isa::Portable`] up to the best.
    levels: Vec<Isa>,
    bf16: bool,
    /// Whether the bf16 dot product beats multiply-adds in f32.
    bf16_is_fast: bool,
    vnni: bool,
}

fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Machine {
    let mut levels = vec![Isa::Portable];
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512cd");
    if avx2 {
        levels.push(Isa::Avx2);
    }
    if avx512 {
        levels.push(Isa::Avx512);
    }
    Machine {
        levels,
        bf16: avx512 && is_x86_feature_detected!("avx512bf16"),
        bf16_is_fast: vendor() != "GenuineIntel",
        vnni: avx512 && is_x86_feature_detected!("avx512vnni"),
    }
}

/// The maker of the processor, as it names itself.
///
/// Intel's cores start a 512-bit `vdpbf16ps` every second cycle and two multiply-adds in f32 in each (174 and 357
/// GFLOP/s on two cores of an Emerald Rapids), because they expect products in bf16 to go through AMX; AMD's run it at
/// the full rate.
#[cfg(target_arch = "x86_64")]
fn vendor() -> String {
    let id = std::arch::x86_64::__cpuid(0);
    let bytes = [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes).concat();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Machine {
    Machine {
        levels: vec![Isa::Portable, Isa::Neon],
        bf16: false,
        bf16_is_fast: false,
        vnni: false,
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Machine {
    Machine {
        levels: vec![Isa::Portable],
        bf16: false,
        bf16_is_fast: false,
        vnni: false,
    }
}

/// Another choice than the best one, for the tests of one thread.
#[derive(Clone, Copy, Default)]
struct Override {
    isa: Option<Isa>,
    /// All dot products that the machine has, or none.
    dot_products: Option<bool>,
}

thread_local! {
    static OVERRIDE: Cell<Override> = const { Cell::new(Override { isa: None, dot_products: None }) };
}

/// The instruction set that kernels called from this thread use: the best one, or what
/// [`with_isa`] says.
pub fn isa() -> Isa {
    OVERRIDE.get().isa.unwrap_or_else(best)
}

/// The instruction sets of this machine, from [`Isa::Portable`] to the best.
pub fn available() -> &'static [Isa] {
    &machine().levels
}

/// Whether kernels called from this thread use the bf16 dot product (`vdpbf16ps`): where the machine has it, and where it
/// is faster than multiply-adds in f32.
pub fn has_bf16() -> bool {
    let machine = machine();
    let wanted = OVERRIDE.get().dot_products.unwrap_or(machine.bf16_is_fast);
    machine.bf16 && isa() == Isa::Avx512 && wanted
}

/// Whether kernels called from this thread use the 8-bit integer dot product (`vpdpbusd`).
pub fn has_vnni() -> bool {
    machine().vnni && isa() == Isa::Avx512 && OVERRIDE.get().dot_products != Some(false)
}

fn best() -> Isa {
    *machine().levels.last().unwrap_or(&Isa::Portable)
}

/// Calls `f` with `isa` in force on this thread, so that tests reach every path.
///
/// An instruction set that this machine lacks is not taken up; the choice in force stays.
pub fn with_isa<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    let isa = if isa.is_available() {
        Some(isa)
    } else {
        OVERRIDE.get().isa
    };
    with_override(
        Override {
            isa,
            ..OVERRIDE.get()
        },
        f,
    )
}

/// Calls `f` with all dot products that this machine has in use on this thread, also slow ones; or with none, as on the first
/// AVX-512 machines.
pub fn with_dot_products<R>(all: bool, f: impl FnOnce() -> R) -> R {
    with_override(
        Override {
            dot_products: Some(all),
            ..OVERRIDE.get()
        },
        f,
    )
}

/// Runs `f` for each instruction set of this machine, with all dot products and with none.
#[cfg(test)]
pub(crate) fn on_every_path(f: impl Fn()) {
    for &isa in available() {
        with_isa(isa, &f);
    }
    for all in [true, false] {
        with_dot_products(all, &f);
    }
}

fn with_override<R>(to: Override, f: impl FnOnce() -> R) -> R {
    /// Puts the old choice back, also when `f` panics.
    struct Restore(Override);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVERRIDE.set(self.0);
        }
    }
    let _restore = Restore(OVERRIDE.replace(to));
    f()
}

/// Work to be compiled once per instruction set; see [`Isa::vectorize`].
///
/// Closures that take nothing implement it, and should be marked `#[inline(always)]`. A type of one's own does too, with
/// `run` marked so.
pub trait Vectorize {
    /// What the work returns.
    type Output;
    /// Does the work.
    fn run(self) -> Self::Output;
}

// Called by reference, because `FnOnce::call_once` of a closure is a function of the compiler's that does not inherit
// `#[inline(always)]`: long bodies stayed in it, compiled for the oldest machine.
impl<R, F: FnMut() -> R> Vectorize for F {
    type Output = R;
    #[inline(always)]
    fn run(mut self) -> R {
        self()
    }
}

impl Isa {
    /// Whether this machine has it.
    #[inline]
    pub fn is_available(self) -> bool {
        available().contains(&self)
    }

    /// The width of a vector register in bytes.
    pub fn vector_bytes(self) -> usize {
        match self {
            Isa::Avx512 => 64,
            Isa::Avx2 => 32,
            Isa::Portable | Isa::Neon => 16,
        }
    }

    /// Runs `work` inside a function compiled for this instruction set, so that its loops are
    /// vectorised for it.
    ///
    /// It only works on code that is inlined: the closure and the functions that it calls need
    /// `#[inline(always)]`. Sums are not vectorised, because their order is fixed; split them into lanes by hand.
    #[inline(always)]
    pub fn vectorize<W: Vectorize>(self, work: W) -> W::Output {
        match self {
            // SAFETY: the machine has the instructions.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if self.is_available() => unsafe { run_avx512(work) },
            // SAFETY: the machine has the instructions.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if self.is_available() => unsafe { run_avx2(work) },
            // NEON is part of every AArch64 target, so the portable function has it already.
            _ => work.run(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
fn run_avx512<W: Vectorize>(work: W) -> W::Output {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
fn run_avx2<W: Vectorize>(work: W) -> W::Output {
    work.run()
}

/// Defines a function that is compiled once per instruction set; its first argument is the [`Isa`] to use.
///
/// ```ignore
/// vectorized! {
///     /// Adds `x * a` to `y`.
///     fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
///         for (y, x) in y.iter_mut().zip(x) {
///             *y += a * x;
///         }
///     }
/// }
/// axpy(isa(), 2.0, &x, &mut y);
/// ```
/// Type parameters are written `fn name[T: Bound](..)`; lifetimes likewise or elided.
#[allow(clippy::allow_attributes, unused_macros, reason = "for the operations")]
macro_rules! vectorized {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident $([$($generics:tt)*])? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)+) => {$(
        $(#[$meta])*
        #[allow(clippy::allow_attributes, clippy::too_many_arguments, reason = "the instruction set is one more")]
        $vis fn $name $(<$($generics)*>)? (isa: $crate::device::cpu::isa::Isa $(, $arg: $ty)*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$($generics)*>)? ($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            fn avx512 $(<$($generics)*>)? ($($arg: $ty),*) $(-> $ret)? {
                body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            fn avx2 $(<$($generics)*>)? ($($arg: $ty),*) $(-> $ret)? {
                body($($arg),*)
            }

            match isa {
                // SAFETY: the machine has the instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::device::cpu::isa::Isa::Avx512 if isa.is_available() => unsafe { avx512($($arg),*) },
                // SAFETY: the machine has the instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::device::cpu::isa::Isa::Avx2 if isa.is_available() => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            }
        }
    )+};
}
#[allow(
    clippy::allow_attributes,
    unused_imports,
    reason = "for the operations"
)]
pub(crate) use vectorized;

#[cfg(test)]
mod tests {
    use super::*;

    vectorized! {
        /// `a * x + b`, in place.
        fn affine[T: Copy + std::ops::Mul<Output = T> + std::ops::Add<Output = T>](a: T, b: T, x: &mut [T]) -> usize {
            for x in x.iter_mut() {
                *x = a * *x + b;
            }
            x.len()
        }
    }

    #[test]
    fn every_available_set_runs_the_same_source() {
        for &isa in available() {
            let mut x: Vec<f32> = (0u8..100).map(f32::from).collect();
            isa.vectorize(|| x.iter_mut().for_each(|x| *x = 2.0 * *x + 1.0));
            let n = affine(isa, 2.0, 1.0, &mut x);
            assert_eq!(n, 100);
            assert!(
                (0u8..100)
                    .zip(&x)
                    .all(|(i, &x)| x == 4.0 * f32::from(i) + 3.0),
                "{isa:?}"
            );
        }
    }

    #[test]
    fn an_override_narrows_and_ends_with_its_scope() {
        let best = isa();
        with_isa(Isa::Portable, || {
            assert_eq!(isa(), Isa::Portable);
            assert!(!has_bf16() && !has_vnni());
        });
        with_dot_products(false, || {
            assert!(!has_bf16() && !has_vnni() && isa() == best)
        });
        with_dot_products(true, || assert_eq!(has_bf16(), machine().bf16));
        let caught = std::panic::catch_unwind(|| with_isa(Isa::Portable, || panic!("inside")));
        assert!(caught.is_err());
        assert_eq!(isa(), best);
        #[cfg(target_arch = "x86_64")]
        with_isa(Isa::Neon, || assert_eq!(isa(), best));
    }
}
