//! Every parser of foreign bytes in this crate, each behind one function of arbitrary bytes.
//!
//! A function feeds the bytes to a parser and, where they are accepted, checks that what came out holds together. It panics
//! where that fails; being refused is fine. The fuzz targets in `fuzz/` call these and nothing else, and an ordinary test
//! calls them with thousands of mutations of valid files, so that every run of the tests covers the same ground a little.

use crate::chat::Message;
use crate::conversations;
use crate::corpus::{parquet_text, plain, records};
use crate::preferences::{self, Preferences, store};
use crate::shards::Shard;
use crate::tasks::{self, TaskAnswer};
use crate::template::ChatTemplate;
use crate::tokenizer::{END, END_OF_TEXT, Tokenizer};
use gigaro_tensor::io::gguf::Gguf;
use std::io::Cursor;

/// A stand-in for the file's name in messages.
const PLACE: &str = "foreign";
/// Text with what tends to go wrong: a special token's name, several alphabets, space of all kinds.
const PROBE: &str = "It's <|endoftext|>  12½ naïve\u{3000}漢字🙂\r\n\n\t end";

/// `tokenizer.json`.
pub fn tokenizer_json(bytes: &[u8]) {
    if let Ok(tokenizer) = Tokenizer::from_json(bytes, PLACE) {
        check_tokenizer(&tokenizer);
    }
}

/// The tokenizer in a GGUF file.
pub fn gguf_tokenizer(bytes: &[u8]) {
    if let Ok(file) = Gguf::from_bytes(bytes.to_vec())
        && let Ok(tokenizer) = Tokenizer::from_gguf(&file, PLACE)
    {
        check_tokenizer(&tokenizer);
    }
}

/// GPT-2's `encoder.json` and `vocab.bpe`, with a zero byte between them.
pub fn bpe_files(bytes: &[u8]) {
    let middle = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let (encoder, rest) = bytes.split_at(middle);
    if let Ok(tokenizer) =
        Tokenizer::from_gpt2(encoder, rest.get(1..).unwrap_or_default(), PLACE, PLACE)
    {
        check_tokenizer(&tokenizer);
    }
}

/// What every accepted tokenizer must do: give no special token for text, give the text back, survive being written.
fn check_tokenizer(tokenizer: &Tokenizer) {
    let ids = tokenizer.encode(PROBE);
    assert!(
        ids.iter().all(|&id| !tokenizer.is_special(id)),
        "text became a special token"
    );
    if tokenizer.first_unknown(PROBE).is_none() {
        assert_eq!(tokenizer.decode(&ids), PROBE, "the text did not come back");
    }
    let written =
        Tokenizer::from_json(tokenizer.to_json().as_bytes(), PLACE).expect("our own file is read");
    assert_eq!(&written, tokenizer, "writing changed the tokenizer");
}

/// Documents in JSONL.
pub fn jsonl(bytes: &[u8]) {
    records::texts(
        Cursor::new(bytes.to_vec()),
        PLACE.to_owned(),
        "text".to_owned(),
    )
    .for_each(drop);
}

/// Conversations in JSONL.
pub fn conversations(bytes: &[u8]) {
    for conversation in conversations::read_from(Cursor::new(bytes.to_vec()), PLACE).flatten() {
        assert!(!conversation.messages.is_empty());
    }
}

/// A chat template.
pub fn chat_template(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else {
        return;
    };
    let tokenizer = Tokenizer::train(["a b"], 259, &[END_OF_TEXT, END]).expect("is trained");
    let Ok(template) = ChatTemplate::new(source, PLACE, &tokenizer) else {
        return;
    };
    let messages = [Message::user(PROBE), Message::assistant("yes <|end|>")];
    if let Ok(rendered) = template.render(&messages) {
        assert_eq!(rendered.ids.len(), rendered.loss.len());
        let text = template.text(&messages, false).expect("was just rendered");
        assert_eq!(tokenizer.decode(&rendered.ids), text);
    }
    let told = [serde_json::json!({ "role": "user", "content": PROBE })];
    let tools = [serde_json::json!({ "type": "function", "function": { "name": PROBE } })];
    if let Ok(ids) = template.prompt_with_tools(&told, &tools) {
        assert!(!ids.is_empty(), "there is nothing to answer");
    }
}

/// Tasks in JSONL.
pub fn tasks(bytes: &[u8]) {
    for task in tasks::read_from(Cursor::new(bytes.to_vec()), PLACE).flatten() {
        assert!(!task.question.is_empty());
        if let TaskAnswer::Choice { choices, right } = task.answer {
            assert!(right < choices.len() && choices.iter().all(|choice| !choice.is_empty()));
        }
    }
}

/// Preferences in JSONL, and the same bytes as items to label.
pub fn preferences(bytes: &[u8]) {
    let rows = preferences::read_from(Cursor::new(bytes.to_vec()), PLACE).flatten();
    let found = Preferences::from_rows(rows);
    assert_eq!(found.pairs.len(), found.row_of_pair.len());
    for pair in &found.pairs {
        assert_ne!(pair.chosen.trim(), pair.rejected.trim());
        assert!(!pair.prompt.messages.is_empty());
    }
    store::read_items(Cursor::new(bytes.to_vec()), PLACE).for_each(drop);
}

/// Plain text.
pub fn plain_text(bytes: &[u8]) {
    let parts: Result<Vec<_>, _> =
        plain::Parts::new(Cursor::new(bytes.to_vec()), PLACE.to_owned()).collect();
    match parts {
        Ok(parts) => {
            let joined: String = parts.into_iter().map(|part| part.text).collect();
            let expected = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
            assert_eq!(joined.as_bytes(), expected, "the parts are not the whole");
        }
        Err(_) => assert!(
            std::str::from_utf8(bytes).is_err(),
            "valid text was refused"
        ),
    }
}

/// The text column of a Parquet file.
pub fn parquet(bytes: &[u8]) {
    if let Ok(texts) = parquet_text::from_bytes(bytes.to_vec(), PLACE.to_owned(), "text") {
        texts.for_each(drop);
    }
}

/// A token shard.
pub fn shard(bytes: &[u8]) {
    let Ok(shard) = Shard::from_bytes(bytes.to_vec(), PLACE) else {
        return;
    };
    let mut ids = vec![0; shard.len() as usize];
    shard.copy_to(0, &mut ids);
    if shard.verify().is_ok() {
        assert!(
            ids.iter().all(|&id| id < shard.vocab_size()),
            "an id outside the vocabulary passed"
        );
    }
}

#[cfg(test)]
mod tests;
