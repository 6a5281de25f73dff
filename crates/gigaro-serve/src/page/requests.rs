//! Conversations over HTTP: each request is one piece of work for the store, and JSON both ways.

use super::Desk;
use crate::api::{ApiError, Body, whole};
use crate::conversations::{Change, ExportForm, New};
use crate::server::Caller;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, FromRequestParts, Path, Query};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use gigaro_data::preferences::{judgements_jsonl, pairs_jsonl};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// Conversations of one answer, unless asked for fewer.
const LISTED: u32 = 100;

type Shared = Extension<Arc<Desk>>;
pub(super) type Answered = Result<Response, ApiError>;

/// A number in a body, read as the API reads it.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Whole(i64);

impl TryFrom<Value> for Whole {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        whole(&value)
            .map(Whole)
            .ok_or("a number in it is not whole")
    }
}

impl From<Whole> for i64 {
    fn from(Whole(number): Whole) -> i64 {
        number
    }
}

/// The number in a path.
pub(super) struct Id(pub(super) i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found: Result<Path<i64>, PathRejection> = Path::from_request_parts(parts, state).await;
        found.map(|Path(id)| Id(id)).map_err(|_| {
            ApiError::not_found("what stands in this address is no number of something here")
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListQuery {
    search: String,
    skip: u32,
    limit: u32,
}

impl Default for ListQuery {
    fn default() -> Self {
        ListQuery {
            search: String::new(),
            skip: 0,
            limit: LISTED,
        }
    }
}

/// `GET /api/conversations?search=&skip=&limit=`
pub(super) async fn list(
    Extension(desk): Shared,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Answered {
    let query = parameters(query)?;
    let limit = query.limit.min(LISTED);
    let listed = desk
        .with(move |store| store.list(&caller.name, &query.search, query.skip, limit))
        .await?;
    Ok(object(StatusCode::OK, &listed))
}

/// `POST /api/conversations`
pub(super) async fn create(Extension(desk): Shared, caller: Caller, body: Body) -> Answered {
    let new: New = read_body(body)?;
    let conversation = desk
        .with(move |store| {
            let id = store.create(&caller.name, &new)?;
            store.read(&caller.name, id)
        })
        .await?;
    Ok(object(StatusCode::CREATED, &conversation))
}

/// `GET /api/conversations/{id}`
pub(super) async fn read(Extension(desk): Shared, caller: Caller, Id(id): Id) -> Answered {
    let conversation = desk.with(move |store| store.read(&caller.name, id)).await?;
    Ok(object(StatusCode::OK, &conversation))
}

/// `PATCH /api/conversations/{id}`
pub(super) async fn alter(
    Extension(desk): Shared,
    caller: Caller,
    Id(id): Id,
    body: Body,
) -> Answered {
    let change: Change = read_body(body)?;
    desk.with(move |store| store.alter(&caller.name, id, &change))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /api/conversations/{id}`
pub(super) async fn delete(Extension(desk): Shared, caller: Caller, Id(id): Id) -> Answered {
    desk.with(move |store| store.delete(&caller.name, id))
        .await?;
    // What is still being written would be kept nowhere.
    desk.live.stop_all(id);
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportQuery {
    #[serde(default)]
    form: ExportForm,
}

/// `GET /api/conversations/{id}/export?form=json|markdown`
pub(super) async fn export(
    Extension(desk): Shared,
    caller: Caller,
    Id(id): Id,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Answered {
    let form = parameters(query)?.form;
    let text = desk
        .with(move |store| store.export(&caller.name, id, form))
        .await?;
    let (kind, ending) = match form {
        ExportForm::Json => ("application/json", "json"),
        ExportForm::Markdown => ("text/markdown; charset=utf-8", "md"),
    };
    let name = format!("attachment; filename=\"conversation-{id}.{ending}\"");
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, text).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    parent: Option<Whole>,
    content: String,
}

/// `POST /api/conversations/{id}/messages`
pub(super) async fn ask(
    Extension(desk): Shared,
    caller: Caller,
    Id(id): Id,
    body: Body,
) -> Answered {
    let question: Question = read_body(body)?;
    let message = desk
        .with(move |store| {
            store.ask(
                &caller.name,
                id,
                question.parent.map(i64::from),
                &question.content,
            )
        })
        .await?;
    Ok(object(StatusCode::CREATED, &json!({ "id": message })))
}

/// `GET /api/answers/{id}/tokens`
pub(super) async fn tokens(Extension(desk): Shared, caller: Caller, Id(id): Id) -> Answered {
    let tokens = desk
        .with(move |store| store.tokens(&caller.name, id))
        .await?;
    Ok(object(StatusCode::OK, &json!({ "tokens": tokens })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rating {
    rating: Option<Whole>,
}

/// `PUT /api/answers/{id}/rating`
pub(super) async fn rate(
    Extension(desk): Shared,
    caller: Caller,
    Id(id): Id,
    body: Body,
) -> Answered {
    let Rating { rating } = read_body(body)?;
    desk.with(move |store| store.rate(&caller.name, id, rating.map(i64::from)))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Comparison {
    answers: [Whole; 2],
    chosen: Option<Whole>,
}

/// `POST /api/choices`
pub(super) async fn choose(Extension(desk): Shared, caller: Caller, body: Body) -> Answered {
    let Comparison { answers, chosen } = read_body(body)?;
    let (answers, chosen) = (answers.map(i64::from), chosen.map(i64::from));
    desk.with(move |store| store.choose(&caller.name, answers, chosen))
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/feedback`: how much the caller has said.
pub(super) async fn feedback(Extension(desk): Shared, caller: Caller) -> Answered {
    let counts = desk
        .with(move |store| store.feedback_counts(Some(&caller.name)))
        .await?;
    Ok(object(StatusCode::OK, &counts))
}

/// `GET /api/feedback/history`: what the caller has said, day by day, and what was trained on what all have said.
pub(super) async fn history(Extension(desk): Shared, caller: Caller) -> Answered {
    let (days, trainings) = desk
        .with(move |store| Ok((store.feedback_days(Some(&caller.name))?, store.trainings()?)))
        .await?;
    let told = json!({ "days": days, "trainings": trainings });
    Ok(object(StatusCode::OK, &told))
}

/// The forms of preference data that feedback can be had in.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FeedbackForm {
    #[default]
    Pairs,
    Judgements,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedbackQuery {
    #[serde(default)]
    form: FeedbackForm,
}

/// `GET /api/feedback.jsonl?form=pairs|judgements`: the caller's own, in the forms that `gigaro reward` and `gigaro align` read.
pub(super) async fn feedback_rows(
    Extension(desk): Shared,
    caller: Caller,
    query: Result<Query<FeedbackQuery>, QueryRejection>,
) -> Answered {
    let form = parameters(query)?.form;
    let text = desk
        .with(move |store| {
            let owner = Some(&*caller.name);
            Ok(match form {
                FeedbackForm::Pairs => pairs_jsonl(store.pairs(owner)?.iter()),
                FeedbackForm::Judgements => judgements_jsonl(&store.judgements(owner)?),
            })
        })
        .await?;
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"feedback.jsonl\"",
        ),
    ];
    Ok((headers, text).into_response())
}

/// What each request of the page makes of a body; for [`crate::hostile`].
pub(super) fn read_each(bytes: &[u8]) -> [Result<(), ApiError>; 5] {
    fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<(), ApiError> {
        read_body::<T>(Body(bytes.to_vec().into())).map(drop)
    }
    [
        read::<New>(bytes),
        read::<Change>(bytes),
        read::<Question>(bytes),
        read::<Rating>(bytes),
        read::<Comparison>(bytes),
    ]
}

/// The JSON of a body; an empty one is an empty object.
pub(super) fn read_body<T: DeserializeOwned>(Body(bytes): Body) -> Result<T, ApiError> {
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    let refuse =
        |error| ApiError::bad_request(format!("the body is not what this address takes: {error}"));
    let value: Value = serde_json::from_slice(bytes).map_err(refuse)?;
    // A list would be read too, as fields in their order.
    if !value.is_object() {
        return Err(ApiError::bad_request("the body must be a JSON object"));
    }
    serde_json::from_value(value).map_err(refuse)
}

fn parameters<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, ApiError> {
    query.map(|Query(query)| query).map_err(|rejection| {
        ApiError::bad_request(format!(
            "what stands after the question mark cannot be read: {rejection}"
        ))
    })
}

pub(super) fn object(status: StatusCode, object: &impl Serialize) -> Response {
    match serde_json::to_string(object) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(_) => ApiError::bug().into_response(),
    }
}
