//! What a batch promises: the words of `reply`, and log-probabilities that training finds again, bit by bit.

use super::*;
use crate::GptConfig;
use crate::generate::{Reply, reply, token_logprobs};
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{DType, Device, Generator, no_grad};

/// Token `i` is the byte `i`; 0 ends a reply.
struct Bytes([u8; 128]);

impl Vocabulary for Bytes {
    fn token_bytes(&self, id: u32) -> &[u8] {
        &self.0[id as usize..=id as usize]
    }
    fn is_end(&self, id: u32) -> bool {
        id == 0
    }
}

fn vocabulary() -> Bytes {
    Bytes(std::array::from_fn(|i| i as u8))
}

fn models() -> Vec<Gpt> {
    let gpt2 = GptConfig::gpt2(128, 64, 2, 4, 32);
    let modern = GptConfig {
        n_kv_head: 2,
        ..GptConfig::modern(128, 64, 2, 4, 32)
    };
    [gpt2, modern]
        .iter()
        .map(|c| {
            let model = Gpt::new(c, &Generator::new(3));
            let g = Generator::new(8);
            no_grad(|| {
                for (_, p) in model.named_parameters() {
                    p.add_(&(Tensor::randn(p.shape(), DType::F32, Device::Cpu, &g) * 0.15));
                }
            });
            model
        })
        .collect()
}

/// Requests of all kinds: greedy and drawn, filtered, penalised, with stop strings, ended by the context.
fn requests() -> Vec<BatchRequest> {
    let base = SamplingParams::default();
    let kinds = [
        SamplingParams::greedy(),
        base.clone(),
        SamplingParams {
            temperature: 0.7,
            top_p: 0.9,
            ..base.clone()
        },
        SamplingParams {
            temperature: 1.3,
            top_k: 20,
            min_p: 0.01,
            ..base.clone()
        },
        SamplingParams {
            repetition_penalty: 1.2,
            presence_penalty: 0.5,
            ..base.clone()
        },
        SamplingParams {
            // Half of the vocabulary, so that one of them comes before the end token in whatever model is drawn.
            stop: ('@'..='~').map(String::from).chain(["0 ".into()]).collect(),
            ..base.clone()
        },
        SamplingParams {
            frequency_penalty: 0.4,
            ignore_eos: true,
            ..base.clone()
        },
    ];
    (0..28)
        .map(|i| BatchRequest {
            prompt: (0..1 + (i * 11) % 50)
                .map(|t| ((t * t + 5 * i + 1) % 128) as u32)
                .collect(),
            params: SamplingParams {
                seed: i as u64 / 2,
                max_tokens: [5, 17, 100][i % 3],
                ..kinds[i % kinds.len()].clone()
            },
        })
        .collect()
}

fn complete(model: &Gpt, requests: &[BatchRequest], slots: usize) -> Vec<Completion> {
    generate_batch(model, requests, slots, &vocabulary(), &mut |_| true)
        .expect("finite logits")
        .expect("nobody stops it")
}

fn alone(model: &Gpt, request: &BatchRequest) -> Reply {
    reply(
        model,
        &mut KvCache::new(model),
        &mut Vec::new(),
        &request.prompt,
        &request.params,
        &vocabulary(),
        &mut |_| true,
    )
    .expect("finite logits")
}

#[test]
fn completions_are_the_replies_that_each_request_gets_alone() {
    for model in models() {
        let requests = requests();
        let mut reasons = Vec::new();
        for slots in [1, 2, 8] {
            for (i, completion) in complete(&model, &requests, slots).iter().enumerate() {
                let reply = alone(&model, &requests[i]);
                let mut tokens = completion.tokens.clone();
                if tokens.last() == Some(&0) && !requests[i].params.ignore_eos {
                    tokens.pop();
                }
                assert_eq!(tokens, reply.tokens, "request {i}, {slots} slots");
                assert_eq!(
                    (&completion.text, completion.finish_reason),
                    (&reply.text, reply.finish_reason),
                    "request {i}, {slots} slots"
                );
                reasons.push((
                    completion.finish_reason,
                    tokens.len() < completion.tokens.len(),
                ));
            }
        }
        // The end token, a stop string and a length each ended some.
        for expected in [
            (FinishReason::Stop, true),
            (FinishReason::Stop, false),
            (FinishReason::Length, false),
        ] {
            assert!(reasons.contains(&expected), "{expected:?}");
        }
    }
}

#[test]
fn the_number_of_slots_changes_no_bit_of_a_completion() {
    for model in models() {
        let requests = requests();
        let one = complete(&model, &requests, 1);
        for slots in [3, 8, 40] {
            assert_eq!(complete(&model, &requests, slots), one, "{slots} slots");
        }
    }
}

/// Prompts and completions as rows of ids, filled up on the right.
fn padded(requests: &[BatchRequest], completions: &[Completion]) -> (Tensor, usize) {
    let texts: Vec<Vec<u32>> = requests
        .iter()
        .zip(completions)
        .map(|(r, c)| [&r.prompt[..], &c.tokens].concat())
        .collect();
    let t = texts.iter().map(Vec::len).max().unwrap_or(0).min(64);
    let ids = texts.iter().flat_map(|text| {
        let padded = text
            .iter()
            .map(|&id| i64::from(id))
            .chain(std::iter::repeat(7));
        padded.take(t).collect::<Vec<_>>()
    });
    (Tensor::from_vec(ids.collect(), [texts.len(), t]), t)
}

/// The log-probabilities that training computes from its logits `(T, V)`.
fn in_training(logits: &Tensor, request: &BatchRequest, completion: &Completion) -> Vec<f32> {
    let n = completion.tokens.len();
    let tokens = completion.tokens.iter().map(|&t| i64::from(t)).collect();
    let logits = logits.narrow(0, request.prompt.len() - 1, n);
    let temperature = f64::from(request.params.temperature);
    let logprobs = token_logprobs(&logits, &Tensor::from_vec(tokens, [n]), temperature);
    assert!(logprobs.requires_grad());
    logprobs.detach().to_vec()
}

#[test]
fn training_finds_the_same_bits_in_one_row_and_in_a_padded_batch() {
    for model in models() {
        let requests = requests();
        let completions = complete(&model, &requests, 8);
        let (ids, t) = padded(&requests, &completions);
        let together = model.forward(&ids, &Mode::Eval);
        for (i, (request, completion)) in requests.iter().zip(&completions).enumerate() {
            assert_eq!(completion.logprobs.len(), completion.tokens.len());
            // The last token of a text that fills the context is never read.
            let len = (request.prompt.len() + completion.tokens.len()).min(t);
            let single = model.forward(&ids.narrow(0, i, 1).narrow(1, 0, len), &Mode::Eval);
            let logits = [single.squeeze(0), together.select(0, i)];
            for (logits, form) in logits.iter().zip(["one row", "a padded batch"]) {
                let expected = in_training(logits, request, completion);
                assert_eq!(completion.logprobs, expected, "request {i} in {form}");
            }
        }
    }
}

#[test]
fn a_batch_that_may_not_go_on_gives_nothing() {
    let model = &models()[0];
    let mut seen = Vec::new();
    let mut go_on = |done| {
        seen.push(done);
        done < 4
    };
    let result = generate_batch(model, &requests(), 3, &vocabulary(), &mut go_on);
    assert_eq!(result, Ok(None));
    assert!(seen.is_sorted() && seen.last() >= Some(&4), "{seen:?}");
}

#[test]
fn no_requests_need_no_step() {
    let model = &models()[0];
    let never = &mut |_| panic!("there is nothing to ask about");
    let result = generate_batch(model, &[], 8, &vocabulary(), never);
    assert_eq!(result, Ok(Some(Vec::new())));
}

#[test]
fn a_diverged_model_is_named() {
    let model = models().remove(0);
    no_grad(|| {
        for (_, p) in model.ln_f.named_parameters() {
            p.fill_(f64::NAN);
        }
    });
    let result = generate_batch(&model, &requests(), 8, &vocabulary(), &mut |_| true);
    assert!(matches!(
        result,
        Err(SampleError::NonFinite { token: 0, .. })
    ));
}

#[test]
#[should_panic(expected = "the prompt of request 1 has 0 tokens, but must have 1 to 64")]
fn an_empty_prompt_panics() {
    let mut requests = requests();
    requests[1].prompt.clear();
    let _ = complete(&models()[0], &requests, 2);
}
