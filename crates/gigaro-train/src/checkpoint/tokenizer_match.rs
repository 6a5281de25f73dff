//! Does this tokenizer belong to these weights?
//!
//! Two signs tell: the model's vocabulary must have a row for every token, and the hash of
//! tokenizer.json must be the one that the weights were trained with. Nothing here tokenises.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::disk::hex;
use crate::error::{Error, Result};

/// SHA-256 of a tokenizer file, in lower-case hexadecimal.
pub fn tokenizer_sha256(tokenizer_json: &[u8]) -> String {
    hex(&Sha256::digest(tokenizer_json))
}

/// One more than the highest token id in a `tokenizer.json`, or why there is none.
pub fn vocabulary_size(tokenizer_json: &[u8]) -> Result<u64, String> {
    let value: Value = serde_json::from_slice(tokenizer_json)
        .map_err(|e| format!("tokenizer.json is not JSON: {e}"))?;
    let vocab = value.pointer("/model/vocab");
    // BPE and WordPiece map token to id; Unigram lists [token, score] in order of id.
    let of_model = match vocab {
        Some(Value::Object(map)) => map.values().filter_map(Value::as_u64).max(),
        Some(Value::Array(list)) => (list.len() as u64).checked_sub(1),
        _ => return Err("tokenizer.json has no model.vocab".into()),
    };
    let added = value.get("added_tokens").and_then(Value::as_array);
    let of_added = added
        .into_iter()
        .flatten()
        .filter_map(|token| token.get("id")?.as_u64())
        .max();
    of_model
        .max(of_added)
        .and_then(|id| id.checked_add(1))
        .ok_or_else(|| "its vocabulary is empty".into())
}

/// Checks that a tokenizer fits the model's configuration and, if given, the hash on record.
///
/// The model may have more rows than the tokenizer has tokens (padding to a round number), never
/// fewer. `dir` only serves the message.
pub fn check_tokenizer(
    dir: &Path,
    tokenizer_json: &[u8],
    config: &Value,
    recorded_sha256: Option<&str>,
) -> Result<()> {
    let wrong = |why: String| Error::WrongTokenizer {
        path: dir.into(),
        why,
    };
    let tokens = vocabulary_size(tokenizer_json).map_err(wrong)?;
    if let Some(rows) = config.get("vocab_size").and_then(Value::as_u64)
        && tokens > rows
    {
        return Err(wrong(format!(
            "the tokenizer has {tokens} tokens and the model has {rows}"
        )));
    }
    let found = tokenizer_sha256(tokenizer_json);
    match recorded_sha256 {
        Some(recorded) if recorded != found => {
            let short = |hash: &str| hash.chars().take(12).collect::<String>();
            Err(wrong(format!(
                "they were trained with tokenizer {}.., this one is {}..",
                short(recorded),
                short(&found)
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TOKENIZER: &str = r#"{"added_tokens": [{"id": 3, "content": "<|end|>"}], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}}}"#;

    #[test]
    fn added_tokens_count_and_spare_rows_are_fine() {
        assert_eq!(vocabulary_size(TOKENIZER.as_bytes()), Ok(4));
        for (rows, fits) in [(3, false), (4, true), (64, true)] {
            let result = check_tokenizer(
                Path::new("x"),
                TOKENIZER.as_bytes(),
                &json!({"vocab_size": rows}),
                None,
            );
            assert_eq!(result.is_ok(), fits, "{rows} rows: {result:?}");
        }
    }

    #[test]
    fn another_tokenizer_of_the_same_size_is_noticed() {
        let config = json!({"vocab_size": 4});
        let recorded = tokenizer_sha256(TOKENIZER.as_bytes());
        check_tokenizer(
            Path::new("x"),
            TOKENIZER.as_bytes(),
            &config,
            Some(&recorded),
        )
        .unwrap();
        let other = TOKENIZER.replace("\"ab\"", "\"ba\"");
        let error = check_tokenizer(
            Path::new("runs/a"),
            other.as_bytes(),
            &config,
            Some(&recorded),
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("does not belong") && error.contains("saved with them"),
            "{error}"
        );
    }

    #[test]
    fn hostile_tokenizers_give_sentences() {
        for text in [
            "",
            "[]",
            "{\"model\": {\"vocab\": []}}",
            "{\"model\": {\"vocab\": {\"a\": 18446744073709551615}}}",
            "\u{0}",
        ] {
            assert!(vocabulary_size(text.as_bytes()).is_err(), "{text}");
        }
    }
}
