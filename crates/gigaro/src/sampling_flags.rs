//! Flags that say how text is drawn, spelled as everywhere in the field.

use clap::Args;
use gigaro_models::generate::SamplingParams;
use serde_json::{Map, Value, json};

use crate::failure::Usage;
use crate::flags::count;

/// How to draw tokens.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Most tokens to write
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    max_tokens: Option<usize>,

    /// 0 always takes the most probable token; higher is more varied
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f32>,

    /// Draw from the N most probable tokens only; 0 draws from all
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    top_k: Option<usize>,

    /// Draw from the most probable tokens that together reach this probability
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    top_p: Option<f32>,

    /// Leave out tokens less probable than this share of the most probable one
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    min_p: Option<f32>,

    /// Make tokens that already occur less probable, prompt included; 1 does nothing
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    repetition_penalty: Option<f32>,

    /// Subtract this from the logits of tokens already written
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    presence_penalty: Option<f32>,

    /// Subtract this from the logits of tokens once for each time they were written
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,

    /// End before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl SamplingArgs {
    /// `base` with what the flags say instead.
    ///
    /// # Errors
    /// If that makes no sense for whatever model, so that a user need not wait for one to be read.
    pub(crate) fn over(
        &self,
        base: &SamplingParams,
        seed: Option<u64>,
    ) -> Result<SamplingParams, Usage> {
        let mut params = base.clone();
        let set = |field: &mut f32, flag: Option<f32>| *field = flag.unwrap_or(*field);
        set(&mut params.temperature, self.temperature);
        set(&mut params.top_p, self.top_p);
        set(&mut params.min_p, self.min_p);
        set(&mut params.repetition_penalty, self.repetition_penalty);
        set(&mut params.presence_penalty, self.presence_penalty);
        set(&mut params.frequency_penalty, self.frequency_penalty);
        params.max_tokens = self.max_tokens.unwrap_or(params.max_tokens);
        params.top_k = self.top_k.unwrap_or(params.top_k);
        params.seed = seed.unwrap_or(params.seed);
        if !self.stop.is_empty() {
            params.stop.clone_from(&self.stop);
        }
        params
            .validate(usize::MAX)
            .map_err(|e| Usage(e.to_string()))?;
        Ok(params)
    }

    /// What the flags say, as fields of a request to a server; without them a chat is as [`usual`] as one without a server, and the rest is
    /// the server's to choose.
    pub(crate) fn given(&self, seed: Option<u64>) -> Map<String, Value> {
        let usual = usual();
        let fields = [
            (
                "temperature",
                json!(self.temperature.unwrap_or(usual.temperature)),
            ),
            ("top_p", json!(self.top_p.unwrap_or(usual.top_p))),
            ("top_k", json!(self.top_k)),
            ("min_p", json!(self.min_p)),
            ("repetition_penalty", json!(self.repetition_penalty)),
            ("presence_penalty", json!(self.presence_penalty)),
            ("frequency_penalty", json!(self.frequency_penalty)),
            ("max_tokens", json!(self.max_tokens)),
            ("seed", json!(seed)),
            ("stop", json!((!self.stop.is_empty()).then_some(&self.stop))),
        ];
        let said = fields.into_iter().filter(|(_, value)| !value.is_null());
        said.map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What a model draws with unless its recipe or a flag says otherwise.
pub(crate) fn usual() -> SamplingParams {
    SamplingParams {
        temperature: 0.8,
        top_p: 0.95,
        ..SamplingParams::default()
    }
}
