//! The fields of a JSON request, taken one by one: what is left at the end is unknown and refused by its name, so that nothing a
//! client asks for is silently ignored.
//!
//! `null` stands for a field that is not there, as OpenAI's clients send it. What the fields mean is in `sampling.rs` and beside each
//! address.

use std::ops::RangeInclusive;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde_json::{Map, Value};
use std::sync::Arc;

use super::ApiError;
use crate::server::App;

/// The body of a request, which has come whole, in time, and within the bounds.
pub(crate) struct Body(pub(crate) Bytes);

impl FromRequest<Arc<App>> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let limits = app.limits();
        let bytes = Bytes::from_request(request, app);
        match tokio::time::timeout(limits.body_time, bytes).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let most = limits.body_bytes;
                let sentence =
                    format!("the request is longer than the {most} bytes that this server takes");
                Err(ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, sentence))
            }
            Ok(Err(_)) => Err(ApiError::bad_request("the request was cut short")),
            Err(_) => {
                let seconds = limits.body_time.as_secs();
                let sentence = format!("the request did not arrive within {seconds} seconds");
                Err(ApiError::refused(StatusCode::REQUEST_TIMEOUT, sentence))
            }
        }
    }
}

/// A JSON object that is being taken apart.
pub(super) struct Fields {
    object: Map<String, Value>,
    /// What stands before the names in messages, such as `messages[2].`.
    place: String,
    asked: Vec<&'static str>,
}

impl Fields {
    /// The object in a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let value = serde_json::from_slice(body)
            .map_err(|e| ApiError::bad_request(format!("the request is not JSON: {e}")))?;
        match value {
            Value::Object(object) => Ok(Self::new(object, String::new())),
            other => Err(ApiError::bad_request(format!(
                "the request must be a JSON object, but is {}",
                kind(&other)
            ))),
        }
    }

    fn new(object: Map<String, Value>, place: String) -> Self {
        Self {
            object,
            place,
            asked: Vec::new(),
        }
    }

    /// The object that is the value of a field.
    pub(super) fn inside(value: Value, place: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(object) => Ok(Self::new(object, format!("{place}."))),
            other => Err(wrong_kind(place, "an object", &other)),
        }
    }

    /// A field's name with where it stands.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.place)
    }

    /// A field's value as it was sent, left where it is; null if it is not there.
    pub(super) fn peek(&self, name: &str) -> Value {
        self.object.get(name).cloned().unwrap_or_default()
    }

    /// A field of any kind.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.asked.push(name);
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// A field that has to be there.
    pub(super) fn required(&mut self, name: &'static str) -> Result<Value, ApiError> {
        let path = self.path(name);
        self.take(name)
            .ok_or_else(|| ApiError::bad_field(&path, format!("{path} is missing")))
    }

    /// A field of a kind that `read` knows; `wanted` says which.
    fn typed<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        match read(&value) {
            Some(read) => Ok(Some(read)),
            None => Err(wrong_kind(&self.path(name), wanted, &value)),
        }
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        self.typed(name, "a string", |v| v.as_str().map(str::to_owned))
    }

    /// True or false; false if it is not there.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<bool, ApiError> {
        let flag = self.typed(name, "true or false", Value::as_bool)?;
        Ok(flag.unwrap_or(false))
    }

    /// A number.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f32>, ApiError> {
        let number = self.typed(name, "a number", Value::as_f64)?;
        Ok(number.map(|number| number as f32))
    }

    /// A whole number within bounds.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        self.typed(name, &wanted, |value| {
            whole(value).filter(|n| range.contains(n))
        })
    }

    /// A count of things, at most `most`.
    pub(super) fn count(
        &mut self,
        name: &'static str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ApiError> {
        let range = *range.start() as i64..=*range.end() as i64;
        Ok(self.integer(name, range)?.map(|n| n as usize))
    }

    /// Refuses a field that is there, unless its value is one that asks for nothing special.
    pub(super) fn refuse(
        &mut self,
        name: &'static str,
        harmless: impl FnOnce(&Value) -> bool,
        why: &str,
    ) -> Result<(), ApiError> {
        match self.take(name) {
            Some(value) if !harmless(&value) => {
                let path = self.path(name);
                let sentence = format!("{path} is not available: {why}");
                Err(ApiError::bad_field(path, sentence).code("unsupported_parameter"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what nobody has asked for.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        let left = self.object.iter().find(|(_, value)| !value.is_null());
        let Some((name, _)) = left else {
            return Ok(());
        };
        let near = |known: &&&str| strsim::damerau_levenshtein(known, name) <= 2;
        let advice = match self.asked.iter().find(near) {
            Some(known) => format!("; is {known} meant?"),
            None => String::new(),
        };
        let path = self.path(name);
        let sentence = format!("there is no field {path} here{advice}");
        Err(ApiError::bad_field(path, sentence).code("unknown_parameter"))
    }
}

/// A whole number, also one that is written like 3.0: to JSON Schema, and to languages that have one kind of number, that is the same.
pub(crate) fn whole(value: &Value) -> Option<i64> {
    /// Beyond, floats are whole because they have no room for anything else.
    const EXACT: f64 = (1_i64 << 53) as f64;
    let float = |x: &f64| x.fract() == 0.0 && x.abs() <= EXACT;
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(float).map(|x| x as i64))
}

/// A value of the wrong kind, in a sentence.
pub(super) fn wrong_kind(path: &str, wanted: &str, value: &Value) -> ApiError {
    ApiError::bad_field(
        path,
        format!("{path} must be {wanted}, but is {}", kind(value)),
    )
}

/// A value in words, short enough for a message.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(is) => is.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Fields {
        Fields::parse(json.as_bytes()).unwrap_or_else(|e| panic!("{}", e.message()))
    }

    #[test]
    fn what_nobody_asked_for_is_refused_by_name_with_the_nearest_known_one() {
        let mut f = fields(r#"{"temprature": 1, "top_p": null, "odd": null}"#);
        assert_eq!(f.number("temperature").map_err(|_| ()), Ok(None));
        assert_eq!(f.number("top_p").map_err(|_| ()), Ok(None));
        let error = f.finish().expect_err("temprature is left");
        assert_eq!(
            error.message(),
            "there is no field temprature here; is temperature meant?"
        );
        assert_eq!(error.object()["error"]["param"], "temprature");
    }

    #[test]
    fn a_wrong_kind_is_refused_with_what_it_is() {
        let mut f =
            fields(r#"{"a": "hot", "b": 1.5, "c": -1, "d": [1], "e": 9223372036854775808}"#);
        let mut check = |name, sentence: &str| {
            let error = f.integer(name, 0..=9).expect_err("refused");
            assert_eq!(error.message(), sentence);
        };
        check("a", "a must be a whole number from 0 to 9, but is a string");
        check("b", "b must be a whole number from 0 to 9, but is 1.5");
        check("c", "c must be a whole number from 0 to 9, but is -1");
        check("d", "d must be a whole number from 0 to 9, but is a list");
        check(
            "e",
            "e must be a whole number from 0 to 9, but is 9223372036854775808",
        );
    }

    #[test]
    fn a_whole_number_may_be_written_as_a_float_as_long_as_it_is_exact() {
        let of = |text: &str| whole(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(of("3.0"), Some(3));
        assert_eq!(of("-2e3"), Some(-2000));
        assert_eq!(of("-9223372036854775808"), Some(i64::MIN));
        for other in ["1.5", "1e300", "9223372036854775808", "\"3\"", "null"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["", "[1]", "{", "nul", "\"x\"", "{\"a\": 1e999}", "\u{0}"] {
            assert!(Fields::parse(body.as_bytes()).is_err(), "{body:?}");
        }
        assert!(Fields::parse(b"{\"a\": \"\xff\"}").is_err());
        let deep = "[".repeat(100_000);
        assert!(Fields::parse(deep.as_bytes()).is_err());
    }
}
