//! The reply does not depend on the company: one text alone, among eight, in pieces of any size, while others come and go, after a text
//! that began alike, and in training's forward pass, bit for bit.

mod service;

use std::sync::Arc;

use gigaro_models::Gpt;
use gigaro_models::generate::logprobs::top_logprobs;
use gigaro_models::generate::{SamplingParams, TokenLogprobs, Vocabulary, reply};
use gigaro_models::gpt::{KvCache, WeightFormat};
use gigaro_nn::Mode;
use gigaro_serve::engine::{EngineSettings, Event, GenerateRequest, ReadyModel, Ticket, Usage};
use gigaro_tensor::{DType, Tensor, autocast};
use service::{engine, models, tokenizer};

/// Everything that comes back.
#[derive(Clone, Debug, PartialEq)]
struct Got {
    text: String,
    tokens: Vec<u32>,
    logprobs: Vec<TokenLogprobs>,
    prompt_logprobs: Vec<TokenLogprobs>,
}

fn words(seed: u64, n: usize) -> Vec<u32> {
    let vocab = tokenizer().vocab_size() as u64;
    let word = |i: u64| (i * i * 7 + 31 * i + 13 * seed) % (vocab - 5);
    (0..n as u64).map(|i| word(i) as u32).collect()
}

fn asked(seed: u64, prompt: usize, reply: usize, scope: &str) -> GenerateRequest {
    GenerateRequest {
        prompt: words(seed, prompt),
        params: SamplingParams {
            temperature: 0.9,
            top_p: 0.97,
            seed,
            max_tokens: reply,
            logprobs: Some(2),
            ignore_eos: true,
            ..SamplingParams::default()
        },
        prompt_logprobs: None,
        constraint: None,
        embed: false,
        tenant: format!("tenant {}", seed % 3).into(),
        cache_scope: scope.into(),
    }
}

fn wait(ticket: Ticket) -> (Got, Usage) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(whole(ticket))
}

async fn whole(mut ticket: Ticket) -> (Got, Usage) {
    let mut got = Got {
        text: String::new(),
        tokens: Vec::new(),
        logprobs: Vec::new(),
        prompt_logprobs: Vec::new(),
    };
    while let Some(event) = ticket.next().await {
        match event {
            Event::Admitted | Event::Embedding(_) => {}
            Event::PromptLogprobs(scores) => got.prompt_logprobs = scores,
            Event::Token {
                token,
                text,
                logprobs,
            } => {
                got.text += &text;
                got.tokens.push(token);
                got.logprobs.extend(logprobs);
            }
            Event::Finished { text, usage, .. } => {
                got.text += &text;
                return (got, usage);
            }
            Event::Failed(failure) => panic!("{failure}"),
        }
    }
    panic!("a ticket without an end");
}

struct Words;

impl Vocabulary for Words {
    fn token_bytes(&self, _: u32) -> &[u8] {
        &[]
    }
    fn is_end(&self, _: u32) -> bool {
        false
    }
}

/// What the generator for one text and training's forward pass say, which agree.
fn alone(model: &Gpt, request: &GenerateRequest) -> (Vec<u32>, Vec<TokenLogprobs>) {
    let (mut cache, mut history) = (KvCache::new(model), Vec::new());
    let (prompt, params) = (&request.prompt, &request.params);
    let reply = reply(
        model,
        &mut cache,
        &mut history,
        prompt,
        params,
        &Words,
        &mut |_| true,
    );
    let reply = reply.expect("the weights are finite");
    let text = [&prompt[..], &reply.tokens].concat();
    let after_prompt = forward(model, &text).split_off(prompt.len() - 1);
    assert!(reply.logprobs == after_prompt, "training's forward pass");
    (reply.tokens, reply.logprobs)
}

/// Log-probabilities of a text's tokens from the second on, by one forward pass as in training.
fn forward(model: &Gpt, text: &[u32]) -> Vec<TokenLogprobs> {
    let ids: Vec<i64> = text.iter().map(|&id| id.into()).collect();
    let ids = Tensor::from_vec(ids, [1, text.len()]);
    let logits = model.forward(&ids, &Mode::Eval).to_dtype(DType::F32);
    let logits = logits.to_vec::<f32>();
    let rows = logits.chunks(model.config.vocab_size);
    rows.zip(&text[1..])
        .map(|(row, &token)| top_logprobs(row, token, 2))
        .collect()
}

fn settings(slots: usize, budget: usize) -> EngineSettings {
    EngineSettings {
        slots,
        prompt_tokens_per_step: budget,
        ..EngineSettings::default()
    }
}

fn submit(ready: &Arc<ReadyModel>, request: &GenerateRequest) -> Ticket {
    ready.engine.submit(request.clone())
}

#[test]
fn eight_slots_write_one_text() {
    for model in models() {
        let request = asked(1, 45, 40, "a");
        let (tokens, logprobs) = alone(&model, &request);
        for budget in [1, 7, 64, 4096] {
            let ready = engine(model.clone(), WeightFormat::F32, settings(8, budget));
            let eight: Vec<Ticket> = (0..8)
                .map(|i| {
                    let mut request = request.clone();
                    request.cache_scope = format!("{i}").into();
                    submit(&ready, &request)
                })
                .collect();
            for ticket in eight {
                let (got, usage) = wait(ticket);
                assert_eq!(got.tokens, tokens, "prompts in steps of {budget}");
                assert!(got.logprobs == logprobs, "prompts in steps of {budget}");
                assert_eq!((usage.prompt_tokens, usage.completion_tokens), (45, 40));
                assert_eq!(usage.cached_tokens, 0);
            }
        }
    }
}

#[test]
fn replies_to_one_prompt_read_it_once() {
    for weights in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
        let request = asked(4, 150, 20, "a");
        let quiet = engine(service::model(), weights, settings(1, 40));
        let expected: Vec<Got> = (0..8)
            .map(|i| {
                let mut request = request.with_seed_after(i);
                request.cache_scope = format!("{i}").into();
                wait(submit(&quiet, &request)).0
            })
            .collect();
        let ready = engine(service::model(), weights, settings(8, 40));
        let eight: Vec<Ticket> = (0..8)
            .map(|i| submit(&ready, &request.with_seed_after(i)))
            .collect();
        let mut read = 0;
        for (ticket, expected) in eight.into_iter().zip(expected) {
            let (got, usage) = wait(ticket);
            assert!(got == expected, "{weights:?}");
            read += usage.prompt_tokens - usage.cached_tokens;
        }
        // The first reads all, the others what cannot be shared: the last token, or the last piece.
        assert!(read <= 150 + 7 * 22, "{read} tokens read");
    }
}

#[test]
fn a_reader_that_leaves_lets_those_behind_it_read_on() {
    let ready = engine(service::model(), WeightFormat::F32, settings(8, 3));
    let request = asked(4, 150, 5, "a");
    for round in 0..5 {
        let mut request = request.clone();
        request.prompt[0] = round;
        let first = submit(&ready, &request);
        let others: Vec<Ticket> = (0..3).map(|_| submit(&ready, &request)).collect();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(round)));
        drop(first);
        let got: Vec<Got> = others.into_iter().map(|ticket| wait(ticket).0).collect();
        assert!(
            got.iter()
                .all(|one| *one == got[0] && one.tokens.len() == 5)
        );
    }
}

#[test]
fn a_text_is_the_same_while_others_come_and_go() {
    for weights in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
        let lengths = [(9, 60), (150, 30), (64, 5), (1, 80), (200, 50), (65, 20)];
        let requests: Vec<GenerateRequest> = (0..18)
            .map(|i| {
                let (prompt, reply) = lengths[i % lengths.len()];
                asked(i as u64, prompt, reply, &format!("{i}"))
            })
            .collect();
        let model = service::model();
        let quiet = engine(model.clone(), weights, settings(1, 256));
        let expected: Vec<Got> = requests.iter().map(|r| wait(submit(&quiet, r)).0).collect();
        // Rows are taken in other orders and prompts cut elsewhere; every third request is given up in between.
        for (slots, budget) in [(3, 40), (8, 100)] {
            let busy = engine(model.clone(), weights, settings(slots, budget));
            let mut tickets = Vec::new();
            for request in &requests {
                tickets.push(submit(&busy, request));
                drop(submit(&busy, &asked(77, 120, 100, "left")));
            }
            for (ticket, expected) in tickets.into_iter().zip(&expected) {
                assert!(wait(ticket).0 == *expected, "{weights:?}, {slots} slots");
            }
        }
    }
}

#[test]
fn a_text_that_goes_on_from_an_earlier_one_has_the_same_bits() {
    for weights in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
        let model = service::model();
        let request = asked(5, 150, 30, "a");
        let fresh = engine(model.clone(), weights, settings(2, 64));
        let (expected, usage) = wait(submit(&fresh, &request));
        assert_eq!(usage.cached_tokens, 0);
        // Again, in the same row or a copy of it.
        for _ in 0..3 {
            let (got, usage) = wait(submit(&fresh, &request));
            assert!(got == expected, "{weights:?}");
            assert!(usage.cached_tokens >= 128, "{} cached", usage.cached_tokens);
        }
        // From a text that only begins alike and is still under way.
        let mut longer = request.clone();
        longer.params.max_tokens = 100;
        longer.cache_scope = "b".into();
        let under_way = submit(&fresh, &longer);
        let mut begun = request.clone();
        begun.prompt.truncate(140);
        begun.cache_scope = "b".into();
        let (got, _) = wait(submit(&fresh, &begun));
        let (alone, _) = wait(submit(&engine(model, weights, settings(1, 64)), &begun));
        assert!(got == alone, "{weights:?}");
        assert_eq!(wait(under_way).0.tokens[..30], expected.tokens[..]);
    }
}

#[test]
fn nobody_goes_on_from_what_another_scope_has_read() {
    let ready = engine(service::model(), WeightFormat::F32, settings(4, 64));
    let request = asked(5, 150, 3, "a");
    let (expected, _) = wait(submit(&ready, &request));
    let mut other = request;
    other.cache_scope = "b".into();
    let (got, usage) = wait(submit(&ready, &other));
    assert_eq!(usage.cached_tokens, 0);
    assert!(got == expected);
}

#[test]
fn a_prompt_is_scored_as_training_would() {
    let formats = [
        (WeightFormat::F32, DType::F32),
        (WeightFormat::Bf16, DType::BF16),
    ];
    for (weights, compute) in formats {
        let model = service::model();
        let mut request = asked(2, 120, 0, "a");
        request.prompt_logprobs = Some(2);
        let ready = engine(model.clone(), weights, settings(4, 50));
        let others: Vec<Ticket> = (0..3)
            .map(|i| submit(&ready, &asked(i, 60, 40, "b")))
            .collect();
        let (got, usage) = wait(submit(&ready, &request));
        let mut expected = autocast(compute, || forward(&model, &request.prompt));
        expected.truncate(119);
        assert!(got.prompt_logprobs == expected, "in {compute:?}");
        assert_eq!((got.tokens.len(), usage.prompt_tokens), (0, 120));
        drop(others);
    }
}
