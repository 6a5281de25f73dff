//! The sampler against a plain sort-everything reference, and each option by itself.

use super::*;

/// Row number `seed` of `n` logits between -6 and 6, many of them equal, from a small linear congruence.
fn row(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    (0..n).map(|_| (next() % 97) as f32 / 8.0 - 6.0).collect()
}

/// The probabilities after the filters, by the definition: sort everything, cut, cut, cut, renormalise.
fn reference(logits: &[f32], params: &SamplingParams) -> Vec<f64> {
    let n = logits.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    if params.top_k > 0 {
        order.truncate(params.top_k);
    }
    let max = f64::from(logits[order[0]]);
    let weight = |i: usize| ((f64::from(logits[i]) - max) / f64::from(params.temperature)).exp();
    let total: f64 = order.iter().map(|&i| weight(i)).sum();
    let mut kept = Vec::new();
    let mut mass = 0.0;
    for &i in &order {
        if params.top_p < 1.0 && mass >= f64::from(params.top_p) * total - 1e-9 {
            break;
        }
        mass += weight(i);
        kept.push(i);
    }
    kept.retain(|&i| weight(i) >= f64::from(params.min_p) - 1e-9);
    let total: f64 = kept.iter().map(|&i| weight(i)).sum();
    let mut probabilities = vec![0.0; n];
    for i in kept {
        probabilities[i] = weight(i) / total;
    }
    probabilities
}

/// Frequencies over an even grid of uniform numbers: the exact distribution up to one grid step per token.
fn measured(logits: &[f32], params: &SamplingParams, grid: usize) -> Vec<f64> {
    let mut frequencies = vec![0.0; logits.len()];
    let mut sampler = Sampler::new(params.clone(), &[]);
    for i in 0..grid {
        let token = sampler
            .draw(logits, i as f32 / grid as f32, None)
            .expect("a token");
        frequencies[token as usize] += 1.0 / grid as f64;
    }
    frequencies
}

#[test]
fn every_mix_of_filters_draws_from_the_reference_distribution() {
    for seed in 0..12 {
        let logits = row(seed, 40);
        for temperature in [0.5, 1.0, 1.7] {
            for top_k in [0, 1, 7, 100] {
                for top_p in [1.0, 0.9, 0.3] {
                    for min_p in [0.0, 0.05] {
                        let params = SamplingParams {
                            temperature,
                            top_k,
                            top_p,
                            min_p,
                            ..Default::default()
                        };
                        let (expected, got) = (
                            reference(&logits, &params),
                            measured(&logits, &params, 4096),
                        );
                        for (token, (e, g)) in expected.iter().zip(&got).enumerate() {
                            assert!(
                                (e - g).abs() < 2.0 / 4096.0,
                                "token {token}: {e} against {g} for {params:?}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn top_p_over_a_long_flat_row_sorts_far_enough() {
    let mut logits = vec![0.0f32; 5000];
    logits[4321] = 1e-3;
    let params = SamplingParams {
        top_p: 0.5,
        ..Default::default()
    };
    let mut sampler = Sampler::new(params, &[]);
    assert_eq!(sampler.draw(&logits, 0.0, None), Ok(4321));
    assert!(
        sampler.draw(&logits, 0.999_999_9, None).expect("a token") < 2500,
        "the upper half was cut"
    );
    assert_eq!(sampler.candidates.len(), 2500);
}

#[test]
fn temperature_zero_takes_the_first_of_the_largest_and_reads_no_number() {
    let mut sampler = Sampler::new(SamplingParams::greedy(), &[]);
    assert_eq!(sampler.draw(&[1.0, 3.0, 3.0, -1.0], f32::NAN, None), Ok(1));
}

#[test]
fn tiny_temperatures_do_not_overflow() {
    let mut sampler = Sampler::new(
        SamplingParams {
            temperature: 1e-38,
            ..Default::default()
        },
        &[],
    );
    for u in [0.0, 0.5, 0.999_999_9] {
        assert_eq!(
            sampler.draw(&[-1e30, 5.0, 5.1, f32::NEG_INFINITY], u, None),
            Ok(2)
        );
    }
}

#[test]
fn excluded_tokens_are_never_drawn() {
    let logits = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.0];
    let got = measured(&logits, &SamplingParams::default(), 1000);
    assert_eq!((got[0], got[2]), (0.0, 0.0));
}

#[test]
fn repetition_penalty_pushes_both_signs_down_for_prompt_and_reply() {
    let params = SamplingParams {
        repetition_penalty: 2.0,
        ..SamplingParams::greedy()
    };
    let mut sampler = Sampler::new(params, &[0]);
    sampler.observe(1);
    sampler.adjust(&[3.0, -3.0, 1.0]);
    assert_eq!(sampler.adjusted, [1.5, -6.0, 1.0]);
}

#[test]
fn presence_and_frequency_count_the_reply_only() {
    let params = SamplingParams {
        presence_penalty: 0.5,
        frequency_penalty: 0.25,
        ..SamplingParams::greedy()
    };
    let mut sampler = Sampler::new(params, &[0]);
    sampler.observe(1);
    sampler.observe(1);
    sampler.observe(2);
    sampler.adjust(&[0.0, 0.0, 0.0, 0.0]);
    assert_eq!(sampler.adjusted, [0.0, -1.0, -0.75, 0.0]);
}

#[test]
fn drawn_tokens_count_for_the_penalties() {
    let params = SamplingParams {
        frequency_penalty: 2.0,
        ..SamplingParams::greedy()
    };
    let mut sampler = Sampler::new(params, &[]);
    let tokens: Vec<u32> = (0..4)
        .map(|_| sampler.sample(&[1.0, 0.0], 0.0).expect("a token").token)
        .collect();
    assert_eq!(tokens, [0, 1, 0, 1]);
}

#[test]
fn bias_bans_and_forces() {
    let mut banned = Sampler::new(
        SamplingParams {
            logit_bias: [(1, -100.0)].into(),
            ..SamplingParams::greedy()
        },
        &[],
    );
    assert_eq!(banned.draw(&[0.0, 9.0], 0.0, None), Ok(0));
    let mut forced = Sampler::new(
        SamplingParams {
            logit_bias: [(0, 100.0)].into(),
            ..Default::default()
        },
        &[],
    );
    assert_eq!(forced.draw(&[0.0, 9.0], 0.999_999_9, None), Ok(0));
}

#[test]
fn logprobs_are_of_the_raw_logits_whatever_the_filters() {
    let logits = row(5, 30);
    let mut raw = Sampler::new(
        SamplingParams {
            logprobs: Some(3),
            ..SamplingParams::greedy()
        },
        &[],
    );
    let plain = raw.sample(&logits, 0.0).expect("a token");
    let params = SamplingParams {
        logprobs: Some(3),
        temperature: 0.3,
        top_k: 1,
        repetition_penalty: 1.1,
        ..Default::default()
    };
    let filtered = Sampler::new(params, &[plain.token + 1])
        .sample(&logits, 0.7)
        .expect("a token");
    assert_eq!(plain, filtered);
    assert_eq!(plain.logprobs.expect("asked for").top.len(), 3);
}

#[test]
fn damaged_logits_are_named_not_drawn_from() {
    let mut sampler = Sampler::new(SamplingParams::default(), &[]);
    let nan = sampler
        .sample(&[0.0, f32::NAN], 0.0)
        .expect_err("must be refused")
        .to_string();
    assert!(
        nan.starts_with("the model gave NaN as the logit of token 1: its weights are damaged"),
        "{nan}"
    );
    assert!(matches!(
        sampler.sample(&[f32::INFINITY], 0.0),
        Err(SampleError::NonFinite { token: 0, .. })
    ));
    assert_eq!(
        sampler.sample(&[f32::NEG_INFINITY; 2], 0.0),
        Err(SampleError::NothingLeft)
    );
    assert_eq!(sampler.sample(&[], 0.0), Err(SampleError::NothingLeft));
}
