//! Thousands of mutations of valid files, through every parser.

use super::*;
use crate::tokenizer::SPECIAL_TOKENS;
use gigaro_tensor::{Generator, testing::mutated};

/// Mutations tried per parser.
const CASES: u64 = 3000;

fn check(parser: fn(&[u8]), seeds: &[Vec<u8>]) {
    let dice = Generator::new(seeds.len() as u64);
    for seed in seeds {
        parser(seed);
    }
    for case in 0..CASES as usize {
        parser(&mutated(&seeds[case % seeds.len()], &dice));
    }
}

#[test]
fn no_tokenizer_json_panics() {
    let bpe = Tokenizer::train(["the cat sat on the mat"], 270, &SPECIAL_TOKENS).expect("trains");
    let characters =
        Tokenizer::characters(["hello wörld"], &["<|endoftext|>"]).expect("characters");
    let foreign = crate::tokenizer::foreign_tests::every_kind();
    let all = [bpe, characters].into_iter().chain(foreign);
    let seeds: Vec<Vec<u8>> = all
        .map(|tokenizer| tokenizer.to_json().into_bytes())
        .collect();
    check(tokenizer_json, &seeds);
}

#[test]
fn no_tokenizer_in_gguf_panics() {
    let files = crate::tokenizer::foreign_tests::written();
    for file in &files {
        let file = Gguf::from_bytes(file.clone()).expect("is read");
        Tokenizer::from_gguf(&file, "seed").expect("the seeds are valid");
    }
    check(gguf_tokenizer, &files);
}

#[test]
fn no_pair_of_gpt2_files_panics() {
    let bpe =
        Tokenizer::train(["the cat sat on the mat"], 262, &["<|endoftext|>"]).expect("trains");
    let file: serde_json::Value = serde_json::from_str(&bpe.to_json()).expect("JSON");
    let merges: Vec<String> = file["model"]["merges"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|merge| {
            format!(
                "{} {}",
                merge[0].as_str().expect("text"),
                merge[1].as_str().expect("text")
            )
        })
        .collect();
    let seed = format!(
        "{}\0#version: 0.2\n{}\n",
        file["model"]["vocab"],
        merges.join("\n")
    );
    check(bpe_files, &[seed.into_bytes()]);
}

#[test]
fn no_jsonl_panics() {
    let seeds = [
        &b"{\"text\": \"one\"}\n{\"text\": \"two\", \"n\": [1, 2.5, null, {}]}\n"[..],
        b"[{\"text\": \"one\"}, {\"text\": \"\\u00e9\"}]",
    ];
    check(jsonl, &seeds.map(<[u8]>::to_vec));
}

#[test]
fn no_conversation_file_panics() {
    let seeds = [
        &br#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#[..],
        br#"{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}"#,
        br#"[{"instruction": "a", "input": "b", "output": "c"}, {"prompt": "a", "response": "b"}]"#,
    ];
    check(conversations, &seeds.map(<[u8]>::to_vec));
}

#[test]
fn no_task_file_panics() {
    let seeds = [
        &br#"{"question": "2+2?", "choices": ["3", "4"], "answer": 1}"#[..],
        br#"[{"question": "Who?", "answer": "Ann"}]"#,
    ];
    check(tasks, &seeds.map(<[u8]>::to_vec));
}

#[test]
fn no_preference_file_panics() {
    let seeds = [
        &br#"{"prompt": "a", "chosen": "b", "rejected": "c"}"#[..],
        br#"{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}"#,
        br#"[{"prompt": "a", "answers": ["b", "c"], "ranks": [1, 2], "sources": ["x", "y"]}]"#,
        br#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "label": true}"#,
        br#"{"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"}, "rejected": {"from": "gpt", "value": "c"}}"#,
    ];
    check(preferences, &seeds.map(<[u8]>::to_vec));
}

#[test]
fn no_plain_text_panics() {
    check(
        plain_text,
        &["\u{feff}Some text, 漢字 and 🙂.\n\nMore."
            .as_bytes()
            .to_vec()],
    );
}

#[test]
fn no_parquet_panics() {
    let rows = [Some("one"), None, Some("two"), Some("one"), Some("three")];
    check(
        parquet,
        &[
            crate::corpus::sample_parquet(&rows),
            crate::corpus::sample_parquet(&[]),
        ],
    );
}

#[test]
fn no_shard_panics() {
    let parent = tempfile::tempdir().expect("a folder");
    let tokenizer = Tokenizer::characters(["abc"], &[]).expect("characters");
    let folder = parent.path().join("tokens");
    let mut writer = crate::shards::SetWriter::create(&folder, &tokenizer, 100).expect("starts");
    writer.push(&[0, 1, 2, 1, 0]).expect("writes");
    writer.finish().expect("finishes");
    check(
        shard,
        &[std::fs::read(folder.join("tokens-00000.shard")).expect("reads")],
    );
}

#[test]
fn no_chat_template_panics() {
    let seeds = [
        crate::chat::CHAT_TEMPLATE,
        "{% for m in messages %}{%- if m.role == 'user' and not loop.first %}{% continue %}{% endif -%}\
         {{ m['content'] | trim | upper }}{% generation %}{{ m.content.split('<')[0] * 2 }}{% endgeneration %}{% endfor %}",
        "{% macro f(x) %}{{ x[:3] ~ strftime_now('%Y') }}{% endmacro %}{% set ns = namespace(n=0) %}{{ f(messages[-1].content) }}\
         {% if ns.n is not defined %}{{ raise_exception('no') }}{% endif %}",
    ];
    check(chat_template, &seeds.map(|seed| seed.as_bytes().to_vec()));
}
