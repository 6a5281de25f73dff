//! Grammars over small vocabularies: what is allowed, what is refused, and what cannot be abused.

use super::*;
use gigaro_data::tokenizer::SPECIAL_TOKENS;
use std::time::{Duration, Instant};

fn tokenizer() -> Tokenizer {
    let text = r#"{"name": "Ann", "age": 31} the king of the old city {"name": "Bob"} größer"#;
    Tokenizer::train([text], 300, &SPECIAL_TOKENS).expect("trains")
}

fn compile(grammar: &Grammar) -> Result<Constraint, String> {
    Grammars::new(&tokenizer())
        .expect("tokens")
        .compile(grammar, false)
}

/// Whether a reply may be this text and end there; an error if the text is left before its end.
fn takes(mut constraint: Constraint, text: &str) -> Result<bool, usize> {
    for (i, token) in tokenizer().encode(text).into_iter().enumerate() {
        if constraint.is_complete() {
            return Err(i);
        }
        let mask = constraint.allowed().map_err(|_| i)?;
        let mut logits = vec![0.0_f32; tokenizer().vocab_size()];
        excluded(mask, &mut logits);
        if logits[token as usize] != 0.0 {
            return Err(i);
        }
        constraint.accept(token).map_err(|_| i)?;
    }
    if constraint.is_complete() {
        return Ok(true);
    }
    let mut logits = vec![0.0_f32; tokenizer().vocab_size()];
    let Ok(mask) = constraint.allowed() else {
        return Ok(false);
    };
    excluded(mask, &mut logits);
    let ends = tokenizer();
    let mut ends = ends
        .specials()
        .iter()
        .map(|(_, id)| logits[*id as usize] == 0.0);
    Ok(ends.all(|end| end))
}

/// Through the sampler, which is the only one that reads masks: a token is excluded if a bias of 1000 cannot bring it back.
fn excluded(mask: TokenMask<'_>, logits: &mut [f32]) {
    use gigaro_models::generate::{Sampler, SamplingParams};
    for token in 0..logits.len() {
        let mut biased = vec![0.0_f32; logits.len()];
        biased[token] = 1000.0;
        let mut sampler = Sampler::new(
            SamplingParams {
                temperature: 0.0,
                ..SamplingParams::default()
            },
            &[],
        );
        let drawn = sampler
            .sample_among(&biased, 0.0, Some(mask))
            .expect("one is allowed");
        if drawn.token as usize != token {
            logits[token] = f32::NEG_INFINITY;
        }
    }
}

fn person() -> Grammar {
    Grammar::JsonSchema {
        schema: json!({
            "type": "object",
            "properties": {
                "name": { "enum": ["Ann", "Bob", "größer"] },
                "age": { "type": "integer", "minimum": 0, "maximum": 99 },
            },
            "required": ["name"],
            "additionalProperties": false,
        }),
        strict: true,
    }
}

#[test]
fn a_schema_allows_what_it_describes_and_nothing_else() {
    let constraint = compile(&person()).expect("compiles");
    let takes = |text: &str| takes(constraint.clone(), text);
    assert_eq!(takes(r#"{"name": "Ann", "age": 31}"#), Ok(true));
    assert_eq!(takes(r#"{"name":"größer"}"#), Ok(true));
    assert_eq!(takes("{\n  \"name\": \"Bob\"\n}"), Ok(true));
    assert_eq!(takes(r#"{"name": "Ann""#), Ok(false), "it cannot end there");
    for wrong in [
        r#"{"name": "Eve"}"#,
        r#"{"age": 3}"#,
        r#"{"name": "Ann", "age": 100}"#,
        r#"{"name": "Ann"} and"#,
        "the king",
        r#" {"name": "Ann"}"#,
    ] {
        assert!(takes(wrong).is_err(), "{wrong}");
    }
    let blanks = format!("{{{}\"name\": \"Ann\"}}", " ".repeat(60));
    assert!(takes(&blanks).is_err(), "blanks for ever");
}

#[test]
fn lark_and_regular_expressions_hold_a_reply_too_and_a_message_may_begin_with_its_space() {
    let lark = Grammar::Lark("start: \"the \" who\nwho: \"king\" | \"city\"".into());
    let regex = Grammar::Regex("(the|old) (king|city)".into());
    for grammar in [lark, regex] {
        let plain = compile(&grammar).expect("compiles");
        assert_eq!(takes(plain.clone(), "the king"), Ok(true), "{grammar:?}");
        assert!(takes(plain.clone(), "the old").is_err());
        assert!(takes(plain, " the king").is_err());
        let grammars = Grammars::new(&tokenizer()).expect("tokens");
        let spaced = grammars.compile(&grammar, true).expect("compiles");
        assert_eq!(takes(spaced.clone(), " the king"), Ok(true), "{grammar:?}");
        assert_eq!(takes(spaced.clone(), "the king"), Ok(true));
        assert!(takes(spaced, "  the king").is_err());
    }
    let grammars = Grammars::new(&tokenizer()).expect("tokens");
    let spaced = grammars.compile(&person(), true).expect("compiles");
    assert_eq!(takes(spaced, r#" {"name": "Ann"}"#), Ok(true));
}

#[test]
fn what_cannot_be_understood_is_refused_with_the_reason() {
    let schema = |schema: Value, strict| Grammar::JsonSchema { schema, strict };
    for (grammar, reason) in [
        (schema(json!({ "type": "strange" }), true), "strange"),
        (schema(json!({ "$ref": "#/nowhere" }), true), "nowhere"),
        (
            schema(json!({ "type": "string", "pattern": "(" }), true),
            "(",
        ),
        (
            schema(json!({ "type": "array", "uniqueItems": true }), true),
            "uniqueItems",
        ),
        (schema(json!(false), true), ""),
        (Grammar::Lark("start: missing".into()), "missing"),
        (Grammar::Lark("root ::= \"a\"".into()), ""),
        (Grammar::Regex("a(".into()), ""),
        (Grammar::Lark("start: <|end|>".into()), ""),
    ] {
        let refused = compile(&grammar).expect_err(&format!("{grammar:?}"));
        assert!(refused.contains(reason), "{grammar:?}: {refused}");
    }
    let unique = json!({ "type": "array", "uniqueItems": true });
    assert!(compile(&schema(unique, false)).is_ok(), "not strict");
}

#[test]
fn no_grammar_takes_the_server_down_or_long() {
    let deep =
        |open: &str, close: &str| format!("{}a{}", open.repeat(30_000), close.repeat(30_000));
    let mut nested = json!({ "type": "string" });
    for _ in 0..60 {
        nested = json!({ "anyOf": [nested, { "type": "array", "items": nested.clone() }], "x": 1 });
        if nested.to_string().len() > MAX_BYTES {
            break;
        }
    }
    let many: Vec<String> = (0..2000).map(|i| format!("value {i}")).collect();
    for grammar in [
        Grammar::Lark(format!("start: {}", deep("(", ")"))),
        Grammar::Regex(deep("(", ")")),
        Grammar::Regex("((a{1,300}){1,300}){1,300}b".into()),
        Grammar::Regex("(x+x+)+y{1000}".into()),
        Grammar::Regex("a".repeat(60_000)),
        Grammar::Lark(format!("start: {}", "a? ".repeat(20_000))),
        Grammar::Lark("start: start start | \"a\" |".into()),
        Grammar::JsonSchema {
            schema: nested,
            strict: false,
        },
        Grammar::JsonSchema {
            schema: json!({ "$ref": "#" }),
            strict: true,
        },
        Grammar::JsonSchema {
            schema: json!({ "enum": many }),
            strict: true,
        },
        Grammar::JsonSchema {
            schema: json!({ "type": "string", "maxLength": 100_000_000 }),
            strict: true,
        },
        Grammar::JsonSchema {
            schema: json!({ "type": "array", "items": { "type": "integer" }, "minItems": 1_000_000 }),
            strict: true,
        },
    ] {
        let started = Instant::now();
        let compiled = compile(&grammar);
        let text: String = format!("{grammar:?}").chars().take(60).collect();
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "{text}: {took:?}");
        // A few tokens of what it takes, wherever that leads.
        let Ok(mut constraint) = compiled else {
            continue;
        };
        for token in
            [b'a', b'x', b'"', b'['].map(|byte| tokenizer().encode(&(byte as char).to_string())[0])
        {
            if constraint.accept(token).is_err()
                || constraint.is_complete()
                || constraint.allowed().is_err()
            {
                break;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{text}");
    }
}

#[test]
fn tokens_of_single_characters_are_held_too_and_what_they_cannot_write_is_refused() {
    let characters = Tokenizer::characters(["{\"name\": Anb} ok"], &[]).expect("a tokenizer");
    let grammars = Grammars::new(&characters).expect("tokens");
    let ann = Grammar::JsonSchema {
        schema: json!({ "type": "object", "properties": { "name": { "const": "Ann" } }, "required": ["name"], "additionalProperties": false }),
        strict: true,
    };
    let mut constraint = grammars.compile(&ann, false).expect("compiles");
    for character in "{\"name\": \"Ann\"}".chars() {
        assert!(!constraint.is_complete());
        constraint.allowed().expect("there is a token");
        let token = characters.encode(&character.to_string())[0];
        constraint.accept(token).expect("allowed");
    }
    assert!(constraint.is_complete());
    let refused = grammars.compile(&Grammar::Regex("[0-9]+".into()), false);
    let refused = refused.expect_err("there are no digits");
    assert!(refused.contains("no token of this model"), "{refused}");
}
