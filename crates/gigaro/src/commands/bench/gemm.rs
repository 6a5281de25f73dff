//! `gigaro bench gemm`: one matrix product, `(M, K) x (K, N)`.

use anyhow::{Result, bail};
use gigaro_tensor::{DType, Generator, Tensor, autocast, no_grad};
use gigaro_train::quantity::Bytes;
use gigaro_train::resources::memory_available;
use serde_json::json;

use super::timing::median_seconds;
use super::{BenchArgs, BenchDtype, report};
use crate::device;
use crate::output::Output;

/// Multiply two matrices of random numbers
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gigaro bench gemm --m 2048 --n 768 --k 3072 --dtype bf16")]
pub(super) struct Args {
    /// Rows of the left matrix and of the result
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    m: u32,

    /// Columns of the right matrix and of the result
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,

    /// Columns of the left and rows of the right matrix
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,

    /// Numbers to multiply
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    dtype: BenchDtype,

    #[command(flatten)]
    pub(super) shared: BenchArgs,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<()> {
    args.shared.machine.apply()?;
    check_memory(args)?;
    let [m, n, k] = [args.m, args.n, args.k].map(|n| n as usize);
    let flops = flops([m, n, k], args.dtype, args.shared.repeats);
    let seconds = 2.0 * m as f64 * n as f64 * k as f64 / flops;
    output.say(format_args!(
        "{} {m} x {n} x {k}: {:.3} ms, {:.1} GFLOP/s, {:.0} % of peak",
        args.dtype.name(),
        seconds * 1e3,
        flops / 1e9,
        100.0 * flops / args.dtype.peak_flops()
    ));
    report(
        "gemm",
        args.dtype.name(),
        json!({ "gflops": flops / 1e9, "ms": seconds * 1e3 }),
        output,
    )
}

/// Floating-point operations per second of a product of random matrices.
pub(super) fn flops([m, n, k]: [usize; 3], dtype: BenchDtype, repeats: u16) -> f64 {
    let dtype = match dtype {
        BenchDtype::F32 => DType::F32,
        BenchDtype::Bf16 => DType::BF16,
    };
    let random = Generator::new(0);
    let x = Tensor::randn([m, k], dtype, device::chosen(), &random); // (M, K)
    let y = Tensor::randn([k, n], dtype, device::chosen(), &random); // (K, N)
    let product = || {
        drop(std::hint::black_box(x.matmul(&y)));
        device::finish();
    };
    let timed = || no_grad(|| median_seconds(repeats, product));
    2.0 * m as f64 * n as f64 * k as f64 / autocast(dtype, timed)
}

fn check_memory(args: &Args) -> Result<()> {
    let (m, n, k) = (u64::from(args.m), u64::from(args.n), u64::from(args.k));
    // Two operands, the result, and the packed copy of one operand that a product makes.
    let numbers = u128::from(m) * u128::from(k)
        + 2 * u128::from(k) * u128::from(n)
        + u128::from(m) * u128::from(n);
    let needed = u64::try_from(numbers * 4).unwrap_or(u64::MAX);
    match memory_available() {
        Some(available) if needed > available => bail!(
            "this product needs {} of memory, but only {} are available: choose smaller --m, --n or --k",
            Bytes(needed),
            Bytes(available)
        ),
        _ => Ok(()),
    }
}
