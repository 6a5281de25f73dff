//! Training and encoding speed beside the `tokenizers` crate, on one text, in one run.
//!
//! `cargo bench -p gigaro-data --bench tokenizer -- TEXT_FILE [VOCAB_SIZE]`; documents are the paragraphs of the file. The two
//! trainers get the same tie-break here and must learn the same merges.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use gigaro_data::tokenizer::{BpeTrainer, TieBreak};
use std::time::Instant;
use tokenizers::models::bpe::{BPE, BpeTrainer as PeerTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, TokenizerImpl};

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let Some(path) = arguments.next() else {
        println!("give a text file and, if you like, a vocabulary size");
        return;
    };
    let vocab_size = arguments
        .next()
        .map_or(50_000, |size| size.parse().expect("a vocabulary size"));
    let text = std::fs::read_to_string(path).expect("a UTF-8 text file");
    let documents: Vec<&str> = text.split("\n\n").collect();
    let megabytes = text.len() as f64 / 1e6;
    println!(
        "{megabytes:.1} MB, {} documents, {vocab_size} tokens",
        documents.len()
    );

    let started = Instant::now();
    let mut trainer = BpeTrainer::new(vocab_size, &[])
        .expect("settings")
        .tie_break(TieBreak::LowerIds);
    trainer.feed_batch(&documents);
    let counted = started.elapsed().as_secs_f64();
    let own = trainer.finish().expect("trains");
    println!(
        "train  gigaro      {:8.2} s, {counted:.2} s of it counting words",
        started.elapsed().as_secs_f64()
    );

    let started = Instant::now();
    let peer = train_peer(&documents, vocab_size);
    println!(
        "train  tokenizers  {:8.2} s",
        started.elapsed().as_secs_f64()
    );
    let peer_file: serde_json::Value =
        serde_json::from_str(&peer.to_string(false).expect("serialises")).expect("JSON");
    let own_file: serde_json::Value = serde_json::from_str(&own.to_json()).expect("JSON");
    println!(
        "same merges: {}",
        own_file["model"]["merges"] == peer_file["model"]["merges"]
    );

    let started = Instant::now();
    let own_ids = own.encode_batch(&documents);
    let seconds = started.elapsed().as_secs_f64();
    let tokens: usize = own_ids.iter().map(Vec::len).sum();
    println!(
        "encode gigaro      {seconds:8.2} s  {:8.1} MB/s, {tokens} tokens",
        megabytes / seconds
    );
    let mut encoder = own.encoder();
    let mut ids = Vec::new();
    let started = Instant::now();
    documents
        .iter()
        .for_each(|document| encoder.encode_into(document, &mut ids));
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "  one thread       {seconds:8.2} s  {:8.1} MB/s",
        megabytes / seconds
    );

    let started = Instant::now();
    let peer_ids = peer
        .encode_batch_fast(documents.clone(), false)
        .expect("encodes");
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "encode tokenizers  {seconds:8.2} s  {:8.1} MB/s",
        megabytes / seconds
    );
    println!(
        "same ids: {}",
        own_ids
            .iter()
            .zip(&peer_ids)
            .all(|(own, peer)| own == peer.get_ids())
    );
}

type Peer = TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, PostProcessorWrapper, DecoderWrapper>;

fn train_peer(documents: &[&str], vocab_size: usize) -> Peer {
    let mut tokenizer = Peer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    let mut trainer = PeerTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab_size)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    tokenizer
        .train(&mut trainer, documents.iter().copied())
        .expect("the peer trains");
    tokenizer
}
