//! `gigaro bench attention`: causal attention forward and backward, `(B, H, T, D)`.

use anyhow::Result;
use gigaro_tensor::{DType, Generator, Tensor, autocast, functional};
use serde_json::json;

use super::timing::median_seconds;
use super::{BenchArgs, BenchDtype, report};
use crate::device;
use crate::output::Output;

/// Causal attention of random queries, keys and values, with its gradients
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  gigaro bench attention --batch 8 --heads 12 --tokens 4096 --channels 64 --dtype bf16"
)]
pub(super) struct Args {
    /// Texts
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Heads
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..))]
    heads: u16,

    /// Tokens of a text
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u16).range(1..))]
    tokens: u16,

    /// Channels of a head
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    channels: u16,

    /// Numbers that products compute in
    #[arg(long, value_enum, value_name = "TYPE", default_value = "bf16")]
    dtype: BenchDtype,

    #[command(flatten)]
    pub(super) shared: BenchArgs,
}

pub(super) fn run(args: &Args, output: &Output) -> Result<()> {
    args.shared.machine.apply()?;
    let [b, h, t, d] = [args.batch, args.heads, args.tokens, args.channels].map(usize::from);
    let dtype = match args.dtype {
        BenchDtype::F32 => DType::F32,
        BenchDtype::Bf16 => DType::BF16,
    };
    let random = Generator::new(0);
    let draw = || {
        let x = Tensor::randn([b, t, h, d], DType::F32, device::chosen(), &random);
        x.requires_grad_(true)
    };
    let inputs = [draw(), draw(), draw()];
    let heads = |i: usize| inputs[i].transpose(1, 2);
    let seconds = median_seconds(args.shared.repeats, || {
        autocast(dtype, || {
            let y = functional::scaled_dot_product_attention(
                &heads(0),
                &heads(1),
                &heads(2),
                None,
                true,
                None,
            );
            y.backward_with(&y.detach());
        });
        inputs.iter().for_each(Tensor::zero_grad);
        device::finish();
    });
    // Two products forwards and five backwards, and half of each is hidden by the causal rule.
    let flops = 7.0 * (b * h) as f64 * (t * t) as f64 * d as f64 / seconds;
    output.say(format_args!(
        "{} attention ({b}, {h}, {t}, {d}): {:.3} ms forward and backward, {:.1} GFLOP/s",
        args.dtype.name(),
        seconds * 1e3,
        flops / 1e9,
    ));
    let figures = json!({ "ms": seconds * 1e3, "gflops": flops / 1e9 });
    report("attention", args.dtype.name(), figures, output)
}
