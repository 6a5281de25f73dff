//! What a run will cost, told before it starts: parameters, FLOPs, memory by part, disk, time.
//!
//! Pure arithmetic on what the caller knows of model, data and machine; nothing here allocates a
//! tensor or looks at the machine. The plan also picks the micro-batch, the number of sequences that
//! go through the model at once; gradients of the micro-batches of one step are added up.

use std::fmt;

use crate::error::{Error, Result};
use crate::quantity::{Bytes, Count, Seconds};

/// What the plan needs to know of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ModelSize {
    /// All trained numbers.
    pub parameters: u64,
    /// Those that every token is multiplied with: without tables that are only looked up, with the
    /// output projection even where it shares the table's numbers.
    pub matrix_parameters: u64,
    /// Transformer layers.
    pub n_layer: u64,
    /// Width of the queries (heads times head width), per layer.
    pub attention_width: u64,
    /// Bytes kept for the backward pass, per token.
    pub activation_bytes_per_token: u64,
}

impl ModelSize {
    /// The activations that a decoder layer keeps for its backward pass, per token, times layers.
    ///
    /// Per layer, in elements: the block's input, two normalised inputs, q, k, v, the attention's
    /// output and the residual after it (8 C), and the MLP's hidden values before and after its
    /// activation (2 d_ff). Attention is tiled and logits are never held in full, so nothing grows
    /// with the square of the context or with the vocabulary.
    pub fn decoder_activation_bytes(
        n_layer: u64,
        d_model: u64,
        d_ff: u64,
        bytes_per_element: u64,
    ) -> u64 {
        n_layer * (8 * d_model + 2 * d_ff) * bytes_per_element
    }

    /// Floating-point operations to train on one token at context length `seq_len`:
    /// `6 N + 12 L C T`, forward and backward, counting a multiply-add as two and attention without
    /// the saving of causality, as the field compares them (PaLM, arXiv 2204.02311, appendix B).
    pub fn train_flops_per_token(&self, seq_len: u64) -> f64 {
        6.0 * self.matrix_parameters as f64
            + 12.0 * (self.n_layer * self.attention_width * seq_len) as f64
    }
}

/// What is asked of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunSize {
    /// Optimiser steps in all.
    pub steps: u64,
    /// Sequences per optimiser step.
    pub batch: u64,
    /// Tokens per sequence.
    pub seq_len: u64,
    /// Numbers that the optimiser keeps per parameter: 2 for Adam, 1 for momentum, 0 for plain SGD.
    pub optimizer_numbers: u64,
    /// Whether an averaged copy of the weights is kept.
    pub ema: bool,
    /// Checkpoints that stay on the disk.
    pub checkpoints_kept: u64,
    /// Sequences through the model at once, if the user says so.
    pub micro_batch: Option<u64>,
}

/// Bytes of memory by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The weights in f32, with the averaged copy if there is one.
    pub weights: u64,
    /// One number per parameter.
    pub gradients: u64,
    /// The optimiser's moments.
    pub optimizer: u64,
    /// What one micro-batch leaves for its backward pass.
    pub activations: u64,
    /// The program, its buffers, a piece of the logits.
    pub other: u64,
}

impl Memory {
    /// The sum of the parts, in bytes.
    pub fn total(&self) -> u64 {
        self.weights + self.gradients + self.optimizer + self.activations + self.other
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Memory {
            weights,
            gradients,
            optimizer,
            activations,
            other,
        } = *self;
        let parts = [
            ("weights", weights),
            ("gradients", gradients),
            ("optimizer", optimizer),
            ("activations", activations),
            ("other", other),
        ];
        let texts = parts.map(|(name, bytes)| format!("{name} {}", Bytes(bytes)));
        f.write_str(&texts.join(", "))
    }
}

/// What a run will do and cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Trained numbers.
    pub parameters: u64,
    /// Optimiser steps in all.
    pub steps: u64,
    /// Sequences per optimiser step.
    pub batch: u64,
    /// Sequences through the model at once; divides `batch`.
    pub micro_batch: u64,
    /// Tokens per optimiser step.
    pub tokens_per_step: u64,
    /// Floating-point operations per trained token.
    pub flops_per_token: f64,
    /// Expected peak memory.
    pub memory: Memory,
    /// Bytes of the checkpoints that stay, plus the one being written.
    pub disk_bytes: u64,
    /// The rate that the time is computed from, in FLOP/s, if known.
    pub flops_per_s: Option<f64>,
}

/// Beyond this many tokens a larger micro-batch only takes memory: every product is large by then.
const ENOUGH_TOKENS: u64 = 8192;
/// The program, its thread stacks, its buffers.
const BASE_BYTES: u64 = 96 << 20;
/// The share of free memory that a run may plan with; the rest is for everyone else's surprises.
const USABLE_PERCENT: u64 = 90;

impl Plan {
    /// Plans a run, picking the micro-batch unless one is given: the largest divisor of the batch
    /// that fits into `memory_available` bytes and is of use (8192 tokens are enough).
    ///
    /// # Errors
    /// [`Error::NotEnoughMemory`] with the parts and what to do; [`Error::BadSetting`] for sizes of
    /// zero or a micro-batch that does not divide the batch.
    pub fn new(
        model: &ModelSize,
        run: &RunSize,
        memory_available: Option<u64>,
        flops_per_s: Option<f64>,
    ) -> Result<Self> {
        check_sizes(run)?;
        let usable = memory_available.map(|bytes| bytes / 100 * USABLE_PERCENT);
        let fits =
            |micro: u64| usable.is_none_or(|usable| memory(model, run, micro).total() <= usable);
        let useful = (ENOUGH_TOKENS / run.seq_len).clamp(1, run.batch);
        let mut divisors = (1..=useful)
            .rev()
            .filter(|micro| run.batch.is_multiple_of(*micro));
        let best = divisors.find(|micro| fits(*micro));
        let micro_batch = match (run.micro_batch, best) {
            (Some(given), _) if fits(given) => given,
            (Some(given), best) => {
                return Err(too_little(model, run, given, best, memory_available));
            }
            (None, Some(best)) => best,
            (None, None) => return Err(too_little(model, run, 1, None, memory_available)),
        };
        let checkpoint = 4 * model.parameters * (1 + run.optimizer_numbers + u64::from(run.ema));
        Ok(Plan {
            parameters: model.parameters,
            steps: run.steps,
            batch: run.batch,
            micro_batch,
            tokens_per_step: run.batch.saturating_mul(run.seq_len),
            flops_per_token: model.train_flops_per_token(run.seq_len),
            memory: memory(model, run, micro_batch),
            disk_bytes: checkpoint.saturating_mul(run.checkpoints_kept + 1),
            flops_per_s,
        })
    }

    /// Tokens of the whole run.
    pub fn tokens(&self) -> u64 {
        self.steps.saturating_mul(self.tokens_per_step)
    }

    /// Floating-point operations of the whole run.
    pub fn flops(&self) -> f64 {
        self.tokens() as f64 * self.flops_per_token
    }

    /// Expected seconds of the whole run, if the machine's rate is known.
    pub fn seconds(&self) -> Option<f64> {
        self.flops_per_s
            .filter(|rate| *rate > 0.0)
            .map(|rate| self.flops() / rate)
    }
}

impl fmt::Display for Plan {
    /// A table of aligned lines, without a final line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line =
            |f: &mut fmt::Formatter<'_>, name: &str, text: String| writeln!(f, "{name:<14}{text}");
        line(f, "parameters", Count(self.parameters as f64).to_string())?;
        let tokens = Count(self.tokens() as f64);
        line(
            f,
            "tokens",
            format!(
                "{tokens} ({} steps of {})",
                self.steps, self.tokens_per_step
            ),
        )?;
        let per_token = Count(self.flops_per_token);
        line(
            f,
            "compute",
            format!("{:.2e} FLOPs ({per_token} per token)", self.flops()),
        )?;
        line(
            f,
            "memory",
            format!("{} ({})", Bytes(self.memory.total()), self.memory),
        )?;
        line(
            f,
            "disk",
            format!("{} for checkpoints", Bytes(self.disk_bytes)),
        )?;
        let passes = self.batch / self.micro_batch;
        let passes = if passes == 1 {
            "in one pass".into()
        } else {
            format!("in {passes} passes of {}", self.micro_batch)
        };
        line(f, "batch", format!("{} sequences, {passes}", self.batch))?;
        match (self.seconds(), self.flops_per_s) {
            (Some(s), Some(rate)) => write!(
                f,
                "{:<14}{} at {:.0} GFLOP/s",
                "expected time",
                Seconds(s),
                rate / 1e9
            ),
            _ => write!(f, "{:<14}not known before the first steps", "expected time"),
        }
    }
}

fn check_sizes(run: &RunSize) -> Result<()> {
    let bad = |name, value: u64, why: &str| {
        Err(Error::BadSetting {
            name,
            value: value.to_string(),
            why: why.into(),
        })
    };
    if run.batch == 0 {
        return bad("--batch", 0, "at least one sequence must go into a step");
    }
    if run.seq_len == 0 {
        return bad("--seq-len", 0, "a sequence has at least one token");
    }
    match run.micro_batch {
        Some(micro) if micro == 0 || !run.batch.is_multiple_of(micro) => bad(
            "--micro-batch",
            micro,
            &format!("it must divide the batch of {}", run.batch),
        ),
        _ => Ok(()),
    }
}

fn memory(model: &ModelSize, run: &RunSize, micro_batch: u64) -> Memory {
    let numbers = 4 * model.parameters; // f32
    Memory {
        weights: numbers * (1 + u64::from(run.ema)),
        gradients: numbers,
        optimizer: numbers * run.optimizer_numbers,
        activations: micro_batch
            .saturating_mul(run.seq_len)
            .saturating_mul(model.activation_bytes_per_token),
        other: BASE_BYTES,
    }
}

fn too_little(
    model: &ModelSize,
    run: &RunSize,
    micro: u64,
    best: Option<u64>,
    available: Option<u64>,
) -> Error {
    let need = memory(model, run, micro);
    let advice = match best {
        Some(best) => format!("use --micro-batch {best}"),
        None => "use a smaller model or a shorter context, or free some memory".into(),
    };
    Error::NotEnoughMemory {
        what: if micro == 1 {
            "this run".into()
        } else {
            format!("this run with --micro-batch {micro}")
        },
        need: Bytes(need.total()).to_string(),
        parts: need.to_string(),
        free: available.map_or("an unknown amount".into(), |bytes| Bytes(bytes).to_string()),
        advice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 6 layers, width 384, vocabulary 4096: the project's `small` preset.
    fn small() -> ModelSize {
        let (l, c, v, t) = (6, 384, 4096, 256);
        ModelSize {
            parameters: 12 * l * c * c + (v + t) * c,
            matrix_parameters: 12 * l * c * c + v * c,
            n_layer: l,
            attention_width: c,
            activation_bytes_per_token: ModelSize::decoder_activation_bytes(l, c, 4 * c, 4),
        }
    }

    fn run() -> RunSize {
        RunSize {
            steps: 1000,
            batch: 16,
            seq_len: 256,
            optimizer_numbers: 2,
            ema: false,
            checkpoints_kept: 2,
            micro_batch: None,
        }
    }

    #[test]
    fn flops_are_counted_as_the_field_counts_them() {
        let (l, c, v, t) = (6.0, 384.0, 4096.0, 256.0);
        let expected = 6.0 * (12.0 * l * c * c + v * c) + 12.0 * l * c * t;
        assert_eq!(small().train_flops_per_token(256), expected);
    }

    #[test]
    fn with_plenty_of_memory_the_micro_batch_is_as_large_as_is_of_use() {
        let plan = |batch, seq_len| {
            Plan::new(
                &small(),
                &RunSize {
                    batch,
                    seq_len,
                    ..run()
                },
                None,
                None,
            )
            .unwrap()
            .micro_batch
        };
        assert_eq!(plan(16, 256), 16);
        assert_eq!(plan(96, 256), 32);
        assert_eq!(plan(4, 100_000), 1);
        assert_eq!(plan(7, 4096), 1);
    }

    #[test]
    fn a_batch_beyond_all_bounds_is_planned_at_once() {
        let batch = u64::MAX >> 1;
        let plan = Plan::new(&small(), &RunSize { batch, ..run() }, None, None).unwrap();
        assert!(plan.micro_batch <= 32 && batch.is_multiple_of(plan.micro_batch));
    }

    #[test]
    fn with_little_memory_the_micro_batch_shrinks_until_it_fits() {
        let full = memory(&small(), &run(), 16).total();
        let plan = Plan::new(&small(), &run(), Some(full), None).unwrap();
        assert_eq!(plan.micro_batch, 8, "a tenth stays free");
        assert!(plan.memory.total() <= full / 10 * 9);
    }

    #[test]
    fn a_given_micro_batch_that_does_not_fit_gets_one_that_does() {
        let free = memory(&small(), &run(), 4).total() * 10 / 9 + 100;
        let error = Plan::new(
            &small(),
            &RunSize {
                micro_batch: Some(16),
                ..run()
            },
            Some(free),
            None,
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.starts_with("this run with --micro-batch 16 needs")
                && error.ends_with("use --micro-batch 4"),
            "{error}"
        );
        assert!(
            error.contains("activations") && error.contains("is free"),
            "{error}"
        );
    }

    #[test]
    fn a_model_that_never_fits_says_so() {
        let error = Plan::new(&small(), &run(), Some(1 << 20), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("smaller model"), "{error}");
    }

    #[test]
    fn senseless_sizes_are_sentences() {
        for (run, name) in [
            (RunSize { batch: 0, ..run() }, "--batch"),
            (
                RunSize {
                    seq_len: 0,
                    ..run()
                },
                "--seq-len",
            ),
            (
                RunSize {
                    micro_batch: Some(5),
                    ..run()
                },
                "--micro-batch",
            ),
            (
                RunSize {
                    micro_batch: Some(0),
                    ..run()
                },
                "--micro-batch",
            ),
        ] {
            assert!(
                Plan::new(&small(), &run, None, None)
                    .unwrap_err()
                    .to_string()
                    .starts_with(name)
            );
        }
    }

    #[test]
    fn the_plan_reads_as_a_table() {
        let text = Plan::new(&small(), &run(), None, Some(140e9))
            .unwrap()
            .to_string();
        assert!(
            text.starts_with("parameters    12.3M\ntokens        4.10M (1000 steps of 4096)\n"),
            "{text}"
        );
        assert!(text.ends_with("at 140 GFLOP/s"), "{text}");
        assert!(text.contains("16 sequences, in one pass"), "{text}");
    }
}
