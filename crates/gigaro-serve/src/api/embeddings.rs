//! `/v1/embeddings`: texts as vectors, for search and comparison.
//!
//! An embedding is the mean of the last layer's normalised hidden states over all tokens of the text, scaled to length 1. No model here is
//! trained for it: near texts have near vectors because the model reads them alike.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gigaro_models::generate::SamplingParams;
use serde_json::{Value, json};

use super::completions::prompts;
use super::fields::{Body, Fields};
use super::generation::submit;
use super::{ApiError, asked_model, blocking, cache_scope, json_response, sampling};
use crate::engine::{Event, GenerateRequest, ReadyModel, Ticket};
use crate::server::{App, Caller};

/// Gives the embedding of each text.
pub(super) async fn embeddings(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let plan = blocking(move || Plan::read(&app, &caller, &body)).await?;
    let tokens: usize = plan.requests.iter().map(|r| r.prompt.len()).sum();
    let tickets = submit(&plan.model, plan.requests).await?;
    let mut data = Vec::with_capacity(tickets.len());
    for (index, ticket) in tickets.into_iter().enumerate() {
        let vector = unit(embedding(ticket).await?, plan.dimensions);
        let embedding = if plan.base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            Value::from(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        data.push(json!({ "object": "embedding", "index": index, "embedding": embedding }));
    }
    let object = json!({
        "object": "list",
        "data": data,
        "model": plan.name,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    });
    Ok(json_response(StatusCode::OK, &object))
}

/// What a request asks for, checked.
struct Plan {
    model: Arc<ReadyModel>,
    name: String,
    requests: Vec<GenerateRequest>,
    dimensions: usize,
    base64: bool,
}

impl Plan {
    fn read(app: &App, caller: &Caller, body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let (model, heading) = asked_model(app, &mut fields, "embd")?;
        let facts = &model.facts;
        let prompts = prompts(&mut fields, &model.tokenizer, facts.vocab_size, "input")?;
        let base64 = match fields.text("encoding_format")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                let sentence = "encoding_format must be float or base64";
                return Err(ApiError::bad_field("encoding_format", sentence));
            }
        };
        let dimensions = fields.count("dimensions", 1..=facts.width)?;
        let cache_scope = cache_scope(&mut fields, caller)?;
        fields.finish()?;
        let mut requests = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            sampling::check_prompt(&prompt.ids, 0, facts.context, "input")?;
            requests.push(GenerateRequest {
                prompt: prompt.ids,
                params: SamplingParams {
                    max_tokens: 0,
                    ..SamplingParams::default()
                },
                prompt_logprobs: None,
                constraint: None,
                embed: true,
                tenant: caller.name.clone(),
                cache_scope: cache_scope.clone(),
            });
        }
        Ok(Self {
            name: heading.model,
            requests,
            dimensions: dimensions.unwrap_or(facts.width),
            base64,
            model,
        })
    }
}

async fn embedding(mut ticket: Ticket) -> Result<Vec<f32>, ApiError> {
    let mut found = None;
    while let Some(event) = ticket.next().await {
        match event {
            Event::Embedding(vector) => found = Some(vector),
            Event::Failed(failure) => return Err(failure.into()),
            Event::Admitted
            | Event::PromptLogprobs(_)
            | Event::Token { .. }
            | Event::Finished { .. } => {}
        }
    }
    found.ok_or_else(ApiError::bug)
}

/// Its first `dimensions` numbers, scaled to length 1; zeros stay zeros.
fn unit(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    vector.truncate(dimensions);
    let square: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = square.sqrt();
    if length > 0.0 {
        for x in &mut vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
    vector
}
