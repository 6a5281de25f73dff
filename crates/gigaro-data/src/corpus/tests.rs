use super::*;
use crate::tokenizer::{END_OF_TEXT, Tokenizer};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::io::Write;
use std::sync::Arc;

/// A folder of files for one test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, contents).expect("writes");
        path
    }
}

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(contents).expect("packs");
    encoder.finish().expect("packs")
}

fn texts(path: &Path) -> Result<Vec<String>> {
    Corpus::open(path)?
        .documents()
        .map(|document| document.map(|document| document.text))
        .collect()
}

fn error_of(path: &Path) -> String {
    texts(path).expect_err("an error").to_string()
}

/// A Parquet file with a column of numbers and a nullable column `text`, two row groups.
pub(crate) fn parquet(rows: &[Option<&str>]) -> Vec<u8> {
    let schema = "message schema { REQUIRED INT64 id; OPTIONAL BYTE_ARRAY text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(
        &mut file,
        schema,
        Arc::new(WriterProperties::builder().build()),
    )
    .expect("starts");
    for rows in rows.chunks(rows.len().div_ceil(2).max(1)) {
        let mut group = writer.next_row_group().expect("a row group");
        let mut column = group.next_column().expect("a column").expect("the first");
        let ids: Vec<i64> = (0..rows.len() as i64).collect();
        column
            .typed::<Int64Type>()
            .write_batch(&ids, None, None)
            .expect("writes");
        column.close().expect("closes");
        let mut column = group.next_column().expect("a column").expect("the second");
        let values: Vec<ByteArray> = rows
            .iter()
            .flatten()
            .map(|&text| ByteArray::from(text))
            .collect();
        let levels: Vec<i16> = rows.iter().map(|row| i16::from(row.is_some())).collect();
        column
            .typed::<ByteArrayType>()
            .write_batch(&values, Some(&levels), None)
            .expect("writes");
        column.close().expect("closes");
        group.close().expect("closes");
    }
    writer.close().expect("closes");
    file
}

#[test]
fn a_folder_is_read_in_the_order_of_its_names_whatever_the_formats() {
    let folder = Folder::new();
    folder.write("b.txt", b"second");
    folder.write("a/z.md", "\u{feff}first: é".as_bytes());
    folder.write(
        "c.jsonl",
        b"{\"text\": \"third\"}\n\n{\"text\": \"\"}\n{\"text\": \"fourth\", \"n\": 1}",
    );
    folder.write("d.json.gz", &gzip(b"[{\"text\": \"fifth\"}]"));
    folder.write(
        "e.parquet",
        &parquet(&[Some("sixth"), None, Some("seventh")]),
    );
    folder.write("f.parquet.gz", &gzip(&parquet(&[Some("eighth")])));
    folder.write("g.TXT.GZ", &gzip(b"ninth"));
    folder.write("notes", b"tenth, without an extension");
    folder.write("picture.png", b"\x89PNG\r\n\x1a\n\0\0");
    folder.write(".hidden.txt", b"not this");
    folder.write("empty.txt", b"");
    let read = texts(folder.0.path()).expect("reads");
    let expected = [
        "first: é",
        "second",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "seventh",
        "eighth",
        "ninth",
    ];
    assert_eq!(read[..9], expected);
    assert_eq!(read[9..], ["tenth, without an extension"]);
}

#[test]
fn what_cannot_be_read_is_said_in_a_sentence() {
    let folder = Folder::new();
    let check = |name: &str, contents: &[u8], expected: &str| {
        let error = error_of(&folder.write(name, contents));
        assert!(error.contains(expected) && error.contains(name), "{error}");
    };
    check("empty.txt", b"", "the file is empty; give a file with text");
    check("packed.txt.gz", &gzip(b""), "there is no text in it");
    check(
        "latin.txt",
        b"caf\xe9 au lait",
        "not UTF-8 text at byte 3; convert it",
    );
    check("cut.txt", b"caf\xc3", "not UTF-8 text at byte 3");
    check("wide.txt", b"\xff\xfea\0b\0", "it looks like UTF-16");
    check(
        "a.jsonl",
        b"{\"text\": 1}",
        "line 1: the key `text` holds a number, not text",
    );
    check(
        "b.jsonl",
        b"{\"text\": \"\"}\n{\"body\": \"x\", \"id\": 2}",
        "line 2: there is no key `text` (there are: body, id)",
    );
    check(
        "c.jsonl",
        b"{}",
        "line 1: there is no key `text` (there are: none)",
    );
    check(
        "d.jsonl",
        b"{\"text\": \"\xff\"}",
        "line 1: not JSON at column",
    );
    check("e.parquet", b"PAR1 no", "not a readable Parquet file");
    check("f.txt.gz", b"\x1f\x8b\x08\0broken", "cannot read");
    check("g.txt.gz", &gzip(&[b'a'; 100_000])[..60], "cannot read");
    let error = error_of(&folder.0.path().join("absent.txt"));
    assert!(
        error.contains("absent.txt") && error.contains("check the spelling of the path"),
        "{error}"
    );
}

#[test]
fn a_folder_with_nothing_readable_says_so() {
    let folder = Folder::new();
    folder.write("photo.jpg", b"\xff\xd8\xff\xe0\0");
    let error = error_of(folder.0.path());
    assert!(
        error.contains("nothing in this folder can be read as text (1 file passed over)"),
        "{error}"
    );
}

#[test]
fn a_parquet_without_the_column_lists_its_columns() {
    let folder = Folder::new();
    let path = folder.write("data.parquet", &parquet(&[Some("x")]));
    let error_for = |key: &str| {
        let mut documents = Corpus::open(&path)
            .expect("opens")
            .with_text_key(key)
            .documents();
        documents
            .next()
            .expect("an item")
            .expect_err("an error")
            .to_string()
    };
    assert!(
        error_for("body").contains("the column `body` is not there (the columns are: id, text)")
    );
    assert!(error_for("id").contains("the column `id` is not text"));
}

#[test]
fn another_key_can_hold_the_text() {
    let folder = Folder::new();
    let path = folder.write("data.jsonl", b"{\"body\": \"here\"}");
    let documents: Result<Vec<Document>> = Corpus::open(path)
        .expect("opens")
        .with_text_key("body")
        .documents()
        .collect();
    assert_eq!(documents.expect("reads")[0].text, "here");
}

#[test]
fn a_long_text_comes_in_parts_with_the_tokens_of_the_whole() {
    let folder = Folder::new();
    let text: String = (0..600_000)
        .map(|i| format!("w{}{}", i % 977, ["  ", " ", "\n\n", " é "][i % 4]))
        .collect();
    let corpus = Corpus::open(folder.write("long.txt", text.as_bytes())).expect("opens");
    let documents: Vec<Document> = corpus.documents().collect::<Result<_>>().expect("reads");
    assert!(documents.len() > 2);
    assert_eq!(
        documents
            .iter()
            .map(|document| document.text.as_str())
            .collect::<String>(),
        text
    );
    let continues: Vec<bool> = documents
        .iter()
        .map(|document| document.continues)
        .collect();
    assert!(!continues[0] && continues[1..].iter().all(|&continues| continues));
    let tokenizer =
        train_bpe(corpus.documents(), 400, &[END_OF_TEXT], u64::MAX, |_| {}).expect("trains");
    assert_eq!(
        tokenizer,
        Tokenizer::train([&text], 400, &[END_OF_TEXT]).expect("trains")
    );
    let tokens = tokenize_in_memory(corpus.documents(), &tokenizer, |_| {})
        .expect("tokens")
        .to_vec();
    assert_eq!(tokens[0], 0);
    assert_eq!(tokens[1..], tokenizer.encode(&text));
}

#[test]
fn a_text_that_is_cut_inside_a_character_is_joined_again() {
    // Each read gives one byte, so that every character arrives in pieces.
    struct Slow(std::io::Cursor<Vec<u8>>);
    impl std::io::Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = buffer.len().min(1);
            self.0.read(&mut buffer[..len])
        }
    }
    let text = "漢字 🙂 é ".repeat(50);
    let parts = plain::Parts::new(
        Slow(std::io::Cursor::new(text.clone().into_bytes())),
        "slow".to_owned(),
    );
    let read: String = parts.map(|part| part.expect("reads").text).collect();
    assert_eq!(read, text);
    let unbroken = "é".repeat(3 << 20);
    let parts = plain::Parts::new(
        std::io::Cursor::new(unbroken.clone().into_bytes()),
        "unbroken".to_owned(),
    );
    assert_eq!(
        parts
            .map(|part| part.expect("reads").text)
            .collect::<String>(),
        unbroken
    );
}

#[test]
fn characters_and_sizes_come_from_documents_too() {
    let folder = Folder::new();
    let corpus = Corpus::open(folder.write("t.txt", b"hello")).expect("opens");
    assert_eq!(
        train_characters(corpus.documents(), &[])
            .expect("characters")
            .vocab_size(),
        4
    );
    assert_eq!(corpus.bytes_on_disk().expect("a size"), 5);
    folder.write("t.txt", b"h\xff");
    train_characters(corpus.documents(), &[]).expect_err("not UTF-8");
}
