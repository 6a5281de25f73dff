//! Several weights behind one name: adapters that share their base, and checkpoints that take each other's place under load.

mod service;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gigaro_models::gpt::WeightFormat;
use gigaro_models::lora::LoraConfig;
use gigaro_models::{Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_serve::engine::{AdapterSource, ModelSource};
use gigaro_serve::server::{Access, Server};
use gigaro_tensor::{DType, Device, Generator, Tensor, no_grad};
use serde_json::{Value, json};
use service::{CONTEXT, get, loaded, metric, model, post, serve_all, settings, source, tokenizer};

/// Writes an adapter that changes what the model says.
fn write_adapter(model: &Gpt, dir: &Path, seed: u64) {
    let mut model = model.clone();
    model
        .add_lora(&LoraConfig::new(2), &Generator::new(seed))
        .expect("fits");
    let g = Generator::new(seed);
    no_grad(|| {
        for (_, p) in model.lora_parameters().named_parameters() {
            p.add_(&(Tensor::randn(p.shape(), DType::F32, Device::Cpu, &g) * 0.3));
        }
    });
    model.save_lora(dir, None).expect("writes");
}

fn asked(model: &str, seed: u64) -> Value {
    json!({ "model": model, "prompt": "the king of the old city reads a book about rivers", "max_tokens": 24,
        "seed": seed, "logprobs": 2, "ignore_eos": true })
}

fn reply(server: &Server, body: &Value) -> Value {
    let answer = post(server, "/v1/completions", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["choices"][0].clone()
}

#[test]
fn adapters_answer_in_mixed_company_what_they_answer_alone_and_share_nothing_they_read() {
    for weights in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
        let dir = tempfile::tempdir().expect("a folder");
        let adapters: Vec<AdapterSource> = [("small:one", 1), ("small:two", 2)]
            .map(|(name, seed)| {
                let dir = dir.path().join(name);
                write_adapter(&model(), &dir, seed);
                AdapterSource {
                    name: name.to_owned(),
                    dir,
                }
            })
            .into();
        let served = |slots| {
            let mut small = source("small", model(), weights, Duration::ZERO);
            small.adapters.clone_from(&adapters);
            let mut settings = settings();
            settings.engine.slots = slots;
            serve_all(vec![small], settings)
        };
        let names = ["small", "small:one", "small:two"];
        let alone: Vec<Value> = (0..9)
            .map(|i| reply(&served(1), &asked(names[i % 3], i as u64)))
            .collect();
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            assert_ne!(alone[a]["logprobs"], alone[b]["logprobs"], "{weights:?}");
        }
        let server = served(8);
        // Twice: the second time their texts are in the cache already.
        for _ in 0..2 {
            let together: Vec<Value> = std::thread::scope(|scope| {
                let server = &server;
                let asking: Vec<_> = (0..9)
                    .map(|i| scope.spawn(move || reply(server, &asked(names[i % 3], i as u64))))
                    .collect();
                asking
                    .into_iter()
                    .map(|one| one.join().expect("a reply"))
                    .collect()
            });
            assert!(together == alone, "{weights:?}");
        }
        let listed = get(&server, "/v1/models").json();
        let listed: Vec<(&Value, &Value)> = listed["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| (&one["id"], &one["parent"]))
            .collect();
        let small = json!("small");
        let [one, two] = [json!("small:one"), json!("small:two")];
        assert_eq!(
            listed,
            [(&small, &Value::Null), (&one, &small), (&two, &small)]
        );
    }
}

#[test]
fn an_adapter_for_another_model_is_refused_with_its_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let other = GptConfig::gpt2(tokenizer().vocab_size(), CONTEXT, 3, 4, 32);
    write_adapter(&Gpt::new(&other, &Generator::new(1)), dir.path(), 1);
    let mut small = source("small", model(), WeightFormat::F32, Duration::ZERO);
    small.adapters.push(AdapterSource {
        name: "small:odd".into(),
        dir: dir.path().to_owned(),
    });
    let server = Server::start(
        std::net::Ipv4Addr::LOCALHOST.into(),
        0,
        vec![small],
        settings(),
        None,
    );
    let server = server.expect("starts");
    service::until(|| {
        let health = get(&server, "/health");
        health.body.contains("small:odd cannot be served") && health.status == 503
    });
}

/// A model that is another one each time it is read; a path named `broken` is none, and `other` has another shape.
fn changing(name: &str) -> ModelSource {
    let reads = AtomicUsize::new(0);
    ModelSource {
        name: name.to_owned(),
        load: Arc::new(move |path| {
            let n = reads.fetch_add(1, Ordering::SeqCst);
            match path.and_then(Path::to_str) {
                Some("broken") => return Err("there is no checkpoint in broken".into()),
                Some("other") => {
                    let config = GptConfig::llama(tokenizer().vocab_size(), 128, 3, 4, 2, 32, 64);
                    let model = Gpt::new(&config, &Generator::new(9));
                    return loaded(model, WeightFormat::F32, "other");
                }
                _ => {}
            }
            let model = Gpt::new(&model().config, &Generator::new(n as u64));
            let g = Generator::new(n as u64);
            no_grad(|| {
                for (_, p) in model.named_parameters() {
                    p.add_(&(Tensor::randn(p.shape(), DType::F32, Device::Cpu, &g) * 0.2));
                }
            });
            loaded(model, WeightFormat::F32, &format!("checkpoint {n}"))
        }),
        adapters: Vec::new(),
    }
}

fn swap(server: &Server, body: &Value) -> service::Answer {
    post(server, "/admin/models/small/swap", body)
}

#[test]
fn a_swap_under_load_loses_nothing_and_every_reply_is_of_one_checkpoint() {
    // What each of the checkpoints says, alone.
    let expected: Vec<Value> = {
        let server = serve_all(vec![changing("small")], settings());
        (0..4)
            .map(|n| {
                let said = reply(&server, &asked("small", 5));
                assert_eq!(swap(&server, &json!({})).status, 200);
                assert_eq!(get(&server, "/v1/models/small").json()["version"], n + 2);
                said
            })
            .collect()
    };
    let server = serve_all(vec![changing("small")], settings());
    let stop = std::sync::atomic::AtomicBool::new(false);
    let said: Vec<Vec<Value>> = std::thread::scope(|scope| {
        let (server, stop) = (&server, &stop);
        let asking: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(move || {
                    let mut said = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        said.push(reply(server, &asked("small", 5)));
                    }
                    said
                })
            })
            .collect();
        for version in 2..=4 {
            std::thread::sleep(Duration::from_millis(150));
            let swapped = swap(server, &json!({ "checkpoint": "newer" })).json();
            assert_eq!(swapped["version"], version, "{swapped}");
            // Who asks from now on gets the new one.
            assert!(reply(server, &asked("small", 5)) == expected[version - 1]);
        }
        std::thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::SeqCst);
        asking
            .into_iter()
            .map(|one| one.join().expect("replies"))
            .collect()
    });
    for replies in said {
        let mut newest = 0;
        for said in replies {
            let at = expected.iter().position(|one| *one == said);
            let at = at.expect("a reply of one checkpoint from beginning to end");
            assert!(at >= newest, "no client goes back");
            newest = at;
        }
        assert!(newest > 0);
    }
    assert_eq!(
        metric(&server, "gigaro_model_version{model=\"small\"}"),
        4.0
    );
    let failed = "gigaro_requests_total{model=\"small\",key=\"local\",outcome=\"failed\"}";
    assert_eq!(metric(&server, failed), 0.0);
}

#[test]
fn a_reply_under_way_is_finished_by_the_weights_that_began_it() {
    let server = serve_all(vec![changing("small")], settings());
    let mut long = asked("small", 5);
    long["max_tokens"] = 200.into();
    let whole = reply(&server, &long);
    for checkpoint in ["newer", "other"] {
        let first = serve_all(vec![changing("small")], settings());
        let again = std::thread::scope(|scope| {
            let (first, long) = (&first, &long);
            let under_way = scope.spawn(move || reply(first, long));
            service::until(|| metric(first, "gigaro_requests_running") > 0.0);
            let swapped = swap(first, &json!({ "checkpoint": checkpoint }));
            assert_eq!(swapped.status, 200, "{}", swapped.body);
            under_way.join().expect("a reply")
        });
        assert!(again == whole, "{checkpoint}");
    }
}

#[test]
fn a_checkpoint_of_another_shape_gets_an_engine_of_its_own() {
    let server = serve_all(vec![changing("small")], settings());
    assert_eq!(swap(&server, &json!({ "checkpoint": "other" })).status, 200);
    let about = get(&server, "/v1/models/small").json();
    assert_eq!(
        (&about["max_model_len"], &about["checkpoint"]),
        (&json!(128), &json!("other"))
    );
    let mut body = asked("small", 1);
    body["max_tokens"] = 5.into();
    reply(&server, &body);
}

#[test]
fn what_cannot_be_served_changes_nothing_and_says_why() {
    let server = serve_all(vec![changing("small")], settings());
    let before = reply(&server, &asked("small", 5));
    let refused = swap(&server, &json!({ "checkpoint": "broken" }));
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.sentence(),
        "small stays as it is: there is no checkpoint in broken"
    );
    assert_eq!(swap(&server, &json!({ "path": "x" })).status, 400);
    assert_eq!(
        post(&server, "/admin/models/large/swap", &json!({})).status,
        404
    );
    assert!(reply(&server, &asked("small", 5)) == before);
    assert_eq!(get(&server, "/v1/models/small").json()["version"], 1);
    let mut open = settings();
    open.access = Access::Anyone;
    let open = serve_all(vec![changing("small")], open);
    assert_eq!(swap(&open, &json!({})).status, 403);
}
