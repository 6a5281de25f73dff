//! Folders as transformers saves them, against the logits that it computes; and folders that are not whole.
//!
//! `fixtures/make_folders.py` made the files.

use std::path::{Path, PathBuf};

use gigaro_models::gpt::{Gpt, GptConfig, WEIGHTS_FILE, WEIGHTS_INDEX};
use gigaro_nn::Mode;
use gigaro_tensor::io;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/folders")
        .join(name)
}

#[test]
fn folders_give_the_logits_of_transformers() {
    for name in ["llama3", "qwen2", "qwen3"] {
        let dir = folder(name);
        let model = Gpt::from_hugging_face_folder(&dir).expect(name);
        let expected = io::load_safetensors(&dir.join("logits.safetensors")).expect("is read");
        let logits = model
            .forward(&expected["input_ids"], &Mode::Eval)
            .to_vec::<f32>();
        let theirs = expected["logits"].to_vec::<f32>();
        let largest = theirs.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
        let errors = logits.iter().zip(&theirs).map(|(a, b)| (a - b).abs());
        let error = errors.fold(0.0, f32::max) / largest;
        assert!(error < 1e-5, "{name}: {error:e}");
        // Our own configuration file says the same, in both spellings.
        let again = GptConfig::from_json(&model.config.to_json()).expect("our own");
        assert_eq!(again, model.config);
    }
}

#[test]
fn folders_that_are_not_whole_are_refused_with_what_is_missing() {
    let copy = std::env::temp_dir().join(format!("gigaro-folders-{}", std::process::id()));
    std::fs::create_dir_all(&copy).expect("is made");
    let refused = |expected: &str| {
        let error = Gpt::from_hugging_face_folder(&copy)
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    let put = |name: &str, text: &str| std::fs::write(copy.join(name), text).expect("is written");
    refused("config.json");
    put("config.json", "{}");
    refused("config.json: the model configuration cannot be read");
    std::fs::copy(
        folder("qwen2").join("config.json"),
        copy.join("config.json"),
    )
    .expect("is copied");
    refused(WEIGHTS_INDEX);
    put("pytorch_model.bin", "");
    refused("pytorch_model.bin, a pickle");
    put(WEIGHTS_INDEX, "[]");
    refused("not a JSON object");
    put(
        WEIGHTS_INDEX,
        r#"{"weight_map": {"a": "../a.safetensors"}}"#,
    );
    refused("no safetensors file beside it");
    put(WEIGHTS_INDEX, r#"{"weight_map": {"a": "a.safetensors"}}"#);
    refused("a.safetensors");
    put(WEIGHTS_FILE, "short");
    refused("not a readable safetensors file");
    std::fs::copy(folder("qwen3").join(WEIGHTS_FILE), copy.join(WEIGHTS_FILE)).expect("is copied");
    refused("the weights are not those of its config.json");
    std::fs::remove_dir_all(&copy).expect("is ours");
}
