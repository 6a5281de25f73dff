//! A model served from a card, an emulated one unless `GIGARO_TEST_DEVICE` says otherwise.

mod service;

use std::time::Duration;

use gigaro_models::Gpt;
use gigaro_models::gpt::WeightFormat;
use gigaro_nn::Module;
use gigaro_serve::server::Server;
use gigaro_tensor::{Device, cuda};
use serde_json::{Value, json};
use service::{model, post, serve_all, settings, source};

fn served(model: Gpt) -> Server {
    serve_all(
        vec![source("small", model, WeightFormat::F32, Duration::ZERO)],
        settings(),
    )
}

fn on(device: Device) -> Gpt {
    let model = model();
    model.to_device(device);
    model
}

fn asked(server: &Server) -> service::Answer {
    let body = json!({ "model": "small", "prompt": "the king of the old city", "max_tokens": 12,
        "temperature": 0, "logprobs": 1, "ignore_eos": true });
    post(server, "/v1/completions", &body)
}

#[test]
fn it_answers_as_from_the_processor() {
    let reply = |server: &Server| -> Value {
        let answer = asked(server);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()["choices"][0]["text"].clone()
    };
    let here = served(on(Device::Cpu));
    let there = served(on(cuda::open_for_tests().expect("a card")));
    assert_eq!(reply(&there), reply(&here));
    // What the first request has left in the cache of keys and values serves the second.
    assert_eq!(reply(&there), reply(&here));
}

#[test]
fn a_card_that_is_full_is_a_sentence_to_whoever_asked_and_the_server_goes_on() {
    let device = cuda::open_emulated_of(930, 64 << 20).expect("an emulated card");
    let server = served(on(device));
    // All that is left but a little, so that not even one page of keys and values fits.
    let mut held = Vec::new();
    for kib in [16 << 10, 4 << 10, 1 << 10, 256, 64, 16] {
        while let Ok(block) = gigaro_tensor::catch_failure(|| {
            gigaro_tensor::Tensor::zeros([kib << 8], gigaro_tensor::DType::F32, device)
        }) {
            held.push(block);
        }
    }
    for _ in 0..2 {
        let answer = asked(&server);
        assert_eq!(answer.status, 500, "{}", answer.body);
        let sentence = answer.sentence();
        assert!(
            sentence.contains("cuda:930") && sentence.contains("needs"),
            "{sentence}"
        );
    }
    drop(held);
    cuda::empty_cache(930);
    assert_eq!(asked(&server).status, 200);
}
