//! Tokenizers of every kind against the ecosystem's, and the files that they are kept in.

use super::*;
use crate::shared_data;
use proptest::prelude::*;
use std::sync::LazyLock;

/// A small tokenizer with all special tokens, trained on this crate's own sources.
static SMALL: LazyLock<Tokenizer> = LazyLock::new(|| {
    Tokenizer::train(
        [include_str!("mod.rs"), include_str!("train.rs")],
        900,
        &SPECIAL_TOKENS,
    )
    .expect("trains")
});

/// The same tokenizer as the ecosystem's library reads it from our file, told to leave special names in text alone.
fn peer_of(tokenizer: &Tokenizer) -> tokenizers::Tokenizer {
    let mut peer =
        tokenizers::Tokenizer::from_bytes(tokenizer.to_json()).expect("the peer reads our file");
    peer.set_encode_special_tokens(true);
    peer
}

fn check_against_peer(tokenizer: &Tokenizer, peer: &tokenizers::Tokenizer, text: &str) {
    let ids = tokenizer.encode(text);
    let expected = peer.encode_fast(text, false).expect("the peer encodes");
    assert_eq!(ids, expected.get_ids(), "ids of {text:?}");
    let mut cached = Vec::new();
    tokenizer.encoder().encode_into(text, &mut cached);
    assert_eq!(ids, cached);
    assert_eq!(tokenizer.decode(&ids), text);
}

proptest! {
    #[test]
    fn any_text_comes_back_and_gets_the_ids_of_the_ecosystem(text in any::<String>()) {
        static PEER: LazyLock<tokenizers::Tokenizer> = LazyLock::new(|| peer_of(&SMALL));
        check_against_peer(&SMALL, &PEER, &text);
    }

    #[test]
    fn any_bytes_decode_to_what_they_are(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
        let Model::Bpe(bpe) = &SMALL.tables.model else { unreachable!() };
        let ids: Vec<u32> = bytes.iter().map(|&byte| bpe.byte_ids()[usize::from(byte)]).collect();
        prop_assert_eq!(SMALL.decode_bytes(&ids), bytes.clone());
        prop_assert_eq!(SMALL.decode(&ids), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn user_text_never_becomes_a_special_token(
        before in "[a<| ]{0,6}", name in prop::sample::select(&SPECIAL_TOKENS[..]), after in "[a>| ]{0,6}",
    ) {
        let text = format!("{before}{name}{after}");
        let ids = SMALL.encode(&text);
        prop_assert!(ids.iter().all(|&id| !SMALL.is_special(id)));
        prop_assert_eq!(SMALL.decode(&ids), text);
    }
}

#[test]
fn special_tokens_come_first_and_only_by_name() {
    assert_eq!(SMALL.special(END_OF_TEXT), Some(0));
    assert_eq!(SMALL.special(END), Some(4));
    assert_eq!(SMALL.special("<|nobody|>"), None);
    assert_eq!(SMALL.decode(&[0]), END_OF_TEXT);
    assert!(SMALL.is_special(4) && !SMALL.is_special(5));
    assert_eq!(SMALL.token_bytes(u32::MAX), b"");
}

#[test]
fn a_saved_tokenizer_is_the_same_tokenizer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokenizer.json");
    for tokenizer in [
        SMALL.clone(),
        Tokenizer::characters(["héllo\n<|"], &[END_OF_TEXT]).expect("characters"),
    ] {
        tokenizer.save(&path).expect("saves");
        let loaded = Tokenizer::load(&path).expect("loads");
        assert_eq!(loaded, tokenizer);
        assert_eq!(loaded.to_json(), tokenizer.to_json());
        assert_eq!(loaded.encode("hello\nhé"), tokenizer.encode("hello\nhé"));
        assert_eq!(loaded.specials(), tokenizer.specials());
    }
}

#[test]
fn the_hash_tells_tokenizers_apart() {
    let other = Tokenizer::train([include_str!("mod.rs")], 900, &SPECIAL_TOKENS).expect("trains");
    assert_ne!(other.hash(), SMALL.hash());
    let error = other
        .check_hash(SMALL.hash(), "the checkpoint run/last")
        .expect_err("foreign")
        .to_string();
    assert!(
        error.starts_with("the checkpoint run/last was made with the tokenizer "),
        "{error}"
    );
    SMALL.check_hash(SMALL.hash(), "itself").expect("its own");
}

#[test]
fn characters_are_in_the_order_of_their_code_points() {
    let tokenizer = Tokenizer::characters(["hello", "é!\n"], &[END_OF_TEXT]).expect("characters");
    let spelled: Vec<String> = (0..7).map(|id| tokenizer.decode(&[id])).collect();
    assert_eq!(spelled, ["\n", "!", "e", "h", "l", "o", "é"]);
    assert_eq!(tokenizer.special(END_OF_TEXT), Some(7));
    assert_eq!(tokenizer.vocab_size(), 8);
    assert_eq!(tokenizer.first_unknown("hez"), Some((2, 'z')));
    assert_eq!(tokenizer.encode("hez"), [3, 2]);
    let peer =
        tokenizers::Tokenizer::from_bytes(tokenizer.to_json()).expect("the peer reads our file");
    let ids = tokenizer.encode("hello é\n");
    assert_eq!(
        peer.encode_fast("hello é\n", false)
            .expect("encodes")
            .get_ids(),
        ids
    );
    assert_eq!(
        peer.decode(&ids, false).expect("decodes"),
        tokenizer.decode(&ids)
    );
}

#[test]
fn a_batch_comes_back_in_order() {
    let texts: Vec<String> = (0..500)
        .map(|i| format!("text number {i} of a batch"))
        .collect();
    let expected: Vec<Vec<u32>> = texts.iter().map(|text| SMALL.encode(text)).collect();
    assert_eq!(SMALL.encode_batch(&texts), expected);
}

#[test]
fn foreign_kinds_of_tokenizer_are_refused_by_name() {
    let check = |from: &str, to: &str, expected: &str| {
        let json = SMALL.to_json().replace(from, to);
        let error = Tokenizer::from_json(json.as_bytes(), "tokenizer.json")
            .expect_err(to)
            .to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.starts_with("tokenizer.json: "), "{error}");
    };
    check(
        r#""type": "BPE""#,
        r#""type": "Unigram""#,
        "its model is Unigram, not BPE",
    );
    check(
        r#""normalizer": null"#,
        r#""normalizer": {"type": "NFKC"}"#,
        "normalizer NFKC",
    );
    check(
        r#""add_prefix_space": false"#,
        r#""add_prefix_space": true"#,
        "adds a space",
    );
    check(r#""use_regex": true"#, r#""use_regex": false"#, "pattern");
    check(
        r#""lstrip": false"#,
        r#""lstrip": true"#,
        "takes the space beside it",
    );
    check(r#""!": 5"#, r#""!": 4000000000"#, "does not fit");
    check(r#""!": 5"#, r#""!": 6"#, "two tokens");
    check(r#""!": 5"#, r#""!": 0"#, "the id 0 ");
    check(r#""!": 5,"#, "", "0x21");
    check("{", "[", "not a tokenizer");
    let error = Tokenizer::from_json(b"\xff{}", "t.json")
        .expect_err("no UTF-8")
        .to_string();
    assert!(error.contains("not UTF-8 at byte 0"), "{error}");
    let error = Tokenizer::load("no/such/file.json")
        .expect_err("absent")
        .to_string();
    assert!(
        error.contains("no/such/file.json") && error.contains("check the spelling"),
        "{error}"
    );
}

#[test]
fn training_gives_the_reference_merges_and_vocabulary() {
    let Some(folder) = shared_data::find("tokenizers/bpe_reference") else {
        return;
    };
    let corpus = shared_data::read(&folder.join("corpus.en"));
    let tokenizer = Tokenizer::train([corpus], 500, &[END_OF_TEXT]).expect("trains");
    let file: serde_json::Value = serde_json::from_str(&tokenizer.to_json()).expect("JSON");
    let vocab = std::fs::read(folder.join("train-bpe-reference-vocab.json")).expect("reads");
    assert_eq!(
        file["model"]["vocab"],
        serde_json::from_slice::<serde_json::Value>(&vocab).expect("JSON")
    );
    let merges: Vec<String> = file["model"]["merges"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|pair| {
            format!(
                "{} {}",
                pair[0].as_str().expect("text"),
                pair[1].as_str().expect("text")
            )
        })
        .collect();
    let reference = shared_data::read(&folder.join("train-bpe-reference-merges.txt"));
    assert_eq!(merges, reference.lines().collect::<Vec<_>>());
}

fn gpt2() -> Option<Tokenizer> {
    let folder = shared_data::find("tokenizers/gpt2")?;
    Some(
        Tokenizer::load_gpt2(folder.join("encoder.json"), folder.join("vocab.bpe"))
            .expect("GPT-2's files load"),
    )
}

#[test]
fn gpt2s_files_give_gpt2s_ids() {
    let Some(tokenizer) = gpt2() else { return };
    assert_eq!(tokenizer.vocab_size(), 50257);
    assert_eq!(tokenizer.special(END_OF_TEXT), Some(50256));
    assert_eq!(tokenizer.encode("Hello, world!"), [15496, 11, 995, 0]);
    let reloaded = Tokenizer::from_json(tokenizer.to_json().as_bytes(), "saved").expect("loads");
    assert_eq!(reloaded, tokenizer);
    let peer = peer_of(&tokenizer);
    for text in [
        "I'll see it's 3.14 o'clock — naïve 漢字 🙂\u{200d}🙂 \n\n\t  done  ",
        "<|endoftext|> is text here",
        &" ".repeat(300),
        &"ab".repeat(400),
        include_str!("train.rs"),
    ] {
        check_against_peer(&tokenizer, &peer, text);
    }
    for name in ["address.txt", "german.txt"] {
        let Some(path) = shared_data::find(&format!("tokenizers/bpe_reference/{name}")) else {
            return;
        };
        check_against_peer(&tokenizer, &peer, &shared_data::read(&path));
    }
}

#[test]
fn files_of_gpt2_that_do_not_fit_are_refused() {
    let check = |encoder: &str, bpe: &str, expected: &str| {
        let error = Tokenizer::from_gpt2(
            encoder.as_bytes(),
            bpe.as_bytes(),
            "encoder.json",
            "vocab.bpe",
        );
        let error = error.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("[]", "", "encoder.json: not a JSON object");
    check(
        "{\"a\": 0}",
        "a",
        "vocab.bpe, line 1: \"a\" is not two tokens",
    );
    check("{\"a\": 0}", "#version: 0.2\na a", "0x");
    check("{\"\u{20ac}\": 0}", "", "byte alphabet");
}

#[test]
fn shakespeare_has_sixty_five_characters() {
    let Some(path) = shared_data::find("text/tinyshakespeare.txt.gz") else {
        return;
    };
    let text = shared_data::read(&path);
    let tokenizer = Tokenizer::characters([&text], &[]).expect("characters");
    assert_eq!(tokenizer.vocab_size(), 65);
    let ids = tokenizer.encode(&text);
    assert_eq!(ids.len(), text.chars().count());
    assert_eq!(tokenizer.decode(&ids), text);
}
