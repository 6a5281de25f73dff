//! Training against the ecosystem's trainer: the same merges and the same vocabulary.

use super::*;
use proptest::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer as PeerTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, TokenizerImpl,
};

/// The `tokenizer.json` that Hugging Face's trainer makes of the texts.
fn peer(texts: &[&str], vocab_size: usize, specials: &[&str]) -> serde_json::Value {
    let mut tokenizer: TokenizerImpl<
        BPE,
        NormalizerWrapper,
        ByteLevel,
        PostProcessorWrapper,
        DecoderWrapper,
    > = TokenizerImpl::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    let mut trainer = PeerTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(
            specials
                .iter()
                .map(|&name| AddedToken::from(name, true))
                .collect(),
        )
        .build();
    tokenizer
        .train(&mut trainer, texts.iter().copied())
        .expect("the peer trains");
    serde_json::from_str(&tokenizer.to_string(false).expect("it serialises")).expect("it is JSON")
}

fn own(texts: &[&str], vocab_size: usize, specials: &[&str]) -> serde_json::Value {
    let mut trainer = BpeTrainer::new(vocab_size, specials)
        .expect("settings")
        .tie_break(TieBreak::LowerIds);
    trainer.feed_batch(texts);
    serde_json::from_str(&trainer.finish().expect("trains").to_json()).expect("it is JSON")
}

fn check_against_peer(texts: &[&str], vocab_size: usize, specials: &[&str]) {
    let (own, peer) = (
        own(texts, vocab_size, specials),
        peer(texts, vocab_size, specials),
    );
    assert_eq!(own["model"]["merges"], peer["model"]["merges"]);
    assert_eq!(own["model"]["vocab"], peer["model"]["vocab"]);
    assert_eq!(own["added_tokens"], peer["added_tokens"]);
}

#[test]
fn merges_and_vocabulary_equal_the_ecosystems_trainer() {
    let text = include_str!("../mod.rs");
    check_against_peer(
        &[text, include_str!("../train.rs")],
        700,
        &["<|endoftext|>", "<|end|>"],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn merges_equal_the_ecosystems_trainer_on_crowded_text(text in "[ab ]{1,200}") {
        check_against_peer(&[&text], 280, &["<|end|>"]);
    }
}

#[test]
fn training_does_not_depend_on_how_the_text_is_fed() {
    let text = include_str!("../train.rs");
    let (left, right) =
        text.split_at(super::pretokenize::end_of_piece(text, 3000).expect("a longer text"));
    let whole = Tokenizer::train([text], 600, &[]).expect("trains");
    assert_eq!(
        whole,
        Tokenizer::train([left, right], 600, &[]).expect("trains")
    );
}

#[test]
fn equal_counts_go_to_the_greater_bytes() {
    let tokenizer = Tokenizer::train(["ab cd"], 257, &[]).expect("trains");
    assert_eq!(tokenizer.token_bytes(256), b"cd");
}

#[test]
fn no_merge_ever_spells_a_special_token() {
    let text = "stop stop stop stop stop";
    let tokenizer = Tokenizer::train([text], 300, &["stop", "sto"]).expect("trains");
    let ids = tokenizer.encode(text);
    assert!(ids.iter().all(|&id| !tokenizer.is_special(id)), "{ids:?}");
    assert_eq!(tokenizer.decode(&ids), text);
}

#[test]
fn a_vocabulary_too_small_for_the_bytes_is_refused() {
    let error = Tokenizer::train(["text"], 256, &["<|end|>"]).expect_err("too small");
    assert_eq!(
        error.to_string(),
        "a vocabulary of 256 tokens cannot hold the 256 bytes and 1 special tokens; ask for at least 257"
    );
    assert!(Tokenizer::train([""], 300, &[]).is_err());
    assert!(Tokenizer::train(["text"], 300, &["<|a|>", "<|a|>"]).is_err());
    assert!(Tokenizer::train(["text"], 300, &["a"]).is_err());
}
