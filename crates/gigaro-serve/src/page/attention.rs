//! What the model looked at when it wrote a token of a stored answer.
//!
//! Nothing of it is kept with the answer: the model reads the text once more, up to the token before, and tells the weights of that one's
//! query, which is the one that the token was drawn by. If another checkpoint serves by now, they are its weights.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use gigaro_data::Tokenizer;
use gigaro_data::chat::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use super::requests::{Answered, Whole, object, read_body};
use crate::api::{ApiError, Body, token_text};
use crate::conversations::Asked;
use crate::engine::ReadyModel;
use crate::server::{App, Caller};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    answer: Whole,
    token: Whole,
    layer: Option<Whole>,
    head: Option<Whole>,
}

/// The same as numbers that count.
struct Query {
    /// Which of its tokens, from 0.
    token: usize,
    /// From 0; the mean over all if nothing is said.
    layer: Option<usize>,
    /// From 0; the mean over all if nothing is said.
    head: Option<usize>,
}

impl Query {
    fn of(asking: &Asking) -> Result<Self, ApiError> {
        let count = |name: &str, number: Whole| {
            let refuse = |_| ApiError::bad_field(name, format!("{name} is counted from 0"));
            usize::try_from(i64::from(number)).map_err(refuse)
        };
        let perhaps = |name, number: Option<Whole>| number.map(|n| count(name, n)).transpose();
        Ok(Self {
            token: count("token", asking.token)?,
            layer: perhaps("layer", asking.layer)?,
            head: perhaps("head", asking.head)?,
        })
    }
}

/// `POST /api/attention`
pub(super) async fn attention(
    State(app): State<Arc<App>>,
    Extension(desk): Extension<Arc<Desk>>,
    caller: Caller,
    body: Body,
) -> Answered {
    let asking: Asking = read_body(body)?;
    let query = Query::of(&asking)?;
    let answer = asking.answer.into();
    let asked = desk
        .with(move |store| store.asked(&caller.name, answer))
        .await?;
    // One at a time: a long text takes as long as reading it does, and replies have to go on.
    let _turn = desk.looking.acquire().await.map_err(|_| ApiError::bug())?;
    let done = tokio::task::spawn_blocking(move || look(&app, &asked, &query));
    let told = done.await.map_err(|_| ApiError::bug())??;
    Ok(object(StatusCode::OK, &told))
}

fn look(app: &App, asked: &Asked, query: &Query) -> Result<Value, ApiError> {
    let model = app.model(asked.model.as_deref())?;
    let written = written(&model.tokenizer, asked)?;
    if query.token >= written.len() {
        let n = written.len();
        return Err(ApiError::bad_field(
            "token",
            format!("the answer has {n} tokens, counted from 0"),
        ));
    }
    let [layers, heads] = model.engine.heads();
    for (name, chosen, most) in [("layer", query.layer, layers), ("head", query.head, heads)] {
        if chosen.is_some_and(|chosen| chosen >= most) {
            let sentence = format!("the model has {most} of them, counted from 0");
            return Err(ApiError::bad_field(name, sentence));
        }
    }
    let mut ids = prompt(&model, asked)?;
    let prompt_len = ids.len();
    ids.extend(&written[..query.token]);
    if ids.len() > model.facts.context {
        return Err(ApiError::bad_request(
            "the text is longer than what this model looks at",
        ));
    }
    let all = model.engine.attention(&ids)?;
    let weights = mean(&all, ids.len(), [layers, heads], [query.layer, query.head]);
    let text = |&id: &u32| token_text(&model.tokenizer, id);
    Ok(json!({
        "model": asked.model,
        "layers": layers,
        "heads": heads,
        "prompt": ids[..prompt_len].iter().map(text).collect::<Vec<String>>(),
        // As many digits as an eye tells apart.
        "weights": weights.iter().map(|w| (w * 1e5).round() / 1e5).collect::<Vec<f64>>(),
    }))
}

/// The conversation as the model read it before it answered.
fn prompt(model: &ReadyModel, asked: &Asked) -> Result<Vec<u32>, ApiError> {
    let mut messages = asked.branch.clone();
    if !asked.system.is_empty() {
        messages.insert(0, Message::system(asked.system.as_str()));
    }
    let write = model.chat.as_ref();
    let write = write.map_err(|why| ApiError::bad_request(why.as_str()))?;
    write(&messages).map_err(|e| ApiError::bad_request(e.to_string()))
}

/// The tokens of an answer by the bytes that were kept of them.
fn written(tokenizer: &Tokenizer, asked: &Asked) -> Result<Vec<u32>, ApiError> {
    let kept = asked.tokens.as_ref().and_then(Value::as_array);
    let kept = kept.ok_or_else(|| {
        ApiError::bad_request("nothing is kept of the tokens of this answer, so it cannot be read again as it was written")
    })?;
    let bytes = |token: &Value| Vec::<u8>::deserialize(&token["bytes"]).ok();
    let kept: Option<Vec<Vec<u8>>> = kept.iter().map(bytes).collect();
    let kept = kept.ok_or_else(|| {
        ApiError::bad_request("what is kept of this answer's tokens is damaged, so it cannot be read again as it was written")
    })?;
    let wanted: HashSet<&[u8]> = kept.iter().map(Vec::as_slice).collect();
    let ids = (0..tokenizer.vocab_size() as u32).rev();
    let known: HashMap<&[u8], u32> = ids
        .filter(|&id| !tokenizer.is_special(id))
        .map(|id| (tokenizer.token_bytes(id), id))
        .filter(|(bytes, _)| wanted.contains(bytes))
        .collect();
    let found = kept.iter().map(|bytes| known.get(&bytes[..]).copied());
    found.collect::<Option<Vec<u32>>>().ok_or_else(|| {
        ApiError::bad_request(
            "the model that serves now has other tokens than the one that wrote this answer",
        )
    })
}

/// The mean of the weights over the layers and heads that are looked at, a number for each of `t` tokens.
fn mean(
    all: &[f32],
    t: usize,
    [layers, heads]: [usize; 2],
    [layer, head]: [Option<usize>; 2],
) -> Vec<f64> {
    let range = |chosen: Option<usize>, n: usize| chosen.map_or(0..n, |one| one..one + 1);
    let mut sums = vec![0.0; t];
    let mut n = 0.0;
    for layer in range(layer, layers) {
        for head in range(head, heads) {
            n += 1.0;
            let weights = &all[(layer * heads + head) * t..][..t];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += f64::from(*weight);
            }
        }
    }
    for sum in &mut sums {
        *sum /= n;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_one_head_or_the_mean_of_many() {
        // Two layers of two heads over two tokens.
        let all = [0.0, 1.0, 0.5, 0.5, 1.0, 0.0, 0.25, 0.75];
        let of = |chosen| mean(&all, 2, [2, 2], chosen);
        assert_eq!(of([Some(1), Some(1)]), [0.25, 0.75]);
        assert_eq!(of([Some(0), None]), [0.25, 0.75]);
        assert_eq!(of([None, Some(0)]), [0.5, 0.5]);
        assert_eq!(of([None, None]), [0.4375, 0.5625]);
    }
}
