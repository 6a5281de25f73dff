//! A checkpoint with a chat template of its own, from outside: what it is fine-tuned, asked and aligned with.

mod running;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use gigaro_data::chat::CHAT_TEMPLATE;
use running::{Ran, checkpoint, gigaro_in, ran, succeeded, tiny_recipe, weights};

const ALIGNMENT: &str = "\
[reward]
prompts = 16
answers = 3
noise = 0.1
steps = 2
batch_size = 8
learning_rate = 1e-3
[align]
steps = 2
batch_size = 4
learning_rate = 1e-3
max_answer_tokens = 16
eval_every = 2
eval_prompts = 8
compare_prompts = 8
";

/// Shorter than the house format, and refuses a word.
const OWN: &str = "{% for m in messages %}\
     {% if 'teapot' in m.content %}{{ raise_exception('no teapots here') }}{% endif %}\
     {{ ('<|user|>' if m.role == 'user' else '<|assistant|>') + m.content + '<|end|>' }}{% endfor %}\
     {% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// Three copies of a pretrained model in a folder: `plain`, `house` with the house format as its template, `own` with another one.
fn bases() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let recipe = format!("{}{ALIGNMENT}", tiny_recipe(10));
    fs::write(here.join("tiny.toml"), recipe).expect("written");
    for name in ["plain", "house", "own"] {
        let args = ["pretrain", "--recipe", "tiny.toml", "--out", name];
        succeeded(gigaro_in(here, &args));
    }
    let config = serde_json::json!({ "chat_template": CHAT_TEMPLATE, "eos_token": "<|end|>" });
    let put = |base: &str, file: &str, text: &str| {
        fs::write(checkpoint(&here.join(base)).join(file), text).expect("written");
    };
    put("house", "tokenizer_config.json", &config.to_string());
    put("own", "tokenizer_config.json", &config.to_string());
    put("own", "chat_template.jinja", OWN);
    folder
}

/// What `gigaro chat` says to these lines.
fn chat(here: &Path, model: &str, lines: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .args(["chat", model, "--temperature", "0", "--max-tokens", "8"])
        .current_dir(here)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).expect("it listens");
    drop(stdin);
    ran(child.wait_with_output().expect("it ends"))
}

#[test]
fn a_models_own_template_is_trained_with_passed_on_and_asked_with() {
    let folder = bases();
    let here = folder.path();
    let tuned = |base: &str, out: &str, more: &[&str]| {
        let args = ["sft", "--recipe", "tiny.toml", "--checkpoint", base];
        let args = [&args[..], &["--out", out], more].concat();
        succeeded(gigaro_in(here, &args)).stdout
    };
    let said = [
        tuned("plain", "plain-chat", &[]),
        tuned("house", "house-chat", &[]),
        tuned("own", "own-chat", &[]),
        tuned("own", "own-lora", &["--lora", "2"]),
    ];
    let told = said.map(|out| out.contains("the chat template of the tokenizer"));
    assert_eq!(told, [false, true, true, true]);
    let of = |run: &str| weights(&here.join(run));
    // The template that says what the house format says teaches the same, and another one does not.
    assert_eq!(of("plain-chat"), of("house-chat"));
    assert_ne!(of("plain-chat"), of("own-chat"));
    for run in ["own-chat", "own-lora"] {
        let folder = checkpoint(&here.join(run));
        let kept = |file: &str| fs::read_to_string(folder.join(file)).expect(file);
        assert_eq!(kept("chat_template.jinja"), OWN);
        assert!(kept("tokenizer_config.json").contains("eos_token"));
        assert!(kept("manifest.json").contains("chat_template.jinja"));
    }
    let plain = checkpoint(&here.join("plain-chat"));
    assert!(!plain.join("chat_template.jinja").exists());
    assert!(!plain.join("tokenizer_config.json").exists());

    speaks_in_its_own_format(here);
    is_aligned_in_its_own_format(here);

    let template = checkpoint(&here.join("own-chat")).join("chat_template.jinja");
    fs::write(&template, OWN.replace("teapot", "kettle")).expect("written");
    let altered = chat(here, "own-chat", "Hello\n");
    assert_eq!(altered.code, 1, "{}", altered.stdout);
    assert!(
        altered.stderr.contains("has changed since it was saved"),
        "{}",
        altered.stderr
    );
}

fn speaks_in_its_own_format(here: &Path) {
    let words = "Who are you?\nAnd where?\n";
    let [plain, house] = ["plain-chat", "house-chat"].map(|m| succeeded(chat(here, m, words)));
    assert!(!plain.stdout.trim().is_empty());
    assert_eq!(plain.stdout, house.stdout);
    // What the template refuses is told and forgotten, and the conversation goes on.
    let refused = succeeded(chat(here, "own-chat", "I am a teapot.\nHello\n"));
    assert!(
        refused.stderr.contains("no teapots here"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stdout.is_empty());

    let generate = |model: &str, text: &str, more: &[&str]| {
        let args = ["generate", text, "--checkpoint", model, "--json"];
        let more = [more, &["--temperature", "0", "--max-tokens", "4"]].concat();
        gigaro_in(here, &[&args[..], &more].concat())
    };
    let own = succeeded(generate("own-chat", "Hello", &[])).json();
    assert_eq!(own["chat_template"], true);
    let refused = generate("own-chat", "a teapot", &[]);
    assert!(
        refused.code == 1 && refused.stderr.contains("no teapots here"),
        "{}",
        refused.stderr
    );
    let raw = succeeded(generate("own-chat", "a teapot", &["--raw"])).json();
    assert_eq!(raw["chat_template"], false);
    let plain = succeeded(generate("plain-chat", "a teapot", &[])).json();
    assert_eq!(plain["chat_template"], false);
    assert_eq!(
        plain["tokens"],
        succeeded(generate("plain-chat", "a teapot", &["--raw"])).json()["tokens"]
    );
    let long = "word ".repeat(100);
    let too_long = generate("own-chat", &long, &[]);
    assert!(
        too_long.code == 2 && too_long.stderr.contains("shorten the prompt"),
        "{}",
        too_long.stderr
    );
}

fn is_aligned_in_its_own_format(here: &Path) {
    let args = ["align", "--algorithm", "dpo", "--recipe", "tiny.toml"];
    let args = [&args[..], &["--checkpoint", "own-chat", "--out", "own-dpo"]].concat();
    succeeded(gigaro_in(here, &args));
    let template = checkpoint(&here.join("own-dpo")).join("chat_template.jinja");
    assert_eq!(fs::read_to_string(template).expect("a template"), OWN);
    // Pairs are written by the template too, which refuses this one.
    let pair = r#"{"prompt": "a teapot", "chosen": "yes", "rejected": "no"}"#;
    fs::write(here.join("pairs.jsonl"), pair).expect("written");
    let pairs = [
        &args[..5],
        &[
            "--checkpoint",
            "own-chat",
            "--out",
            "no",
            "--preferences",
            "pairs.jsonl",
        ],
    ];
    let refused = gigaro_in(here, &pairs.concat());
    assert!(
        refused.code == 1 && refused.stderr.contains("no teapots here"),
        "{}",
        refused.stderr
    );
    let exam = [
        "evaluate",
        "own-chat",
        "--questions-per-kind",
        "1",
        "--json",
    ];
    succeeded(gigaro_in(here, &exam));
}
