//! `gigaro reward`, `align` and `compare` from outside, from one tiny assistant: each algorithm to its end, an interrupted run, and
//! input that is no good.

#[path = "../../gigaro-serve/tests/peer/mod.rs"]
mod peer;
mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gigaro_serve::conversations::{AnswerEnd, AnswerRequest, New, State, Store};
use peer::{Asked, Peer, Say};
use running::{Ran, gigaro_in, interrupted, ran, succeeded, tiny_recipe, told, weights};
use serde_json::{Value, json};

/// What the tests start from.
struct Start {
    folder: tempfile::TempDir,
}

impl Start {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The fine-tuned model.
    fn assistant(&self) -> String {
        self.path("tiny/sft")
    }

    /// A reward model of the same tokenizer.
    fn judge(&self) -> String {
        self.path("judge")
    }
}

const ALIGNMENT: &str = "\
[reward]
prompts = 32
answers = 3
noise = 0.1
steps = 4
batch_size = 8
learning_rate = 1e-3
[ppo]
steps = 4
batch_size = 8
max_answer_tokens = 16
learning_rate = 1e-3
ppo_epochs = 2
minibatches = 2
kl_coef = 0.05
vf_coef = 0.1
ptx_coef = 1.0
missing_eos_penalty = -3.0
eval_every = 2
eval_prompts = 8
compare_prompts = 20
[align]
steps = 4
batch_size = 4
learning_rate = 1e-3
answers = 3
prompts = 12
max_answer_tokens = 16
courtesy = 0.5
eval_every = 2
eval_prompts = 8
compare_prompts = 20
";

/// The tiny assistant and its reward model, made once.
fn start() -> &'static Start {
    static START: OnceLock<Start> = OnceLock::new();
    START.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path();
        let recipe = tiny_recipe(20);
        fs::write(here.join("plain.toml"), &recipe).expect("written");
        fs::write(here.join("tiny.toml"), format!("{recipe}{ALIGNMENT}")).expect("written");
        let road = [
            "speedrun",
            "--recipe",
            "plain.toml",
            "--out",
            "tiny",
            "--json",
        ];
        succeeded(gigaro_in(here, &road));
        let judge = ["reward", "--recipe", "tiny.toml", "--checkpoint", "tiny"];
        let judge = [&judge[..], &["--out", "judge", "--json"]].concat();
        let said = succeeded(gigaro_in(here, &judge)).json();
        let accuracy = said["accuracy"].as_f64().expect("a number");
        let (low, high) = (&said["accuracy_low"], &said["accuracy_high"]);
        assert!(low.as_f64() <= Some(accuracy) && high.as_f64() >= Some(accuracy));
        assert!(
            said["calibration"]
                .as_array()
                .is_some_and(|bins| !bins.is_empty())
        );
        has_charts(&here.join("judge"), &["Reward model"]);
        Start { folder }
    })
}

#[track_caller]
fn has_charts(run: &Path, titles: &[&str]) {
    let page = fs::read_to_string(run.join("report.html")).expect("a report");
    assert!(page.contains("<svg") && !page.contains("src=\"http"));
    for title in titles {
        assert!(page.contains(title), "no {title:?} in the report");
    }
}

/// `gigaro align` from the tiny assistant into the folder `out` below `here`.
fn align(here: &Path, algorithm: &str, out: &str, more: &[&str]) -> Ran {
    let (recipe, from) = (start().path("tiny.toml"), start().assistant());
    let args = ["align", "--algorithm", algorithm, "--recipe", &recipe];
    let args = [
        &args[..],
        &["--checkpoint", &from, "--out", out, "--json"],
        more,
    ]
    .concat();
    gigaro_in(here, &args)
}

/// Aligns, looks at what was said and shown, and returns the object.
#[track_caller]
fn reaches_its_end(algorithm: &str, charts: &[&str], more: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let said = succeeded(align(folder.path(), algorithm, "run", more)).json();
    assert_eq!(said["algorithm"], algorithm);
    let rate = said["win_rate"].as_f64().expect("a win rate");
    assert!((0.0..=1.0).contains(&rate), "{said}");
    assert_eq!(said["models"].as_array().map(Vec::len), Some(2));
    let run = folder.path().join("run");
    has_charts(&run, charts);
    assert!(
        fs::read_to_string(run.join("recipe.toml"))
            .expect("a recipe")
            .contains("[align]")
    );
    let before = weights(&PathBuf::from(start().assistant()));
    assert_ne!(weights(&run), before, "{algorithm} has learnt nothing");
    said
}

#[test]
fn algorithms_that_learn_from_preferences_reach_their_end_on_the_simulated_labellers() {
    for (algorithm, chart) in [
        ("dpo", "Implicit rewards"),
        ("ipo", "Pairs in which"),
        ("kto", "Point of reference"),
        ("orpo", "Fine-tuning part"),
    ] {
        reaches_its_end(algorithm, &["Loss", chart, "Held against each other"], &[]);
    }
}

/// A store in which somebody has compared two answers to each of so many questions.
fn feedback(path: &Path, questions: usize) {
    let mut store = Store::open_or_create(path).expect("made");
    for number in 0..questions {
        let id = store.create("ann", &New::default()).expect("created");
        let question = format!("What is {number} plus 1?");
        let parent = store.ask("ann", id, None, &question).expect("asked");
        let mut answers = [0; 2];
        for (answer, content) in answers
            .iter_mut()
            .zip([format!("It is {}.", number + 1), "No.".into()])
        {
            let asked = AnswerRequest {
                parent,
                system: String::new(),
                request: json!({}),
                model: "tiny".into(),
            };
            *answer = store.begin_answer("ann", id, &asked).expect("begun");
            let end = AnswerEnd {
                content,
                state: State::Complete,
                reason: None,
                tokens: None,
                usage: json!({}),
            };
            store.finish(*answer, &end).expect("kept");
        }
        store
            .choose("ann", answers, Some(answers[0]))
            .expect("chosen");
    }
}

#[test]
fn what_people_thought_of_answers_is_learnt_and_taken_only_if_better() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    feedback(&here.join("chat.db"), 24);
    let more = ["--from-feedback", "chat.db"];
    let said = succeeded(align(here, "dpo", "run", &more)).json();
    let better = said["win_rate_low"].as_f64() > Some(0.5);
    assert_eq!(said["takes_its_place"], better);
    assert_eq!(here.join("runs/last").exists(), better);
    assert_ne!(
        weights(&here.join("run")),
        weights(&PathBuf::from(start().assistant()))
    );
    told(
        &align(here, "ppo", "other", &more),
        "take dpo, ipo, kto or orpo",
    );
    let mut store = Store::open(here.join("chat.db")).expect("the store");
    let noted = store.trainings().expect("notes").remove(0);
    let noted = serde_json::to_value(noted).expect("JSON");
    assert_eq!(
        (&noted["taken"], &noted["algorithm"]),
        (&json!(better), &json!("dpo"))
    );
    assert_eq!(noted["win_rate"][1], said["win_rate_low"]);
    assert_eq!(noted["learned_from"], 24);
    // A server that is to serve a better model is looked for before anything is begun.
    let away = [&more[..], &["--swap", "http://127.0.0.1:9"]].concat();
    told(
        &align(here, "dpo", "other", &away),
        "cannot swap the served model",
    );
    assert!(!here.join("other").exists());
    feedback(&here.join("empty.db"), 0);
    let none = ["--from-feedback", "empty.db"];
    told(&align(here, "dpo", "other", &none), "nobody has said");
    told(
        &align(here, "dpo", "other", &["--from-feedback", "no.db"]),
        "there is no store",
    );
}

#[test]
fn algorithms_that_learn_from_answers_of_their_own_reach_their_end() {
    let judge = start().judge();
    let by_model = ["--reward", judge.as_str()];
    let charts = ["Score", "Distance from the start", "Requests in disguise"];
    reaches_its_end("ppo", &charts, &by_model);
    reaches_its_end("grpo", &charts, &[]);
    reaches_its_end("rloo", &charts, &by_model);
}

#[test]
fn the_best_of_n_are_kept_as_conversations_that_fine_tuning_reads() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let judge = start().judge();
    succeeded(align(here, "best-of-n", "best", &["--reward", &judge]));
    let kept = fs::read_to_string(here.join("best/best_of_n.jsonl")).expect("conversations");
    let lines: Vec<Value> = kept
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 12);
    for line in &lines {
        let scores = line["scores"].as_array().expect("scores");
        let best = scores
            .iter()
            .filter_map(Value::as_f64)
            .fold(f64::MIN, f64::max);
        assert_eq!((scores.len(), line["score"].as_f64()), (3, Some(best)));
    }
    let (recipe, from) = (start().path("tiny.toml"), start().assistant());
    let sft = ["sft", "--recipe", &recipe, "--checkpoint", &from];
    let chats = ["--chats", "best/best_of_n.jsonl", "--out", "again"];
    succeeded(gigaro_in(here, &[&sft[..], &chats[..]].concat()));
}

#[test]
fn models_are_compared_by_the_truth_and_by_a_reward_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let (base, tuned, judge) = (
        start().path("tiny/pretrain"),
        start().assistant(),
        start().judge(),
    );
    let models = [
        "compare",
        &base,
        &tuned,
        &tuned,
        "--prompts",
        "20",
        "--json",
    ];
    let page = [&models[..], &["--report", "page.html"]].concat();
    let said = succeeded(gigaro_in(folder.path(), &page)).json();
    let duels = said["duels"].as_array().expect("duels");
    assert_eq!(duels.len(), 3);
    let (low, high) = (&duels[0]["low"], &duels[0]["high"]);
    assert!(
        low.as_f64() <= duels[0]["rate"].as_f64() && duels[0]["rate"].as_f64() <= high.as_f64()
    );
    assert_eq!(duels[2]["ties"], 20, "a model against itself");
    assert!(duels[0]["length_controlled"].is_number());
    let page = fs::read_to_string(folder.path().join("page.html")).expect("a page");
    assert!(page.contains("What the models do") && page.contains("Requests in disguise"));
    let judge = format!("reward:{judge}");
    let by_model = [&models[..], &["--judge", &judge]].concat();
    let said = succeeded(gigaro_in(folder.path(), &by_model)).json();
    assert!(
        said["judge"]
            .as_str()
            .is_some_and(|name| name.starts_with("reward model"))
    );
    told(&gigaro_in(folder.path(), &["compare", &base]), "MODEL");
    let judged_by = [&models[..], &["--judge", "nobody"]].concat();
    told(&gigaro_in(folder.path(), &judged_by), "reward:DIR");
    let stray = [&models[..], &["--judge-model", "m"]].concat();
    told(&gigaro_in(folder.path(), &stray), "give --judge URL");
}

/// The untuned model against the tuned one, or the other way round, by a judge behind an address.
fn judged(peer: &Peer, turned: bool, more: &[&str]) -> Ran {
    let mut models = [start().path("tiny/pretrain"), start().assistant()];
    if turned {
        models.reverse();
    }
    let [one, other] = &models;
    let run = Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .args(["compare", one, other, "--prompts", "12"])
        .args(["--judge", &peer.address])
        .args(more)
        .env("OPENAI_API_KEY", "sk-test")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    ran(run)
}

/// A judge that likes long answers, whichever comes first.
fn longer(asked: &Asked) -> &'static str {
    let material = asked.body["messages"][1]["content"]
        .as_str()
        .unwrap_or("{}");
    let material: Value = serde_json::from_str(material).expect("one JSON object");
    let length = |key: &str| material[key].as_str().map_or(0, str::len);
    match length("answer_a").cmp(&length("answer_b")) {
        std::cmp::Ordering::Less => "B",
        std::cmp::Ordering::Equal => "tie",
        std::cmp::Ordering::Greater => "A",
    }
}

fn counts(run: Ran) -> [u64; 5] {
    let said = succeeded(run).json();
    let duel = &said["duels"][0];
    let count = |key: &str| {
        duel[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{key}: {duel}"))
    };
    ["wins", "ties", "losses", "swayed", "unreadable"].map(count)
}

#[test]
fn a_model_behind_an_address_judges_in_both_orders() {
    let model = ["--judge-model", "long", "--json"];
    let peer = Peer::start(|asked| Say::Words(longer(asked).into()));
    let [wins, ties, losses, swayed, unreadable] = counts(judged(&peer, false, &model));
    assert_eq!((wins + ties + losses, swayed, unreadable), (12, 0, 0));
    assert!(wins + losses > 0, "the models write answers of one length");
    let turned = counts(judged(&peer, true, &model));
    assert_eq!(turned, [losses, ties, wins, 0, 0]);
    let seen = peer.seen();
    assert_eq!(seen[0].body["model"], "long");
    assert!(
        seen.iter()
            .all(|asked| asked.head.contains("Bearer sk-test"))
    );
    // Twice for each prompt on which the answers differ, and once to see that it is there.
    let pairs: std::collections::BTreeSet<String> = seen
        .iter()
        .map(|asked| asked.body["messages"].to_string())
        .collect();
    assert!(
        pairs.len() > 2 * (wins + losses) as usize,
        "{}",
        pairs.len()
    );
}

#[test]
fn a_judge_that_always_takes_the_first_prefers_nobody() {
    let peer = Peer::start(|_| Say::Words("A".into()));
    let run = judged(&peer, false, &["--judge-model", "m", "--json"]);
    let [wins, ties, losses, swayed, unreadable] = counts(run);
    assert_eq!((wins, ties, losses, unreadable), (0, 12, 0, 0));
    assert!(swayed > 0);
    let shown = succeeded(judged(&peer, false, &["--judge-model", "m"]));
    let sentence = format!("{swayed} tied as the order swayed the judge");
    assert!(shown.stdout.contains(&sentence), "{}", shown.stdout);
}

#[test]
fn verdicts_that_cannot_be_read_are_left_out_and_told() {
    let mut asked_before = 0;
    let peer = Peer::start(move |asked| {
        asked_before += 1;
        Say::Words(match asked_before % 5 {
            0 => "Both have their merits.".into(),
            _ if asked.body["messages"][1].is_null() => "A".into(),
            _ => longer(asked).into(),
        })
    });
    let run = succeeded(judged(&peer, false, &["--judge-model", "m", "--json"]));
    let said = run.json();
    let [wins, ties, losses, _, unreadable] = counts(run);
    assert!(
        unreadable > 0 && wins + ties + losses + unreadable == 12,
        "{said}"
    );
    let remark = said["judge_remark"].as_str().expect("a remark");
    assert!(remark.contains("Both have their merits."), "{remark}");
    let mute = Peer::start(|_| Say::Words("I am a teapot.".into()));
    let run = judged(&mute, false, &["--judge-model", "m"]);
    told(&run, "no verdict");
    told(&run, "I am a teapot.");
}

#[test]
fn a_judge_that_cannot_be_asked_is_told_before_anything_is_written() {
    let refusing = Peer::start(|_| {
        let said = r#"{"error": {"message": "Incorrect API key sk-test"}}"#;
        Say::Status("401 Unauthorized", "", said.into())
    });
    let run = judged(&refusing, false, &["--judge-model", "m"]);
    told(&run, "check the key in OPENAI_API_KEY");
    assert!(!run.stderr.contains("sk-test"), "{}", run.stderr);
    assert!(
        !run.stdout.contains("refus"),
        "models were asked: {}",
        run.stdout
    );
    assert_eq!(refusing.seen().len(), 1);
    told(&judged(&refusing, false, &[]), "--judge-model");
    let no_key = ["--judge-model", "m", "--judge-key-env", "NO_SUCH_KEY_HERE"];
    told(&judged(&refusing, false, &no_key), "NO_SUCH_KEY_HERE");
    let slow = Peer::start(|_| Say::Late(Duration::from_secs(30)));
    let hurried = ["--judge-model", "m", "--judge-timeout", "1"];
    told(&judged(&slow, false, &hurried), "within 1 seconds");
}

#[cfg(unix)]
#[test]
fn an_interrupted_ppo_run_ends_with_the_weights_of_one_that_was_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let judge = start().judge();
    let recipe = fs::read_to_string(start().path("tiny.toml")).expect("a recipe");
    let (before, after) = recipe.split_once("[ppo]\nsteps = 4").expect("steps of PPO");
    let more = "ptx_on = \"chats\"\nverified_coef = 0.5\nwhiten_rewards = true";
    let longer = format!("{before}[ppo]\nsteps = 40\n{more}{after}");
    fs::write(here.join("longer.toml"), longer).expect("written");
    let from = start().assistant();
    let args = |out: &'static str| {
        let args = ["align", "--algorithm", "ppo", "--recipe", "longer.toml"];
        let more = ["--checkpoint", &from, "--reward", &judge, "--out", out];
        [&args[..], &more[..]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let whole = args("whole");
    let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
    let told = succeeded(gigaro_in(here, &whole)).stdout;
    assert!(told.contains("score, and 0.5 more for an answer"), "{told}");

    let child = Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .args(args("interrupted"))
        .current_dir(here)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let latest = here.join("interrupted/checkpoints/latest");
    let since = Instant::now();
    while !latest.exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    let said = interrupted(child);
    assert!(said.contains("gigaro align --resume interrupted"), "{said}");
    assert_ne!(
        weights(&here.join("interrupted")),
        weights(&here.join("whole"))
    );
    succeeded(gigaro_in(here, &["align", "--resume", "interrupted"]));
    assert_eq!(
        weights(&here.join("interrupted")),
        weights(&here.join("whole"))
    );
}

/// Pairs as JSON lines.
fn write_pairs(path: &Path, pairs: &[(&str, &str, &str)]) {
    let line = |(prompt, chosen, rejected): &(&str, &str, &str)| {
        let line = json!({ "prompt": prompt, "chosen": chosen, "rejected": rejected });
        format!("{line}\n")
    };
    fs::write(path, pairs.iter().map(line).collect::<String>()).expect("written");
}

#[test]
fn preferences_that_teach_nothing_are_counted_and_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let long = "word ".repeat(200);
    write_pairs(
        &here.join("equal.jsonl"),
        &[("a", "b", "b"), ("a", "c", " c ")],
    );
    write_pairs(&here.join("empty.jsonl"), &[("a", "", "b")]);
    write_pairs(
        &here.join("long.jsonl"),
        &[(&long, "b", "c"), (&long, "d", "e")],
    );
    fs::write(here.join("broken.jsonl"), "{\"prompt\": \n").expect("written");
    fs::write(here.join("other.jsonl"), "{\"text\": \"a\"}\n").expect("written");
    let both = |file: &str, words: &str| {
        let (recipe, from) = (start().path("tiny.toml"), start().assistant());
        let out = format!("reward-{file}");
        let args = ["reward", "--recipe", &recipe, "--checkpoint", &from];
        let args = [&args[..], &["--out", &out, "--preferences", file]].concat();
        told(&gigaro_in(here, &args), words);
        let out = format!("dpo-{file}");
        told(&align(here, "dpo", &out, &["--preferences", file]), words);
    };
    both("equal.jsonl", "2 pairs have the same answer twice");
    both("empty.jsonl", "1 pair or judgement has an empty answer");
    both("long.jsonl", "2 longer than the model's context");
    both("broken.jsonl", "broken.jsonl, line 1");
    both("other.jsonl", "this is no preference");
    both("missing.jsonl", "there is no file or folder missing.jsonl");

    // What can be learnt from is, and the rest is counted.
    let good = [
        ("Who?", "I.", "You."),
        ("What?", "This.", "That."),
        ("a", "b", "b"),
    ];
    write_pairs(
        &here.join("mixed.jsonl"),
        &[&good[..], &[(&long, "b", "c")]].concat(),
    );
    let run = succeeded(align(
        here,
        "dpo",
        "mixed",
        &["--preferences", "mixed.jsonl"],
    ));
    for words in [
        "1 pair has the same answer twice",
        "1 longer than the model's context",
    ] {
        assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
    }
}

#[test]
fn models_that_do_not_belong_together_and_missing_ones_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let (judge, assistant) = (start().judge(), start().assistant());
    // The same road with another vocabulary: its tokens mean something else.
    let other = tiny_recipe(20).replace("vocab_size = 400", "vocab_size = 380");
    fs::write(here.join("other.toml"), other).expect("written");
    let pretrain = ["pretrain", "--recipe", "other.toml", "--out", "other"];
    succeeded(gigaro_in(here, &pretrain));
    let recipe = start().path("tiny.toml");
    let from_other = [
        "--recipe",
        recipe.as_str(),
        "--checkpoint",
        "other",
        "--out",
    ];
    let with = |algorithm: &str, out: &str, reward: &str| {
        let args = ["align", "--algorithm", algorithm, "--reward", reward];
        gigaro_in(here, &[&args[..], &from_other, &[out]].concat())
    };
    told(&with("ppo", "a", &judge), "trained with another tokenizer");
    told(
        &with("best-of-n", "b", &judge),
        "trained with another tokenizer",
    );
    told(&with("ppo", "c", &assistant), "not those of a reward model");
    told(
        &with("ppo", "d", "nowhere"),
        "there is no file or folder nowhere",
    );
    told(
        &align(here, "ppo", "e", &[]),
        "train one with `gigaro reward`",
    );
    told(
        &align(here, "dpo", "f", &["--reward", &judge]),
        "leave out --reward",
    );
    let own = ["--preferences", recipe.as_str()];
    told(&align(here, "rloo", "g", &own), "leave out --preferences");
    told(&align(here, "pdo", "h", &[]), "dpo");
    let missing = ["reward", "--checkpoint", "nowhere", "--out", "i"];
    told(&gigaro_in(here, &missing), "nowhere");
    let empty = tempfile::tempdir().expect("a folder");
    let nothing = gigaro_in(empty.path(), &["reward"]);
    told(&nothing, "no model was trained in this folder yet");
    // None of them has left a folder that stands in the way.
    for out in ["d", "e", "f", "g", "h", "i"] {
        assert!(!here.join(out).exists(), "{out}");
    }
}
