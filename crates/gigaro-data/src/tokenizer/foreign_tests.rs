//! Tokenizers of other models: their rules against the ecosystem's library, and those of GGUF files.

use std::sync::LazyLock;

use gigaro_tensor::io::gguf::{Gguf, Value, write_gguf};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// Text with what the rules differ in: numbers, apostrophes, ends of lines, accents, spaces, a mark of a space.
const CROWDED: &str = "[ a-eSTst0-9'\\r\\n\\t!.,<|>é\u{301}\u{3000}漢½\u{2581}\u{17f}🙂]{0,60}";

/// A byte-level tokenizer trained here, with the rules of another model written into its file.
fn with_rules(normalizer: Json, pre: Json, ignore_merges: bool) -> Tokenizer {
    let text = "The 2024's ones, it'll 100 200 the them there!!\n\nthe 'S don't \t the naïve";
    let trained = Tokenizer::train([text], 300, &["<|endoftext|>", "<|end|>"]).expect("trains");
    let mut file: Json = serde_json::from_str(&trained.to_json()).expect("JSON");
    file["normalizer"] = normalizer;
    file["pre_tokenizer"] = pre;
    file["model"]["ignore_merges"] = ignore_merges.into();
    Tokenizer::from_json(file.to_string().as_bytes(), "t.json").expect("is known")
}

fn byte_level(use_regex: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn split(pattern: &str) -> Json {
    let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    json!({"type": "Sequence", "pretokenizers": [split, byte_level(false)]})
}

/// Tokens, scores and types of a small SentencePiece model: bytes, letters, and what the merges of a few words need.
fn small_sentencepiece() -> Vec<(String, f64, i64)> {
    let mut tokens = vec![
        ("<unk>".to_owned(), 0.0, 2),
        ("<s>".to_owned(), 0.0, 3),
        ("</s>".to_owned(), 0.0, 3),
    ];
    tokens.extend((0..=255_u8).map(|byte| (sentencepiece::spell_byte(byte), 0.0, 6)));
    let pieces = [
        "\u{2581}t",
        "he",
        "\u{2581}the",
        "\u{2581}\u{2581}",
        "ab",
        "ba",
        "aba",
        "tt",
        "\u{2581}a",
        "cab",
        "\u{2581}cab",
        "12",
    ];
    let letters = "\u{2581}abcdet12.!<|>s";
    let all = pieces
        .iter()
        .map(|piece| (*piece).to_owned())
        .chain(letters.chars().map(String::from));
    tokens.extend(all.enumerate().map(|(i, piece)| (piece, -(i as f64), 1)));
    tokens
}

/// The same as a GGUF file.
fn sentencepiece_gguf(add_space_prefix: bool) -> Vec<u8> {
    let tokens = small_sentencepiece();
    let list = |f: fn(&(String, f64, i64)) -> Value| Value::Array(tokens.iter().map(f).collect());
    write(&[
        ("tokenizer.ggml.model", Value::Text("llama".into())),
        ("tokenizer.ggml.tokens", list(|t| Value::Text(t.0.clone()))),
        ("tokenizer.ggml.scores", list(|t| Value::Float(t.1))),
        ("tokenizer.ggml.token_type", list(|t| Value::Signed(t.2))),
        ("tokenizer.ggml.bos_token_id", Value::Unsigned(1)),
        ("tokenizer.ggml.eos_token_id", Value::Unsigned(2)),
        (
            "tokenizer.ggml.add_space_prefix",
            Value::Bool(add_space_prefix),
        ),
    ])
}

/// A tokenizer trained here as a GGUF file with the rules that `pre` names.
fn byte_level_gguf(tokenizer: &Tokenizer, pre: &str) -> Vec<u8> {
    let file: Json = serde_json::from_str(&tokenizer.to_json()).expect("JSON");
    let mut tokens = vec![Value::Text(String::new()); tokenizer.vocab_size()];
    for (token, id) in file["model"]["vocab"].as_object().expect("a map") {
        tokens[id.as_u64().expect("an id") as usize] = Value::Text(token.clone());
    }
    let types = (0..tokens.len() as u32)
        .map(|id| Value::Signed(if tokenizer.is_special(id) { 3 } else { 1 }));
    let merges = file["model"]["merges"].as_array().expect("a list").iter();
    let merges = merges.map(|m| {
        Value::Text(format!(
            "{} {}",
            m[0].as_str().expect("text"),
            m[1].as_str().expect("text")
        ))
    });
    write(&[
        ("tokenizer.ggml.model", Value::Text("gpt2".into())),
        ("tokenizer.ggml.pre", Value::Text(pre.into())),
        ("tokenizer.ggml.token_type", Value::Array(types.collect())),
        ("tokenizer.ggml.merges", Value::Array(merges.collect())),
        ("tokenizer.ggml.tokens", Value::Array(tokens)),
        ("tokenizer.ggml.eos_token_id", Value::Unsigned(0)),
    ])
}

fn write(entries: &[(&str, Value)]) -> Vec<u8> {
    let owned = |(key, value): &(&str, Value)| ((*key).to_owned(), value.clone());
    let entries: Vec<_> = entries.iter().map(owned).collect();
    write_gguf(&entries, &[]).expect("is written")
}

fn from_gguf(file: Vec<u8>) -> Result<Tokenizer> {
    Tokenizer::from_gguf(&Gguf::from_bytes(file).expect("is read"), "t.gguf")
}

/// GGUF files with a tokenizer, one of each kind.
pub(crate) fn written() -> Vec<Vec<u8>> {
    let trained = with_rules(Json::Null, byte_level(true), false);
    vec![
        sentencepiece_gguf(true),
        byte_level_gguf(&trained, "llama-bpe"),
    ]
}

/// A tokenizer by every set of rules.
pub(crate) fn every_kind() -> Vec<Tokenizer> {
    ALL.iter().map(|(own, _)| own.clone()).collect()
}

fn sentencepiece(add_space_prefix: bool) -> Tokenizer {
    from_gguf(sentencepiece_gguf(add_space_prefix)).expect("is known")
}

/// The same in the newer spelling, which puts a space before a text unless there is one.
fn with_metaspace(scheme: &str) -> Tokenizer {
    let mut file: Json = serde_json::from_str(&sentencepiece(true).to_json()).expect("JSON");
    file["normalizer"] = Json::Null;
    file["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": false});
    Tokenizer::from_json(file.to_string().as_bytes(), "t.json").expect("is known")
}

/// Tokenizers by every set of rules, each with the ecosystem's library on the file that we write of it.
static ALL: LazyLock<Vec<(Tokenizer, tokenizers::Tokenizer)>> = LazyLock::new(|| {
    let digits = json!({"type": "Digits", "individual_digits": true});
    let digits = json!({"type": "Sequence", "pretokenizers": [digits, byte_level(true)]});
    let nfc = json!({"type": "NFC"});
    let own = [
        with_rules(Json::Null, byte_level(true), false),
        with_rules(nfc.clone(), byte_level(true), false),
        with_rules(Json::Null, digits, false),
        with_rules(Json::Null, split(pretokenize::LLAMA3), true),
        with_rules(nfc, split(pretokenize::QWEN2), false),
        sentencepiece(true),
        sentencepiece(false),
        with_metaspace("always"),
        with_metaspace("first"),
    ];
    let with_peer = |own: Tokenizer| {
        let mut peer = tokenizers::Tokenizer::from_bytes(own.to_json()).expect("the peer reads it");
        peer.set_encode_special_tokens(true);
        (own, peer)
    };
    own.map(with_peer).into()
});

fn check(text: &str) {
    for (own, peer) in &*ALL {
        let ids = own.encode(text);
        let expected = peer.encode_fast(text, false).expect("the peer encodes");
        assert_eq!(ids, expected.get_ids(), "{own:?} on {text:?}");
        assert_eq!(
            own.decode(&ids),
            peer.decode(&ids, false).expect("decodes"),
            "{text:?}"
        );
        let mut cached = Vec::new();
        own.encoder().encode_into(text, &mut cached);
        assert_eq!(ids, cached, "{own:?} on {text:?}");
    }
}

#[test]
fn every_set_of_rules_gives_the_ids_of_the_ecosystem() {
    for text in [
        "",
        " ",
        "the cab  the\u{2581}cab",
        "It'LL be 12345, 'S!!\n\n\n  the e\u{301}nd\r\n",
        "<|endoftext|><s> </s> <0x41>",
        &"ab".repeat(300),
        include_str!("rules.rs"),
    ] {
        check(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_set_of_rules_gives_the_ids_of_the_ecosystem_on_any_text(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn every_set_of_rules_gives_the_ids_of_the_ecosystem_on_crowded_text(text in CROWDED) {
        check(&text);
    }
}

#[test]
fn a_byte_without_a_token_is_left_out() {
    let mut file: Json = serde_json::from_str(&ALL[0].0.to_json()).expect("JSON");
    let vocab = file["model"]["vocab"].as_object_mut().expect("a map");
    vocab.remove("\u{104}").expect("the byte 4 is there");
    let own = Tokenizer::from_json(file.to_string().as_bytes(), "t.json").expect("is known");
    let text = "the\u{4}\u{4} ones";
    assert_eq!(own.decode(&own.encode(text)), "the ones");
    assert_eq!(own.first_unknown(text), Some((3, '\u{4}')));
    let peer = tokenizers::Tokenizer::from_bytes(own.to_json()).expect("the peer reads it");
    assert_eq!(
        own.encode(text),
        peer.encode_fast(text, false).expect("encodes").get_ids()
    );
}

#[test]
fn every_set_of_rules_comes_back_from_its_file() {
    for (own, _) in &*ALL {
        let again = Tokenizer::from_json(own.to_json().as_bytes(), "again").expect("is read");
        assert_eq!(&again, own);
        assert_eq!(again.to_json(), own.to_json());
    }
}

#[test]
fn a_gguf_file_has_the_tokenizer_of_the_tokenizer_json() {
    let plain = &ALL[0].0;
    for (pre, own) in [("gpt-2", 0), ("smollm", 2), ("llama-bpe", 3), ("qwen2", 4)] {
        let read = from_gguf(byte_level_gguf(plain, pre)).expect("is known");
        assert_eq!(read, ALL[own].0, "{pre}");
        assert_eq!(read.document_start(), None, "{pre}");
    }
}

#[test]
fn the_names_of_special_tokens_in_text_stay_text() {
    for (own, _) in &*ALL {
        for (name, _) in own.specials() {
            let ids = own.encode(&format!("a{name}b"));
            let specials = own.specials().iter().filter(|(_, id)| ids.contains(id));
            assert_eq!(specials.count(), 0, "{name}");
        }
    }
}

#[test]
fn a_document_of_llama_2_begins_with_its_token_and_a_space() {
    let tokenizer = sentencepiece(true);
    assert_eq!(tokenizer.document_start(), tokenizer.special("<s>"));
    let ids = tokenizer.encode("the");
    assert_eq!(tokenizer.decode_bytes(&ids), b" the");
    assert_eq!(tokenizer.decode(&ids), "the");
    let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), "again").expect("is read");
    assert_eq!(again.document_start(), tokenizer.special("<s>"));
    let mut after_text = Vec::new();
    tokenizer.encode_after("ab", Before::Text, &mut after_text);
    assert_eq!(tokenizer.decode_bytes(&after_text), b"ab");
}

#[test]
fn a_token_that_is_shown_is_special_to_a_text_and_ends_nothing() {
    let mut file: Json = serde_json::from_str(&ALL[0].0.to_json()).expect("JSON");
    file["added_tokens"][1]["special"] = false.into();
    let own = Tokenizer::from_json(file.to_string().as_bytes(), "t.json").expect("is known");
    let id = own.special("<|end|>").expect("has a name");
    assert!(!own.is_special(id) && own.is_special(0));
    assert!(!own.encode("<|end|>").contains(&id));
    let again = Tokenizer::from_json(own.to_json().as_bytes(), "again").expect("is read");
    assert_eq!(again, own);
    assert_ne!(own, ALL[0].0);
}

#[test]
fn tokenizers_in_gguf_that_do_not_fit_are_refused() {
    let refused = |entries: &[(&str, Value)], expected: &str| {
        let error = from_gguf(write(entries)).expect_err(expected).to_string();
        assert!(
            error.contains(expected) && error.starts_with("t.gguf: "),
            "{error}"
        );
    };
    let text = |s: &str| Value::Text(s.to_owned());
    let texts = |list: &[&str]| Value::Array(list.iter().map(|s| text(s)).collect());
    let (model, tokens, pre) = (
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.pre",
    );
    refused(&[], "no tokenizer");
    refused(
        &[(model, text("bert")), (tokens, texts(&["a"]))],
        "of the kind bert",
    );
    refused(&[(model, text("gpt2"))], "no list tokenizer.ggml.tokens");
    refused(
        &[(model, text("gpt2")), (tokens, texts(&["a", "a"]))],
        "there twice",
    );
    refused(
        &[(model, text("gpt2")), (tokens, texts(&["a"]))],
        "cut into words",
    );
    refused(
        &[
            (model, text("gpt2")),
            (tokens, texts(&["a"])),
            (pre, text("tekken")),
        ],
        "pre-tokenizer tekken",
    );
    let merges = ("tokenizer.ggml.merges", texts(&["ab"]));
    refused(
        &[
            (model, text("gpt2")),
            (tokens, texts(&["a"])),
            (pre, text("gpt-2")),
            merges,
        ],
        "its merge 0",
    );
    refused(&[(model, text("llama")), (tokens, texts(&["a"]))], "scores");
}
