//! Shards: what is written is read, and damage is noticed.

use super::*;
use crate::corpus::{Document, tokenize_in_memory, tokenize_to_shards};
use proptest::prelude::*;

fn tokenizer() -> Tokenizer {
    Tokenizer::characters(["abcdefghij"], &["<|endoftext|>"]).expect("characters")
}

/// Writes shards and gives back their folder.
fn written(ids: &[u32], tokens_per_shard: u64) -> (tempfile::TempDir, std::path::PathBuf) {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("tokens");
    let mut writer = SetWriter::create(&folder, &tokenizer(), tokens_per_shard).expect("starts");
    // Uneven pieces, so that they straddle shards.
    ids.chunks(7)
        .for_each(|part| writer.push(part).expect("writes"));
    writer.finish().expect("finishes");
    (parent, folder)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_was_written_is_read(ids in prop::collection::vec(0u32..11, 1..200), per_shard in 1u64..90, start in 0usize..200) {
        let (_parent, folder) = written(&ids, per_shard);
        let tokens = open(&folder, &tokenizer()).expect("opens");
        prop_assert_eq!(&tokens.to_vec(), &ids);
        let start = start % ids.len();
        let mut window = vec![0; ids.len() - start];
        tokens.copy_to(start as u64, &mut window);
        prop_assert_eq!(&window, &ids[start..]);
    }
}

#[test]
fn any_flipped_or_missing_byte_is_noticed() {
    let (_parent, folder) = written(&[1, 2, 3, 4, 5], 100);
    let bytes = std::fs::read(folder.join(name(0))).expect("reads");
    let check = |bytes: Vec<u8>| Shard::from_bytes(bytes, "s").and_then(|shard| shard.verify());
    check(bytes.clone()).expect("whole");
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        check(flipped).expect_err("flipped");
        check(bytes[..at].to_vec()).expect_err("cut short");
    }
    let longer = [&bytes[..], &[0]].concat();
    let error = check(longer).expect_err("longer").to_string();
    assert!(
        error.contains("promises 5 tokens of 2 bytes and 11 bytes are there"),
        "{error}"
    );
}

#[test]
fn shards_of_another_tokenizer_are_refused() {
    let (_parent, folder) = written(&[1, 2, 3], 2);
    let other = Tokenizer::characters(["xyz"], &[]).expect("characters");
    let error = open(&folder, &other).expect_err("foreign").to_string();
    assert!(
        error.contains("tokens-00000.shard was made with the tokenizer"),
        "{error}"
    );
    std::fs::remove_file(folder.join(name(0))).expect("removes");
    let error = open(&folder, &tokenizer()).expect_err("a gap").to_string();
    assert!(error.contains("tokens-00000.shard"), "{error}");
}

#[test]
fn large_vocabularies_take_four_bytes() {
    let shard = |vocab_size: u32, ids: &[u32]| {
        let body: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let header = Header {
            token_bytes: 4,
            tokens: ids.len() as u64,
            vocab_size,
            tokens_hash: Sha256::digest(&body).into(),
            tokenizer_hash: [0; 32],
        };
        Shard::from_bytes([&header.write()[..], &body].concat(), "s")
    };
    let ids = [0, 65_535, 65_536, 99_999];
    let whole = shard(100_000, &ids).expect("opens");
    whole.verify().expect("whole");
    let mut read = [0; 4];
    whole.copy_to(0, &mut read);
    assert_eq!(read, ids);
    let error = shard(99_999, &ids)
        .expect("opens")
        .verify()
        .expect_err("outside")
        .to_string();
    assert!(
        error.contains("the id 99999 is outside the vocabulary of 99999 tokens"),
        "{error}"
    );
    let error = shard(100, &ids)
        .expect_err("two bytes would do")
        .to_string();
    assert!(error.contains("4 bytes per id do not fit"), "{error}");
}

#[test]
fn an_abandoned_or_second_writing_leaves_nothing_behind() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("tokens");
    let mut writer = SetWriter::create(&folder, &tokenizer(), 10).expect("starts");
    writer.push(&[1, 2]).expect("writes");
    drop(writer);
    assert_eq!(std::fs::read_dir(parent.path()).expect("reads").count(), 0);
    let error = SetWriter::create(&folder, &tokenizer(), 10)
        .expect("starts")
        .finish()
        .expect_err("nothing")
        .to_string();
    assert!(error.contains("there are no tokens to write"), "{error}");
    std::fs::create_dir(&folder).expect("makes");
    let error = SetWriter::create(&folder, &tokenizer(), 10)
        .err()
        .expect("exists")
        .to_string();
    assert!(error.contains("something at this place already"), "{error}");
}

#[test]
fn shards_hold_what_memory_holds() {
    let parent = tempfile::tempdir().expect("a folder");
    let documents = || {
        ["abc", "dej", "ihg"]
            .map(|text| Ok(Document::from(text.to_owned())))
            .into_iter()
    };
    let memory = tokenize_in_memory(documents(), &tokenizer(), |_| {}).expect("tokens");
    let mut last = None;
    let folder = parent.path().join("tokens");
    let shards = tokenize_to_shards(documents(), &tokenizer(), &folder, 4, |now| {
        last = Some(now)
    })
    .expect("tokens");
    assert_eq!(memory.to_vec(), shards.to_vec());
    assert_eq!(memory.to_vec()[..5], [10, 0, 1, 2, 10]);
    assert_eq!(
        last.map(|now| (now.documents, now.bytes, now.tokens)),
        Some((3, 9, 12))
    );
    assert!(is_shard_folder(&folder));
    let unknown = std::iter::once(Ok(Document::from("abz".to_owned())));
    let error = tokenize_in_memory(unknown, &tokenizer(), |_| {})
        .expect_err("unknown")
        .to_string();
    assert!(error.contains("the character 'z'"), "{error}");
}
