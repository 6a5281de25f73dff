//! `/v1/completions`: how texts go on, several at once, given as strings or as tokens.
//!
//! What programs that measure models use: with `echo` and `logprobs` it gives the log-probabilities of a text that is given.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use gigaro_data::Tokenizer;
use gigaro_models::generate::TokenLogprobs;
use serde_json::{Value, json};

use super::fields::{Body, Fields, wrong_kind};
use super::generation::{Choice, Chunks, collect, streamed, submit, usage_object};
use super::logprobs::Lists;
use super::output;
use super::sampling::{self, MAX_REPLIES, MAX_TOP_LOGPROBS, Streaming};
use super::text::{Prompt, document, tokens};
use super::{ApiError, Heading, asked_model, blocking, cache_scope, json_response};
use crate::engine::{Event, GenerateRequest, ReadyModel, Usage};
use crate::server::{App, Caller};

/// Tokens of a reply where nothing is said, as OpenAI has it.
const MAX_TOKENS: usize = 16;

/// Goes on at once, or as a stream.
pub(super) async fn completions(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let asked = app.clone();
    let plan = blocking(move || Plan::read(&asked, &caller, &body)).await?;
    let tickets = submit(&plan.model, plan.requests.clone()).await?;
    if plan.streaming.stream {
        let chunks = TextChunks {
            lists_at: vec![0; tickets.len()],
            usages: vec![None; tickets.len()],
            plan,
        };
        return Ok(streamed(&app, tickets, chunks));
    }
    let mut all = Vec::with_capacity(tickets.len());
    for ticket in tickets {
        all.push(collect(ticket).await?);
    }
    Ok(json_response(StatusCode::OK, &plan.answer(all)))
}

/// What a request asks for, checked.
pub(super) struct Plan {
    model: Arc<ReadyModel>,
    heading: Heading,
    prompts: Vec<Prompt>,
    /// `best_of` for each prompt, prompt after prompt.
    requests: Vec<GenerateRequest>,
    /// Replies that are given for each prompt.
    n: usize,
    /// Replies that are written for each prompt.
    best_of: usize,
    echo: bool,
    with_logprobs: bool,
    streaming: Streaming,
}

impl Plan {
    pub(super) fn read(app: &App, caller: &Caller, body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let (model, heading) = asked_model(app, &mut fields, "cmpl")?;
        let facts = &model.facts;
        let prompts = prompts(&mut fields, &model.tokenizer, facts.vocab_size, "prompt")?;
        let echo = fields.flag("echo")?;
        let mut params = sampling::sampling(&mut fields, facts.vocab_size)?;
        // A text that is only to be scored needs no reply.
        let least = usize::from(!echo);
        let most = sampling::max_tokens(&mut fields, &["max_tokens"], least, facts.context)?;
        params.max_tokens = most.unwrap_or(MAX_TOKENS);
        let top = fields.count("logprobs", 0..=MAX_TOP_LOGPROBS)?;
        let n = fields.count("n", 1..=MAX_REPLIES)?.unwrap_or(1);
        let best_of = fields.count("best_of", 1..=MAX_REPLIES)?.unwrap_or(n);
        let streaming = sampling::streaming(&mut fields)?;
        check_counts(n, best_of, prompts.len(), streaming)?;
        params.logprobs = top.or((best_of > n).then_some(0));
        let cache_scope = cache_scope(&mut fields, caller)?;
        let wanted = output::wanted(&mut fields)?;
        let constraint = output::constraint(&model, wanted.as_ref(), &params, false)?;
        sampling::refuse_what_is_missing(&mut fields)?;
        fields.refuse("suffix", |_| false, "this model only goes on from the left")?;
        fields.finish()?;
        let mut requests = Vec::with_capacity(prompts.len() * best_of);
        for prompt in &prompts {
            let least = usize::from(params.max_tokens > 0);
            sampling::check_prompt(&prompt.ids, least, facts.context, "prompt")?;
            let request = GenerateRequest {
                prompt: prompt.ids.clone(),
                params: params.clone(),
                prompt_logprobs: top.filter(|_| echo),
                constraint: constraint.clone(),
                embed: false,
                tenant: caller.name.clone(),
                cache_scope: cache_scope.clone(),
            };
            requests.extend((0..best_of as u64).map(|i| request.with_seed_after(i)));
        }
        Ok(Self {
            heading,
            model,
            prompts,
            requests,
            n,
            best_of,
            echo,
            with_logprobs: top.is_some(),
            streaming,
        })
    }

    /// The whole answer: of all that was written for a prompt the most probable, in OpenAI's order.
    fn answer(&self, all: Vec<Choice>) -> Value {
        let written = all.iter().map(|c| c.usage.completion_tokens).sum();
        let first_of_each = all.iter().step_by(self.best_of);
        let prompts: Vec<Usage> = first_of_each.map(|choice| choice.usage).collect();
        let mut choices = Vec::new();
        let mut all = all.into_iter();
        for prompt in &self.prompts {
            let mut candidates: Vec<Choice> = all.by_ref().take(self.best_of).collect();
            if self.best_of > self.n {
                let better = |a: &Choice, b: &Choice| b.mean_logprob().total_cmp(&a.mean_logprob());
                candidates.sort_by(better);
                candidates.truncate(self.n);
            }
            for choice in &candidates {
                choices.push(self.choice(choices.len(), prompt, choice));
            }
        }
        let mut object = self.heading.object("text_completion");
        object["choices"] = choices.into();
        object["usage"] = usage_object(&prompts, written);
        object
    }

    fn choice(&self, index: usize, prompt: &Prompt, choice: &Choice) -> Value {
        let logprobs = self.with_logprobs.then(|| {
            let mut lists = Lists::from(0);
            if self.echo {
                push_prompt(
                    &mut lists,
                    &self.model.tokenizer,
                    prompt,
                    &choice.prompt_logprobs,
                );
            }
            for (&token, report) in choice.tokens.iter().zip(&choice.logprobs) {
                lists.push(&self.model.tokenizer, token, Some(report));
            }
            // Programs that score a prompt count on one entry for the token that is drawn after it, whatever token that is.
            if let Some((token, report)) = &choice.end {
                lists.push_end(&self.model.tokenizer, *token, report);
            }
            lists.object()
        });
        let echoed = if self.echo { prompt.text.as_str() } else { "" };
        json!({
            "text": format!("{echoed}{}", choice.text),
            "index": index,
            "logprobs": logprobs,
            "finish_reason": choice.reason.as_str(),
        })
    }
}

fn check_counts(
    n: usize,
    best_of: usize,
    prompts: usize,
    streaming: Streaming,
) -> Result<(), ApiError> {
    if best_of < n {
        let sentence = format!("best_of is {best_of}, but must be at least n, which is {n}");
        return Err(ApiError::bad_field("best_of", sentence));
    }
    if best_of > n && streaming.stream {
        let sentence =
            "the best of several is only known when all are written: leave out stream, or best_of";
        return Err(ApiError::bad_field("best_of", sentence));
    }
    if prompts * best_of > MAX_REPLIES {
        let sentence = format!(
            "{prompts} prompts with {best_of} replies each are more than the {MAX_REPLIES} replies that a request may ask for"
        );
        return Err(ApiError::bad_field("prompt", sentence));
    }
    Ok(())
}

/// The texts in a field: a string, a list of strings, a list of tokens, or a list of such lists.
pub(super) fn prompts(
    fields: &mut Fields,
    tokenizer: &Tokenizer,
    vocab_size: usize,
    param: &'static str,
) -> Result<Vec<Prompt>, ApiError> {
    let value = fields.required(param)?;
    let wanted = "a string, a list of strings, a list of token ids, or a list of such lists";
    let list = match value {
        Value::String(text) => return Ok(vec![document(tokenizer, &text)]),
        Value::Array(list) if !list.is_empty() => list,
        other => return Err(wrong_kind(param, wanted, &other)),
    };
    if list.iter().all(Value::is_number) {
        let ids = tokens(&list, vocab_size, param)?;
        return Ok(vec![Prompt::of_tokens(tokenizer, ids)]);
    }
    if list.len() > MAX_REPLIES {
        let sentence = format!(
            "{param} has {} texts, but at most {MAX_REPLIES} are taken",
            list.len()
        );
        return Err(ApiError::bad_field(param, sentence));
    }
    let read = |(i, value): (usize, Value)| {
        let place = format!("{param}[{i}]");
        match value {
            Value::String(text) => Ok(document(tokenizer, &text)),
            Value::Array(list) => Ok(Prompt::of_tokens(
                tokenizer,
                tokens(&list, vocab_size, &place)?,
            )),
            other => Err(wrong_kind(
                &place,
                "a string or a list of token ids",
                &other,
            )),
        }
    };
    list.into_iter().enumerate().map(read).collect()
}

fn push_prompt(
    lists: &mut Lists,
    tokenizer: &Tokenizer,
    prompt: &Prompt,
    scores: &[TokenLogprobs],
) {
    for (i, &token) in prompt.ids.iter().enumerate().skip(prompt.hidden) {
        let report = i.checked_sub(1).and_then(|before| scores.get(before));
        lists.push(tokenizer, token, report);
    }
}

/// The chunks of streamed texts.
struct TextChunks {
    plan: Plan,
    /// Characters of each text so far.
    lists_at: Vec<usize>,
    usages: Vec<Option<Usage>>,
}

impl TextChunks {
    fn chunk(&self, index: usize, text: &str, logprobs: &Value, reason: Option<&str>) -> Value {
        let mut object = self.plan.heading.object("text_completion");
        object["choices"] = json!([{
            "text": text,
            "index": index,
            "logprobs": logprobs,
            "finish_reason": reason,
        }]);
        if self.plan.streaming.include_usage {
            object["usage"] = Value::Null;
        }
        object
    }

    /// The prompt as the first piece of its text.
    fn echo(&mut self, index: usize, scores: &[TokenLogprobs]) -> Value {
        let prompt = &self.plan.prompts[index / self.plan.best_of];
        let mut logprobs = Value::Null;
        if self.plan.with_logprobs {
            let mut lists = Lists::from(0);
            push_prompt(&mut lists, &self.plan.model.tokenizer, prompt, scores);
            self.lists_at[index] = lists.at();
            logprobs = lists.object();
        }
        self.chunk(index, &prompt.text, &logprobs, None)
    }

    /// The last piece, with the token that ended the text.
    fn end(
        &mut self,
        index: usize,
        text: &str,
        reason: &str,
        end: Option<(u32, TokenLogprobs)>,
    ) -> Value {
        let mut logprobs = Value::Null;
        if let Some((token, report)) = end.filter(|_| self.plan.with_logprobs) {
            let mut lists = Lists::from(self.lists_at[index]);
            lists.push_end(&self.plan.model.tokenizer, token, &report);
            logprobs = lists.object();
        }
        self.chunk(index, text, &logprobs, Some(reason))
    }

    fn token(
        &mut self,
        index: usize,
        token: u32,
        text: &str,
        report: Option<&TokenLogprobs>,
    ) -> Value {
        let mut logprobs = Value::Null;
        if let Some(report) = report.filter(|_| self.plan.with_logprobs) {
            let mut lists = Lists::from(self.lists_at[index]);
            lists.push(&self.plan.model.tokenizer, token, Some(report));
            self.lists_at[index] = lists.at();
            logprobs = lists.object();
        }
        self.chunk(index, text, &logprobs, None)
    }
}

impl Chunks for TextChunks {
    fn opening(&mut self) -> Vec<Value> {
        // With log-probabilities the prompt comes when they are known.
        if !self.plan.echo || self.plan.with_logprobs {
            return Vec::new();
        }
        (0..self.lists_at.len())
            .map(|index| self.echo(index, &[]))
            .collect()
    }

    fn chunks(&mut self, index: usize, event: Event) -> Vec<Value> {
        match event {
            Event::PromptLogprobs(scores) => vec![self.echo(index, &scores)],
            Event::Token {
                token,
                text,
                logprobs,
            } => vec![self.token(index, token, &text, logprobs.as_ref())],
            Event::Finished {
                text,
                reason,
                end,
                usage,
            } => {
                self.usages[index] = Some(usage);
                vec![self.end(index, &text, reason.as_str(), end)]
            }
            Event::Admitted | Event::Embedding(_) | Event::Failed(_) => Vec::new(),
        }
    }

    fn closing(&mut self) -> Vec<Value> {
        if !self.plan.streaming.include_usage {
            return Vec::new();
        }
        let all: Vec<Usage> = self.usages.iter().copied().flatten().collect();
        let written = all.iter().map(|usage| usage.completion_tokens).sum();
        let prompts: Vec<Usage> = all.into_iter().step_by(self.plan.best_of).collect();
        let mut object = self.plan.heading.object("text_completion");
        object["choices"] = json!([]);
        object["usage"] = usage_object(&prompts, written);
        vec![object]
    }
}
