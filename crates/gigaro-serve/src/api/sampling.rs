//! The fields that say how a reply is drawn: the same in all requests that ask for one.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use gigaro_models::generate::{ParamsError, SamplingParams};
use serde_json::Value;

use super::ApiError;
use super::fields::{Fields, whole, wrong_kind};

/// Stop strings of a request: each byte of a reply is compared with all of them.
const MAX_STOPS: usize = 64;
/// Bytes of a stop string.
const MAX_STOP_BYTES: usize = 1024;
/// Alternatives for each token, as OpenAI has it.
pub(super) const MAX_TOP_LOGPROBS: usize = 20;
/// Replies to one request: candidates of all prompts together.
pub(super) const MAX_REPLIES: usize = 256;

/// How to draw, but for the number of tokens and for log-probabilities, which requests name differently.
///
/// OpenAI's defaults: temperature 1 without any filter. Without a seed each request gets another.
pub(super) fn sampling(fields: &mut Fields, vocab_size: usize) -> Result<SamplingParams, ApiError> {
    let mut params = SamplingParams::default();
    for (name, field) in [
        ("temperature", &mut params.temperature),
        ("top_p", &mut params.top_p),
        ("min_p", &mut params.min_p),
        ("presence_penalty", &mut params.presence_penalty),
        ("frequency_penalty", &mut params.frequency_penalty),
        ("repetition_penalty", &mut params.repetition_penalty),
    ] {
        if let Some(number) = fields.number(name)? {
            *field = number;
        }
    }
    // -1 for all tokens is vLLM's way to say it, 0 that of others.
    if let Some(k) = fields.integer("top_k", -1..=i64::from(i32::MAX))? {
        params.top_k = k.max(0) as usize;
    }
    params.seed = seed(fields)?;
    params.ignore_eos = fields.flag("ignore_eos")?;
    params.stop = stop(fields)?;
    params.logit_bias = logit_bias(fields)?;
    params.validate(vocab_size).map_err(|error| {
        let field = match error {
            ParamsError::OutOfRange { name, .. } => name,
            ParamsError::UnknownToken { .. } => "logit_bias",
            ParamsError::NoTokens => "max_tokens",
            ParamsError::EmptyStop { .. } => "stop",
            ParamsError::TooManyLogprobs { .. } => "logprobs",
        };
        ApiError::bad_field(field, error.to_string())
    })?;
    Ok(params)
}

fn seed(fields: &mut Fields) -> Result<u64, ApiError> {
    match fields.take("seed") {
        None => Ok(random()),
        Some(value) => value
            .as_u64()
            // Negative seeds are seeds like any others.
            .or_else(|| whole(&value).map(i64::cast_unsigned))
            .ok_or_else(|| wrong_kind("seed", "a whole number of 64 bits", &value)),
    }
}

/// A number that nobody else has: keys that the standard library draws from the system.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// One string or a list of them.
fn stop(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let wanted = "a string or a list of strings, none of them empty";
    let Some(value) = fields.take("stop") else {
        return Ok(Vec::new());
    };
    let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let stops: Option<Vec<String>> = match &value {
        Value::Array(list) => list.iter().map(text).collect(),
        one => text(one).map(|stop| vec![stop]),
    };
    let stops = stops.ok_or_else(|| wrong_kind("stop", wanted, &value))?;
    if stops.len() > MAX_STOPS || stops.iter().any(|stop| stop.len() > MAX_STOP_BYTES) {
        let sentence =
            format!("stop takes at most {MAX_STOPS} strings of at most {MAX_STOP_BYTES} bytes");
        return Err(ApiError::bad_field("stop", sentence));
    }
    Ok(stops)
}

fn logit_bias(fields: &mut Fields) -> Result<BTreeMap<u32, f32>, ApiError> {
    let Some(value) = fields.take("logit_bias") else {
        return Ok(BTreeMap::new());
    };
    let wanted = "an object from token ids to numbers";
    let wrong = || wrong_kind("logit_bias", wanted, &value);
    let Value::Object(object) = &value else {
        return Err(wrong());
    };
    let biases = object.iter().map(|(token, bias)| {
        let bias = bias
            .as_f64()
            .ok_or_else(|| wrong_kind(&format!("logit_bias.{token}"), "a number", bias))?;
        Ok((token.parse().map_err(|_| wrong())?, bias as f32))
    });
    biases.collect()
}

/// The most tokens to write: `None` if nothing is said. `names` are spellings of the same.
pub(super) fn max_tokens(
    fields: &mut Fields,
    names: &[&'static str],
    least: usize,
    context: usize,
) -> Result<Option<usize>, ApiError> {
    let mut found: Option<usize> = None;
    for name in names {
        let Some(value) = fields.take(name) else {
            continue;
        };
        let wanted =
            format!("a whole number from {least} to the model's context of {context} tokens");
        let number = whole(&value).and_then(|n| usize::try_from(n).ok());
        let number = number.filter(|n| (least..=context).contains(n));
        let number = number.ok_or_else(|| wrong_kind(name, &wanted, &value))?;
        if found.is_some_and(|other| other != number) {
            let sentence = format!("{} differ: give one of them", names.join(" and "));
            return Err(ApiError::bad_field(*name, sentence));
        }
        found = Some(number);
    }
    Ok(found)
}

/// Refuses a prompt that leaves no room for `least` tokens of reply.
pub(super) fn check_prompt(
    prompt: &[u32],
    least: usize,
    context: usize,
    param: &str,
) -> Result<(), ApiError> {
    let n = prompt.len();
    if n == 0 {
        let sentence = format!("{param} has no tokens: there is nothing to go on with");
        return Err(ApiError::bad_field(param, sentence));
    }
    if n + least > context {
        let sentence = format!(
            "{param} has {n} tokens, but this model looks at {context} at most, the reply included: shorten it"
        );
        return Err(ApiError::bad_field(param, sentence).code("context_length_exceeded"));
    }
    Ok(())
}

/// What no model here can do yet; the same for all requests for text.
pub(super) fn refuse_what_is_missing(fields: &mut Fields) -> Result<(), ApiError> {
    let is_false = |value: &Value| *value == Value::Bool(false);
    let store = "conversations are not kept by this address; keep them yourself";
    fields.refuse("store", is_false, store)?;
    let is_empty = |value: &Value| value.as_object().is_some_and(serde_json::Map::is_empty);
    fields.refuse("metadata", is_empty, store)?;
    refuse_service_tier(fields)
}

/// Any tier but the usual one.
pub(super) fn refuse_service_tier(fields: &mut Fields) -> Result<(), ApiError> {
    let is_usual = |value: &Value| *value == "auto" || *value == "default";
    fields.refuse("service_tier", is_usual, "all requests are served alike")
}

/// Whether to stream, and whether the stream ends with the number of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Streaming {
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

pub(super) fn streaming(fields: &mut Fields) -> Result<Streaming, ApiError> {
    let stream = fields.flag("stream")?;
    let mut include_usage = false;
    if let Some(options) = fields.take("stream_options") {
        if !stream {
            let sentence = "stream_options only makes sense with stream: true";
            return Err(ApiError::bad_field("stream_options", sentence));
        }
        let mut options = Fields::inside(options, "stream_options")?;
        include_usage = options.flag("include_usage")?;
        options.finish()?;
    }
    Ok(Streaming {
        stream,
        include_usage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<SamplingParams, String> {
        let mut fields = Fields::parse(json.as_bytes()).map_err(|e| e.message().to_owned())?;
        let params = sampling(&mut fields, 10).map_err(|e| e.message().to_owned())?;
        fields.finish().map_err(|e| e.message().to_owned())?;
        Ok(params)
    }

    #[test]
    fn every_field_reaches_the_sampler() {
        let params = read(
            r#"{"temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": -1, "stop": "x", "ignore_eos": true,
            "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.5, "logit_bias": {"3": -100}}"#,
        );
        let expected = SamplingParams {
            temperature: 0.5,
            top_p: 0.9,
            top_k: 40,
            min_p: 0.1,
            seed: u64::MAX,
            stop: vec!["x".into()],
            ignore_eos: true,
            presence_penalty: 1.0,
            frequency_penalty: -1.0,
            repetition_penalty: 1.5,
            logit_bias: [(3, -100.0)].into(),
            ..SamplingParams::default()
        };
        assert_eq!(params, Ok(expected));
    }

    #[test]
    fn without_a_seed_no_two_requests_are_alike() {
        let seeds: Vec<_> = (0..3).map(|_| read("{}").map(|p| p.seed)).collect();
        assert!(seeds[0].is_ok() && seeds[0] != seeds[1] && seeds[1] != seeds[2]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (json, begin) in [
            (r#"{"temperature": -1}"#, "temperature is -1"),
            (r#"{"temperature": 1e300}"#, "temperature is inf"),
            (r#"{"top_p": 0}"#, "top_p is 0"),
            (r#"{"top_k": -2}"#, "top_k must be"),
            (r#"{"stop": ["a", ""]}"#, "stop must be"),
            (r#"{"stop": 3}"#, "stop must be"),
            (r#"{"seed": 1.5}"#, "seed must be"),
            (r#"{"logit_bias": {"99": 1}}"#, "logit_bias names token 99"),
            (r#"{"logit_bias": {"a": 1}}"#, "logit_bias must be"),
            (r#"{"logit_bias": {"1": "x"}}"#, "logit_bias.1 must be"),
            (r#"{"ignore_eos": 1}"#, "ignore_eos must be true or false"),
        ] {
            let sentence = read(json).expect_err(json);
            assert!(sentence.starts_with(begin), "{json}: {sentence}");
        }
        let many = format!(r#"{{"stop": {:?}}}"#, vec!["x"; 65]);
        assert!(read(&many).is_err());
    }
}
