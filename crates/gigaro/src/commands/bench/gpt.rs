//! `gigaro bench gpt`: one training step of a GPT, forward, backward and AdamW.
//!
//! FLOPs are counted as the peers count them: `6 (12 L C^2 + V C) + 12 L C T` per token, which is matrix products and attention
//! without the causal saving.

use anyhow::{Result, bail};
use gigaro_models::{Gpt, GptConfig};
use gigaro_nn::Mode;
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW, Optimizer, ParamGroup};
use gigaro_tensor::{DType, Generator, Tensor, autocast, cuda};
use gigaro_train::quantity::{Bytes, Count};
use gigaro_train::resources::memory_available;
use serde_json::json;

use super::presets::Preset;
use super::timing::median_seconds;
use super::{BenchArgs, BenchDtype, report};
use crate::device;
use crate::output::Output;

/// Train a GPT on random tokens
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  gigaro bench gpt --preset small --dtype bf16")]
pub(super) struct Args {
    /// Model to train
    #[arg(long, value_enum, value_name = "NAME", default_value = "small")]
    preset: Preset,

    /// Sequences per step [default: the preset's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,

    /// Numbers that matrix products compute in; weights stay 32-bit
    #[arg(long, value_enum, value_name = "TYPE", default_value = "f32")]
    dtype: BenchDtype,

    #[command(flatten)]
    pub(super) shared: BenchArgs,
}

/// The learning rate: nothing depends on it.
const LR: f64 = 3e-4;

pub(super) fn run(args: &Args, output: &Output) -> Result<()> {
    args.shared.machine.apply()?;
    let config = args.preset.config();
    let batch = args.batch.map_or(args.preset.batch(), |b| b as usize);
    check_memory(&config, batch)?;
    let random = Generator::new(0);
    let model = Gpt::new(&config, &random);
    device::place(&model);
    let seconds = step_seconds(&model, batch, args, &random);
    let tokens = (batch * config.max_seq_len) as f64;
    let (flops, params) = (
        tokens * flops_per_token(&config) / seconds,
        config.num_params(),
    );
    output.say(format_args!(
        "{} in {}, {} parameters, batch {batch} x {}: {:.0} tokens/s, {:.1} ms per step, {:.1} GFLOP/s, {:.0} % of peak",
        args.preset.name(),
        args.dtype.name(),
        Count(params as f64),
        config.max_seq_len,
        tokens / seconds,
        seconds * 1e3,
        flops / 1e9,
        100.0 * flops / args.dtype.peak_flops()
    ));
    let figures = json!({
        "tokens_per_s": tokens / seconds,
        "step_ms": seconds * 1e3,
        "gflops": flops / 1e9,
        "params": params,
    });
    report("gpt", args.dtype.name(), figures, output)
}

/// Seconds of one step: loss, gradients, AdamW at the peers' settings.
fn step_seconds(model: &Gpt, batch: usize, args: &Args, random: &Generator) -> f64 {
    let parameters = model.named_parameters();
    let all = ParamGroup::new(parameters.clone()).weight_decay(0.1);
    let mut optimizer = AdamW::new(vec![all], AdamOptions::default());
    let shape = [batch, model.config.max_seq_len];
    let tokens = || {
        Tensor::randint(
            0,
            model.config.vocab_size as i64,
            shape,
            DType::I64,
            device::chosen(),
            random,
        )
    };
    let (ids, targets) = (tokens(), tokens()); // (B, T)
    let mode = Mode::Train(random.clone());
    let dtype = match args.dtype {
        BenchDtype::F32 => DType::F32,
        BenchDtype::Bf16 => DType::BF16,
    };
    let gradients = || {
        let loss = autocast(dtype, || model.loss(&ids, &targets, &mode));
        parameters.iter().for_each(|(_, p)| p.zero_grad());
        loss.backward();
    };
    if let Some(graph) = captured(&gradients, &mut optimizer, random) {
        return median_seconds(args.shared.repeats, || {
            if let Some(optimizer) = optimizer.repeatable() {
                optimizer.prepare(LR);
            }
            // Nothing moves the model here; a step that was not done would be far too fast.
            assert!(graph.replay(), "the model has moved");
            device::finish();
        });
    }
    median_seconds(args.shared.repeats, || {
        gradients();
        optimizer.step(LR, 1.0);
        device::finish();
    })
}

/// The step as one call, where a card can repeat it.
fn captured(
    gradients: &impl Fn(),
    optimizer: &mut AdamW,
    random: &Generator,
) -> Option<cuda::Graph> {
    optimizer.repeatable()?;
    // Once in the usual way, which compiles the kernels.
    gradients();
    optimizer.step(LR, 1.0);
    let work = || {
        gradients();
        if let Some(optimizer) = optimizer.repeatable() {
            optimizer.capture(None);
        }
        optimizer.zero_grad();
    };
    let captured = cuda::Graph::capture(device::chosen(), Some(random), None, work);
    captured.ok().map(|(graph, ())| graph)
}

fn flops_per_token(config: &GptConfig) -> f64 {
    let [l, c, v, t] = [
        config.n_layer,
        config.d_model,
        config.vocab_size,
        config.max_seq_len,
    ]
    .map(|n| n as f64);
    6.0 * (12.0 * l * c * c + v * c) + 12.0 * l * c * t
}

fn check_memory(config: &GptConfig, batch: usize) -> Result<()> {
    let needed = config
        .memory_estimate(batch.saturating_mul(config.max_seq_len), false)
        .total();
    match memory_available() {
        Some(available) if needed > available => bail!(
            "a batch of {batch} needs about {} of memory, but only {} are available: choose a smaller --batch",
            Bytes(needed),
            Bytes(available)
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_flops_are_those_of_the_peers_side() {
        let small = Preset::Small.config();
        assert_eq!(small.num_params(), 12_318_720);
        let c = 384.0 * 384.0;
        assert_eq!(
            flops_per_token(&small),
            6.0 * (72.0 * c + 4096.0 * 384.0) + 72.0 * 384.0 * 256.0
        );
        assert_eq!(Preset::Gpt2Full.config().num_params(), 124_439_808);
    }
}
