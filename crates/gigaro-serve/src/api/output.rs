//! What a reply has to be: `response_format` and `grammar`, and the grammar that comes of them.
//!
//! Which tokens a grammar allows is the engine's (`crate::engine`); calls of functions are in `tools.rs`.

use gigaro_models::generate::SamplingParams;
use serde_json::{Value, json};

use super::ApiError;
use super::fields::{Fields, wrong_kind};
use crate::engine::{Constraint, Grammar, ReadyModel};

/// A grammar with the field that it came in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) grammar: Grammar,
    pub(super) param: &'static str,
}

/// What `response_format` and `grammar` want; `None` if the reply is free.
pub(super) fn wanted(fields: &mut Fields) -> Result<Option<Wanted>, ApiError> {
    let format = match fields.take("response_format") {
        None => None,
        Some(value) => response_format(value, "response_format", Some("json_schema"))?,
    };
    let format = format.map(|grammar| Wanted {
        grammar,
        param: "response_format",
    });
    let given = match fields.take("grammar") {
        None => None,
        Some(value) => Some(Wanted {
            grammar: grammar(value)?,
            param: "grammar",
        }),
    };
    if format.is_some() && given.is_some() {
        let sentence = "a reply can be held to response_format or to grammar: give one of them";
        return Err(ApiError::bad_field("grammar", sentence));
    }
    Ok(format.or(given))
}

/// A format in OpenAI's words: `text`, `json_object`, or `json_schema`, whose schema stands in the object under `nested`, or beside the
/// type.
pub(super) fn response_format(
    value: Value,
    place: &'static str,
    nested: Option<&'static str>,
) -> Result<Option<Grammar>, ApiError> {
    let mut fields = Fields::inside(value, place)?;
    let kind = fields.required("type")?;
    let path = fields.path("type");
    let grammar = match kind.as_str() {
        Some("text") => None,
        Some("json_object") => Some(Grammar::JsonSchema {
            schema: json!({ "type": "object" }),
            strict: false,
        }),
        Some("json_schema") => Some(match nested {
            None => named_schema(&mut fields)?,
            Some(name) => {
                let path = fields.path(name);
                let mut inner = Fields::inside(fields.required(name)?, &path)?;
                let grammar = named_schema(&mut inner)?;
                inner.finish()?;
                grammar
            }
        }),
        _ => return Err(wrong_kind(&path, "text, json_object or json_schema", &kind)),
    };
    fields.finish()?;
    Ok(grammar)
}

/// `name`, `description`, `schema` and `strict`.
fn named_schema(fields: &mut Fields) -> Result<Grammar, ApiError> {
    // They are for people who read requests; models of OpenAI are said to read them too.
    fields.text("name")?;
    fields.text("description")?;
    let path = fields.path("schema");
    let schema = fields.take("schema").unwrap_or_else(|| json!({}));
    Ok(Grammar::JsonSchema {
        schema: checked_schema(schema, &path)?,
        strict: fields.flag("strict")?,
    })
}

/// A schema, which is an object or a boolean.
pub(super) fn checked_schema(schema: Value, path: &str) -> Result<Value, ApiError> {
    match schema {
        Value::Object(_) | Value::Bool(_) => Ok(schema),
        other => Err(wrong_kind(path, "a JSON schema, an object", &other)),
    }
}

/// The field `grammar`: a text in Lark's form, or an object of a `type` and a `value`.
fn grammar(value: Value) -> Result<Grammar, ApiError> {
    if let Value::String(text) = value {
        return lark(text, "grammar");
    }
    let mut fields = Fields::inside(value, "grammar")
        .map_err(|_| ApiError::bad_field("grammar", "grammar must be a text in Lark's form, or an object of type (lark, regex or json_schema) and value"))?;
    let kind = fields.required("type")?;
    let value = fields.required("value")?;
    fields.finish()?;
    match (kind.as_str(), value) {
        (Some("lark"), Value::String(text)) => lark(text, "grammar.value"),
        (Some("regex"), Value::String(pattern)) => Ok(Grammar::Regex(pattern)),
        (Some("lark" | "regex"), other) => Err(wrong_kind("grammar.value", "a string", &other)),
        (Some("json_schema" | "json"), schema) => Ok(Grammar::JsonSchema {
            schema: checked_schema(schema, "grammar.value")?,
            strict: true,
        }),
        _ => Err(wrong_kind(
            "grammar.type",
            "lark, regex or json_schema",
            &kind,
        )),
    }
}

fn lark(text: String, path: &str) -> Result<Grammar, ApiError> {
    if text.contains("::=") {
        let sentence = format!(
            "{path} is in the form of GBNF, with ::= between a rule and what it stands for, but Lark's form is read here: write `start: ..` for `root ::= ..`, and a colon for the others"
        );
        return Err(ApiError::bad_field(path, sentence));
    }
    Ok(Grammar::Lark(text))
}

/// The constraint on a reply, in this model's tokens. `after_space`: the reply is a message, which may begin with a space.
pub(super) fn constraint(
    model: &ReadyModel,
    wanted: Option<&Wanted>,
    params: &SamplingParams,
    after_space: bool,
) -> Result<Option<Constraint>, ApiError> {
    let Some(Wanted { grammar, param }) = wanted else {
        return Ok(None);
    };
    if params.ignore_eos {
        let sentence = format!(
            "a reply that is held to {param} has to end where that is over: leave out ignore_eos"
        );
        return Err(ApiError::bad_field("ignore_eos", sentence));
    }
    let refuse = |reason: &str| {
        let sentence = format!("no reply of this model can be held to {param}: {reason}");
        ApiError::bad_field(*param, sentence)
    };
    let grammars = model.grammars.as_ref().as_ref();
    let grammars = grammars.map_err(|reason| refuse(reason))?;
    let compiled = grammars.compile(grammar, after_space);
    compiled.map(Some).map_err(|reason| refuse(reason.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Option<Wanted>, String> {
        let sentence = |e: ApiError| e.message().to_owned();
        let mut fields = Fields::parse(json.as_bytes()).map_err(sentence)?;
        let wanted = wanted(&mut fields).map_err(sentence)?;
        fields.finish().map_err(sentence)?;
        Ok(wanted)
    }

    #[test]
    fn every_way_to_ask_for_a_form_is_understood() {
        let grammar = |json: &str| Ok::<_, String>(read(json)?.map(|wanted| wanted.grammar));
        assert_eq!(grammar("{}"), Ok(None));
        assert_eq!(
            grammar(r#"{"response_format": {"type": "text"}}"#),
            Ok(None)
        );
        let schema = |schema: Value, strict| Ok(Some(Grammar::JsonSchema { schema, strict }));
        let object = json!({ "type": "object" });
        assert_eq!(
            grammar(r#"{"response_format": {"type": "json_object"}}"#),
            schema(object.clone(), false)
        );
        assert_eq!(
            grammar(
                r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": true}}}"#
            ),
            schema(object.clone(), true)
        );
        assert_eq!(
            grammar(r#"{"grammar": {"type": "json_schema", "value": {"type": "object"}}}"#),
            schema(object, true)
        );
        let regex = Grammar::Regex("a+".into());
        let asked = r#"{"grammar": {"type": "regex", "value": "a+"}}"#;
        assert_eq!(grammar(asked), Ok(Some(regex)));
        let lark = Grammar::Lark("start: \"a\"".into());
        assert_eq!(grammar(r#"{"grammar": "start: \"a\""}"#), Ok(Some(lark)));
    }

    #[test]
    fn what_is_no_form_is_refused_by_its_place() {
        for (json, sentence) in [
            (
                r#"{"response_format": 1}"#,
                "response_format must be an object, but is 1",
            ),
            (
                r#"{"response_format": {}}"#,
                "response_format.type is missing",
            ),
            (
                r#"{"response_format": {"type": "xml"}}"#,
                "response_format.type must be text, json_object or json_schema, but is a string",
            ),
            (
                r#"{"response_format": {"type": "json_schema"}}"#,
                "response_format.json_schema is missing",
            ),
            (
                r#"{"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}}"#,
                "response_format.json_schema.schema must be a JSON schema, an object, but is 3",
            ),
            (
                r#"{"response_format": {"type": "json_object"}, "grammar": "start: \"a\""}"#,
                "a reply can be held to response_format or to grammar: give one of them",
            ),
            (
                r#"{"grammar": {"type": "gbnf", "value": ""}}"#,
                "grammar.type must be lark, regex or json_schema, but is a string",
            ),
        ] {
            assert_eq!(read(json), Err(sentence.to_owned()));
        }
        let gbnf = read(r#"{"grammar": "root ::= \"a\""}"#).expect_err("another form");
        assert!(gbnf.contains("form of GBNF"), "{gbnf}");
    }
}
