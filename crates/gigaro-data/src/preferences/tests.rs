//! Every shape in which preferences come, what is left out, and real data sets.

use super::*;
use crate::chat::{Conversation, Message};
use crate::shared_data;

fn rows(text: &str) -> Result<Vec<Row>> {
    read_from(std::io::Cursor::new(text.to_owned()), "data.jsonl").collect()
}

fn asked(text: &str) -> Conversation {
    vec![Message::user(text)].into()
}

fn pair(prompt: &str, chosen: &str, rejected: &str) -> Pair {
    Pair {
        prompt: asked(prompt),
        chosen: chosen.to_owned(),
        rejected: rejected.to_owned(),
    }
}

#[test]
fn every_shape_of_a_pair_gives_the_same_pair() {
    let expected = Row::Pair(pair("Say hi", "Hi!", "No."));
    for line in [
        r#"{"prompt": "Say hi", "chosen": "Hi!", "rejected": "No."}"#,
        r#"{"question": "Say hi", "system": "", "chosen": "Hi!", "rejected": "No."}"#,
        r#"{"instruction": "Say hi", "input": "", "output": "x", "chosen": "Hi!", "rejected": "No."}"#,
        r#"{"prompt": [{"role": "user", "content": "Say hi"}], "chosen": [{"role": "assistant", "content": "Hi!"}], "rejected": [{"role": "assistant", "content": "No."}]}"#,
        r#"{"chosen": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "Hi!"}], "rejected": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "No."}]}"#,
        r#"{"prompt": "Say hi", "chosen": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "Hi!"}], "rejected": [{"role": "user", "content": "Say hi"}, {"role": "assistant", "content": "No."}]}"#,
        r#"{"conversations": [{"from": "human", "value": "Say hi"}], "chosen": {"from": "gpt", "value": "Hi!"}, "rejected": {"from": "gpt", "value": "No."}}"#,
        r#"{"chosen": "\n\nHuman: Say hi\n\nAssistant: Hi!", "rejected": "\n\nHuman: Say hi\n\nAssistant: No."}"#,
        r#"{"prompt": "\n\nHuman: Say hi\n\nAssistant:", "chosen": "Hi!", "rejected": "No."}"#,
    ] {
        assert_eq!(rows(line).expect(line), std::slice::from_ref(&expected));
    }
}

#[test]
fn system_prompts_and_earlier_turns_belong_to_the_prompt() {
    let line = r#"{"system": "Be kind", "prompt": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}], "chosen": "d", "rejected": "e"}"#;
    let rows = rows(line).expect("a pair");
    let [Row::Pair(found)] = rows.as_slice() else {
        panic!("a pair")
    };
    let roles: Vec<&str> = found
        .prompt
        .messages
        .iter()
        .map(|m| m.role.name())
        .collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
}

#[test]
fn judgements_come_with_a_completion_or_as_the_last_message() {
    for line in [
        r#"{"prompt": "a", "completion": "b", "label": false}"#,
        r#"{"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}], "label": 0}"#,
        r#"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "label": false}"#,
    ] {
        let expected = Judgement {
            prompt: asked("a"),
            completion: "b".to_owned(),
            label: false,
        };
        assert_eq!(rows(line).expect(line), [Row::Judgement(expected)]);
    }
}

#[test]
fn errors_name_file_line_and_key() {
    for (line, expected) in [
        (
            r#"{"a": 1}"#,
            "data.jsonl, line 1: this is no preference (the keys are: a)",
        ),
        (
            r#"{"chosen": "a", "rejected": "b"}"#,
            "there is no prompt before the answers",
        ),
        (
            r#"{"prompt": 1, "chosen": "a", "rejected": "b"}"#,
            "the key `prompt` holds a number",
        ),
        (
            r#"{"prompt": "p", "chosen": null, "rejected": "b"}"#,
            "the key `chosen` holds null",
        ),
        (
            r#"{"prompt": "p", "chosen": {"role": "user", "content": "x"}, "rejected": "b"}"#,
            "does not end with the assistant",
        ),
        (
            r#"{"prompt": "p", "answers": ["a"], "ranks": [1]}"#,
            "`answers` has 1, and a ranking needs two",
        ),
        (
            r#"{"prompt": "p", "answers": ["a", "b"], "ranks": [1]}"#,
            "there are 2 answers and 1 ranks",
        ),
        (
            r#"{"prompt": "p", "answers": ["a", "b"], "ranks": [1, -1]}"#,
            "`ranks` holds -1",
        ),
        (
            r#"{"prompt": "p", "completion": "a", "label": "good"}"#,
            "the key `label` holds text",
        ),
    ] {
        let error = rows(line).expect_err(line).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_ranking_gives_its_pairs_and_counts_its_ties() {
    let line = r#"{"prompt": "p", "answers": ["a", "b", "c"], "ranks": [2, 1, 2]}"#;
    let found = Preferences::from_rows(rows(line).expect("a ranking"));
    assert_eq!(found.pairs, [pair("p", "b", "a"), pair("p", "b", "c")]);
    assert_eq!(found.row_of_pair, [0, 0]);
    assert_eq!(found.report.ties, 1);
    assert_eq!(dense_ranks(&[5, 2, 5, 9]), [2, 1, 2, 3]);
}

#[test]
fn what_teaches_nothing_is_left_out_and_counted() {
    let found = Preferences::from_rows([
        Row::Pair(pair("p", "a", "b")),
        Row::Pair(pair("p", "b ", "a")),
        Row::Pair(pair("p", "a", "b")),
        Row::Pair(pair("q", "a", "b")),
        Row::Pair(pair("p", "a", " a\n")),
        Row::Pair(pair("p", "", "a")),
        Row::Diverging,
    ]);
    let report = &found.report;
    assert_eq!((report.rows, report.pairs), (7, 4));
    assert_eq!((report.equal, report.empty, report.diverging), (1, 1, 1));
    assert_eq!((report.repeated, report.contradictions), (1, 1));
    let said = report.sentences().join(" ");
    assert!(said.starts_with("7 rows give 4 pairs"), "{said}");
    assert!(
        said.contains("1 pair of answers was judged both ways"),
        "{said}"
    );
}

#[test]
fn what_is_written_is_read_back_whether_plain_or_as_messages() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut deep = pair("q", "x", "y");
    deep.prompt.messages.insert(0, Message::system("s"));
    for (name, pairs) in [
        ("plain.jsonl", vec![pair("p", "a", "b\n\u{1F642}")]),
        ("messages.jsonl.gz", vec![pair("p", "a", "b"), deep]),
    ] {
        let path = folder.path().join(name);
        write_pairs(&path, pairs.iter()).expect("writes");
        assert_eq!(read(&path).expect("reads").pairs, pairs);
    }
    let text = std::fs::read_to_string(folder.path().join("plain.jsonl")).expect("reads");
    assert!(text.starts_with(r#"{"prompt":"p","chosen":"a","#), "{text}");
    let judged = [Judgement {
        prompt: asked("p"),
        completion: "c".to_owned(),
        label: true,
    }];
    let path = folder.path().join("judged.jsonl");
    write_judgements(&path, &judged).expect("writes");
    assert_eq!(read(&path).expect("reads").judgements, judged);
    let ranking = Ranking {
        prompt: asked("p"),
        answers: vec!["a".to_owned(), "b".to_owned()],
        ranks: vec![2, 1],
    };
    let path = folder.path().join("ranked.jsonl");
    let more = serde_json::json!({"labeller": "ann"});
    write_rankings(&path, std::iter::once((&ranking, more))).expect("writes");
    assert_eq!(read(&path).expect("reads").pairs, ranking.pairs());
    let text = std::fs::read_to_string(&path).expect("reads");
    assert!(text.contains(r#""labeller":"ann""#), "{text}");
}

#[test]
fn a_file_without_a_usable_preference_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("same.jsonl");
    std::fs::write(&path, r#"{"prompt": "p", "chosen": "a", "rejected": "a"}"#).expect("writes");
    let error = read(&path).expect_err("nothing to learn").to_string();
    assert!(
        error.contains("1 pair has the same answer twice"),
        "{error}"
    );
}

#[test]
fn real_data_sets_are_read() {
    for (name, pairs, judgements, left_out) in [
        ("chat/hh_harmless/pairs.jsonl.gz", 1495, 0, 5),
        ("chat/llama_factory/dpo_en_demo.json.gz", 300, 0, 0),
        ("chat/llama_factory/kto_en_demo.json.gz", 0, 300, 0),
        (
            "chat/instructions_1100/instruction-data-with-preference.json",
            1094,
            0,
            6,
        ),
    ] {
        let Some(path) = shared_data::find(name) else {
            continue;
        };
        let found = read(&path).expect(name);
        let report = &found.report;
        assert_eq!(found.pairs.len(), pairs, "{name}: {report:?}");
        assert_eq!(found.judgements.len(), judgements, "{name}: {report:?}");
        let out = report.equal + report.empty + report.diverging;
        assert_eq!(out, left_out, "{name}: {report:?}");
    }
}
