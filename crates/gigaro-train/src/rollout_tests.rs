//! Padding, order and penalties of rollouts.

use super::*;
use crate::policy_loss::{Clip, policy_loss, value_loss};
use crate::scorer::Check;
use crate::toy;
use gigaro_models::ActorCritic;
use gigaro_tensor::{DType, Device};

/// Answers of different lengths to prompts of different lengths.
fn uneven(model: &Gpt, penalty: Option<f64>) -> Rollout {
    let mut scorer = Check(toy::share_of_target);
    let sampling = Sampling {
        missing_eos_penalty: penalty,
        ..toy::sampling(24, 1)
    };
    let prompts = toy::uneven_prompts();
    let mut rollouts = Rollouts::new(model, prompts, &mut scorer, &toy::ZeroEnds, sampling)
        .expect("sound settings");
    let rollout = rollouts.next(model).expect("finite logits");
    assert!(rollout.lens.iter().any(|&n| n < 4) && rollout.lens.contains(&4));
    rollout
}

/// A model whose values are not zero.
fn critic() -> ActorCritic {
    let model = ActorCritic::shared(toy::policy(5));
    let weight = Tensor::randn([1, 16], DType::F32, Device::Cpu, &Generator::new(2));
    no_grad(|| model.value_head.weight.copy_(&weight));
    model
}

/// Log-probabilities, values, the loss of both, and all gradients.
fn through(model: &ActorCritic, part: &Part) -> (Vec<f32>, Vec<f32>, f64, Vec<Vec<f32>>) {
    let (hidden, of_value) = model.hidden(&part.ids);
    let logits = model.policy.logits(&part.at_answers(&hidden));
    let logprobs = token_logprobs(&logits, &part.tokens, 1.0);
    let values = model.value_head.forward(&part.at_answers(&of_value));
    let n = part.tokens.numel();
    let some = flat_tensor(&(0..n).map(|i| (i % 3) as f64 - 1.0).collect::<Vec<_>>());
    let old = logprobs.detach() + 0.1;
    let weights = &part.weights * (1.0 / n as f64);
    let loss = policy_loss(&logprobs, &old, &some, &weights, Clip::symmetric(0.2))
        + value_loss(&values, &(values.detach() + 0.1), &some, &weights, 0.2);
    model.zero_grad();
    loss.backward();
    let grads = model
        .named_parameters()
        .iter()
        .filter_map(|(_, p)| p.grad())
        .map(|g| g.to_vec::<f32>())
        .collect();
    (logprobs.to_vec(), values.to_vec(), loss.item(), grads)
}

#[test]
fn what_stands_in_the_padding_changes_no_bit() {
    let model = critic();
    let rollout = uneven(&model.policy, None);
    let all: Vec<usize> = (0..rollout.lens.len()).collect();
    let plain = through(&model, &rollout.pad(&all, 0, 0));
    assert_eq!(through(&model, &rollout.pad(&all, 0, 7)), plain);
}

#[test]
fn how_much_padding_there_is_changes_no_bit_of_any_number_and_no_gradient() {
    let model = critic();
    let rollout = uneven(&model.policy, None);
    let all: Vec<usize> = (0..rollout.lens.len()).collect();
    let plain = through(&model, &rollout.pad(&all, 0, 0));
    let wide = through(&model, &rollout.pad(&all, 2, 7));
    assert_eq!((&wide.0, &wide.1, wide.2), (&plain.0, &plain.1, plain.2));
    // Gradients add up over more rows of zeros, in another order.
    for (a, b) in wide.3.iter().flatten().zip(plain.3.iter().flatten()) {
        assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} for {b}");
    }
}

#[test]
fn a_padded_pass_gives_the_log_probabilities_of_each_answer_alone_and_of_the_rollout() {
    let model = critic();
    let rollout = uneven(&model.policy, None);
    let all: Vec<usize> = (0..rollout.lens.len()).collect();
    let (together, ..) = through(&model, &rollout.pad(&all, 0, 0));
    let alone: Vec<f32> = all
        .iter()
        .flat_map(|&i| through(&model, &rollout.pad(&[i], 0, 0)).0)
        .collect();
    assert_eq!(alone, together);
    let drawn: Vec<f32> = rollout.logprobs.iter().map(|&x| x as f32).collect();
    assert_eq!(drawn, together);
    assert_eq!(rollout.ref_logprobs, rollout.logprobs);
}

#[test]
fn parts_of_any_size_and_order_hold_the_same_numbers() {
    let model = toy::policy(5);
    let rollout = uneven(&model, None);
    let order = permutation(rollout.lens.len(), &Generator::new(9));
    for size in [1, 5, 24] {
        let parts = rollout.parts(&order, size, Averaging::Answers);
        let mut at = 0;
        let (mut weights, mut share) = (0.0, 0.0);
        for part in &parts {
            let picked = part.pick_numbers(&rollout.logprobs);
            let logits = no_grad(|| answer_logits(&model, part));
            let computed = token_logprobs(&logits, &part.tokens, 1.0).to_vec::<f32>();
            let computed: Vec<f64> = computed.into_iter().map(f64::from).collect();
            assert_eq!(picked, computed, "from token {at} on in parts of {size}");
            at += picked.len();
            weights += part.weights.sum_all().item();
            share += part.share;
        }
        assert_eq!(at, rollout.logprobs.len());
        assert!((weights - 1.0).abs() < 1e-5 && (share - 1.0).abs() < 1e-9);
    }
}

#[test]
fn answers_that_were_cut_off_get_the_penalty_in_place_of_their_score() {
    let rollout = uneven(&toy::policy(5), Some(-3.0));
    for (i, completion) in rollout.completions.iter().enumerate() {
        let ended = completion.tokens.last() == Some(&0);
        let expected = if ended { rollout.raw_scores[i] } else { -3.0 };
        assert_eq!((rollout.ended[i], rollout.scores[i]), (ended, expected));
    }
    assert!(rollout.ended.contains(&true) && rollout.ended.contains(&false));
}

#[test]
fn every_prompt_is_given_once_before_any_is_given_again() {
    let all: Vec<Vec<u32>> = (0..7).map(|i| vec![i]).collect();
    let mut prompts = Prompts::new(all.clone(), 8, 1).expect("seven prompts");
    let mut given = prompts.next(5);
    given.extend(prompts.next(2));
    let first = given.clone();
    given.sort();
    assert_eq!(given, all);
    let mut second = prompts.next(7);
    assert_ne!(second, first, "each time in another order");
    second.extend(prompts.next(7));
    assert_eq!((second.len(), prompts.given), (14, 21));
}

#[test]
fn prompts_that_cannot_be_answered_are_refused_by_number() {
    for bad in [vec![], vec![1; 8]] {
        let error = Prompts::new(vec![vec![1], bad], 8, 0).expect_err("no room or nothing there");
        assert!(error.to_string().starts_with("prompt 2 has"), "{error}");
    }
    assert!(Prompts::new(Vec::new(), 8, 0).is_err());
}
