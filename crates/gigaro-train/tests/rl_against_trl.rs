//! The arithmetic of PPO, GRPO and RLOO against TRL's functions and PyTorch, on the numbers that
//! `fixtures/make_rl.py` writes down together with the versions.

use gigaro_models::generate::token_logprobs;
use gigaro_nn::optim::{Adam, AdamOptions, Optimizer, ParamGroup};
use gigaro_tensor::Tensor;
use gigaro_train::advantage::{
    GroupScale, KlEstimator, gae, group_normalised, leave_one_out, mean, per_answer, to_tokens,
    token_rewards, whiten,
};
use gigaro_train::policy_loss::{
    Averaging, Clip, entropy, kl_loss, policy_figures, policy_loss, reinforce_loss, value_figures,
    value_loss,
};
use serde_json::Value;

fn fixture(part: &str) -> Value {
    let all: Value =
        serde_json::from_str(include_str!("fixtures/rl.json")).expect("the fixture is JSON");
    all[part].clone()
}

fn number(v: &Value, key: &str) -> f64 {
    v[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is a number"))
}

fn numbers(v: &Value, key: &str) -> Vec<f64> {
    let list = v[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key} is a list"));
    list.iter().filter_map(Value::as_f64).collect()
}

fn integers(v: &Value, key: &str) -> Vec<usize> {
    numbers(v, key).into_iter().map(|x| x as usize).collect()
}

/// `(N, V)` in f64, ready for gradients.
fn matrix(v: &Value, key: &str) -> Tensor {
    let rows = v[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key} is a list"));
    let all: Vec<f64> = rows
        .iter()
        .flat_map(|row| {
            row.as_array()
                .expect("a row")
                .iter()
                .filter_map(Value::as_f64)
        })
        .collect();
    let n = all.len() / rows.len();
    Tensor::from_vec(all, [rows.len(), n])
}

fn vector(x: &[f64]) -> Tensor {
    Tensor::from_slice(x, [x.len()])
}

fn tokens(v: &Value) -> Tensor {
    let ids: Vec<i64> = integers(v, "actions")
        .into_iter()
        .map(|i| i as i64)
        .collect();
    let n = ids.len();
    Tensor::from_vec(ids, [n])
}

#[track_caller]
fn close(what: &str, got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (a, b)) in got.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-5, "{what}[{i}]: {a} for {b}");
    }
}

#[track_caller]
fn close_gradient(what: &str, x: &Tensor, expected: &Value, key: &str) {
    let got = x.grad().expect("a leaf has a gradient").to_vec::<f64>();
    let expected = matrix(expected, key).to_vec::<f64>();
    assert!(
        expected.iter().any(|g| g.abs() > 1e-3),
        "{what}: something flows"
    );
    close(what, &got, &expected);
}

#[test]
fn rewards_and_advantages_are_trl_s() {
    let f = fixture("ppo");
    let lens = integers(&f, "lens");
    let old = numbers(&f, "old");
    let kl: Vec<f64> = old
        .iter()
        .zip(numbers(&f, "ref"))
        .map(|(p, q)| KlEstimator::K1.estimate(*p, q))
        .collect();
    close("kl", &kl, &numbers(&f, "kl"));
    let rewards: Vec<f64> = per_answer(&kl, &lens)
        .zip(numbers(&f, "scores"))
        .flat_map(|(kl, score)| token_rewards(kl, score, number(&f, "kl_coef")))
        .collect();
    close("rewards", &rewards, &numbers(&f, "rewards"));
    let (whitened, values) = (numbers(&f, "whitened_rewards"), numbers(&f, "values"));
    let advantages: Vec<f64> = per_answer(&whitened, &lens)
        .zip(per_answer(&values, &lens))
        .flat_map(|(r, v)| gae(r, v, number(&f, "gamma"), number(&f, "lam")))
        .collect();
    close("advantages", &advantages, &numbers(&f, "advantages_plain"));
    let returns: Vec<f64> = advantages.iter().zip(&values).map(|(a, v)| a + v).collect();
    close("returns", &returns, &numbers(&f, "returns"));
}

#[test]
fn whitening_is_trl_s_but_for_the_divisor_of_the_variance() {
    let f = fixture("ppo");
    let mut rewards = numbers(&f, "rewards");
    let n = rewards.len() as f64;
    let (middle, bessel) = (mean(&rewards), ((n - 1.0) / n).sqrt());
    whiten(&mut rewards, false);
    // TRL divides the variance by n - 1; Ziegler et al., and whiten, by n.
    let as_trl: Vec<f64> = rewards
        .iter()
        .map(|x| (x - middle) * bessel + middle)
        .collect();
    close("rewards", &as_trl, &numbers(&f, "whitened_rewards"));
    let mut advantages = numbers(&f, "advantages_plain");
    whiten(&mut advantages, true);
    let as_trl: Vec<f64> = advantages.iter().map(|x| x * bessel).collect();
    close("advantages", &as_trl, &numbers(&f, "advantages"));
}

#[test]
fn ppo_s_losses_figures_and_gradients_are_trl_s() {
    let f = fixture("ppo");
    let list = |key: &str| numbers(&f, key);
    let lens = integers(&f, "lens");
    let weights = vector(&Averaging::Tokens.weights(&lens));
    let logits = matrix(&f, "logits").requires_grad_(true);
    let vpreds = vector(&list("vpreds")).requires_grad_(true);
    // The library's log-probabilities are f32; the formula is compared in f64.
    let logprobs = gigaro_tensor::functional::log_softmax(&logits, -1)
        .gather(-1, &tokens(&f).unsqueeze(-1))
        .squeeze(-1);
    close("logprobs", &logprobs.to_vec::<f64>(), &list("logprobs"));
    let rounded = token_logprobs(&logits.detach(), &tokens(&f), 1.0).to_vec::<f32>();
    let rounded: Vec<f64> = rounded.into_iter().map(f64::from).collect();
    close("logprobs in f32", &rounded, &list("logprobs"));
    let clip = Clip::symmetric(number(&f, "clip"));
    let (old, advantages) = (list("old"), list("advantages"));
    let policy = policy_loss(
        &logprobs,
        &vector(&old),
        &vector(&advantages),
        &weights,
        clip,
    );
    let range = number(&f, "clip_value");
    let (values, returns) = (list("values"), list("returns"));
    let value = value_loss(
        &vpreds,
        &vector(&values),
        &vector(&returns),
        &weights,
        range,
    ) * number(&f, "vf_coef");
    close(
        "policy loss",
        &[policy.item()],
        &[number(&f, "policy_loss")],
    );
    close("value loss", &[value.item()], &[number(&f, "value_loss")]);
    (policy + value).backward();
    close_gradient("logits", &logits, &f, "grad_logits");
    let grad = vpreds
        .grad()
        .expect("values have a gradient")
        .to_vec::<f64>();
    close("values' gradient", &grad, &list("grad_vpreds"));

    let mean_entropy = (entropy(&logits.detach(), 1.0) * &weights).sum_all().item();
    close("entropy", &[mean_entropy], &[number(&f, "entropy")]);
    let moved = policy_figures(&list("logprobs"), &old, &advantages, clip);
    let of_values = value_figures(&list("vpreds"), &values, &returns, range);
    for (key, got) in [
        ("clip_fraction", moved.clip_fraction),
        ("policy_kl", moved.policy_kl),
        ("ratio_mean", moved.ratio_mean),
        ("value_error", of_values.error),
        ("value_clip_fraction", of_values.clip_fraction),
    ] {
        close(key, &[got], &[number(&f, key)]);
    }
}

/// The fixture's log-probabilities from fresh logits.
fn drawn(f: &Value) -> (Tensor, Tensor) {
    let logits = matrix(f, "logits").requires_grad_(true);
    let logprobs = gigaro_tensor::functional::log_softmax(&logits, -1)
        .gather(-1, &tokens(f).unsqueeze(-1))
        .squeeze(-1);
    (logits, logprobs)
}

#[test]
fn grpo_s_losses_and_gradients_are_trl_s_in_all_three_averagings() {
    let f = fixture("grpo");
    let lens = integers(&f, "lens");
    let per_answer = group_normalised(
        &numbers(&f, "rewards"),
        integers(&f, "lens").len() / 2,
        GroupScale::Group,
    );
    close("advantages", &per_answer, &numbers(&f, "advantages"));
    let advantages = to_tokens(&per_answer, &lens);
    let clip = Clip {
        low: number(&f, "clip_low"),
        high: number(&f, "clip_high"),
    };
    let most = number(&f, "max_tokens") as usize;
    for (name, averaging) in [
        ("grpo", Averaging::Answers),
        ("bnpo", Averaging::Tokens),
        ("dr_grpo", Averaging::MaxTokens(most)),
    ] {
        let expected = &f["losses"][name];
        let (logits, logprobs) = drawn(&f);
        let (old, weights) = (numbers(&f, "old"), vector(&averaging.weights(&lens)));
        let (a, reference) = (vector(&advantages), vector(&numbers(&f, "ref")));
        let loss = policy_loss(&logprobs, &vector(&old), &a, &weights, clip)
            + kl_loss(&logprobs, &reference, &weights) * number(&f, "beta");
        close(name, &[loss.item()], &[number(expected, "loss")]);
        loss.backward();
        close_gradient(name, &logits, expected, "grad_logits");
        let moved = policy_figures(&logprobs.detach().to_vec::<f64>(), &old, &advantages, clip);
        close(
            name,
            &[moved.clip_fraction],
            &[number(expected, "clip_fraction")],
        );
        let per_token = vector(&Averaging::Tokens.weights(&lens));
        let kl = kl_loss(&logprobs.detach(), &reference, &per_token).item();
        close(name, &[kl], &[number(expected, "kl")]);
    }
}

#[test]
fn rloo_is_the_published_formula() {
    let f = fixture("grpo");
    let lens = integers(&f, "lens");
    let kl: Vec<f64> = numbers(&f, "old")
        .iter()
        .zip(numbers(&f, "ref"))
        .map(|(p, q)| KlEstimator::K1.estimate(*p, q))
        .collect();
    let rewards: Vec<f64> = per_answer(&kl, &lens)
        .zip(numbers(&f, "rewards"))
        .map(|(kl, score)| score - number(&f, "beta") * kl.iter().sum::<f64>())
        .collect();
    let advantages = leave_one_out(&rewards, 3);
    close(
        "advantages",
        &advantages,
        &numbers(&f["rloo"], "advantages"),
    );
    let (logits, logprobs) = drawn(&f);
    let weights = vector(&Averaging::Sum.weights(&lens));
    let loss = reinforce_loss(&logprobs, &vector(&to_tokens(&advantages, &lens)), &weights);
    close("loss", &[loss.item()], &[number(&f["rloo"], "loss")]);
    loss.backward();
    close_gradient("logits", &logits, &f["rloo"], "grad_logits");
}

#[test]
fn adam_adds_eps_where_pytorch_does() {
    let f = fixture("adam");
    let p = vector(&numbers(&f, "start")).requires_grad_(true);
    let eps = number(&f, "eps");
    let options = AdamOptions {
        eps,
        ..AdamOptions::default()
    };
    let mut adam = Adam::new(
        vec![ParamGroup::new(vec![("p".into(), p.clone())])],
        options,
    );
    let grads = f["grads"].as_array().expect("a list of gradients");
    for i in 0..grads.len() {
        let g: Vec<f64> = grads[i]
            .as_array()
            .expect("a gradient")
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        p.set_grad(Some(vector(&g)));
        adam.step(number(&f, "lr"), 1.0);
    }
    close("parameters", &p.to_vec::<f64>(), &numbers(&f, "end"));
    // TensorFlow's form adds eps before the correction: a first step from g = eps would be
    // lr * sqrt(1 - beta2) / (sqrt(1 - beta2) + 1), a tenth of PyTorch's lr / 2.
    let moved = (number(&f, "lr") * 0.5, 0.5 - first_step(eps));
    assert!((moved.0 - moved.1).abs() < 1e-9, "{moved:?}");
}

/// Where 0.5 is after one step of learning rate 0.1 along a gradient of `eps`.
fn first_step(eps: f64) -> f64 {
    let p = vector(&[0.5]).requires_grad_(true);
    let options = AdamOptions {
        eps,
        ..AdamOptions::default()
    };
    let mut adam = Adam::new(
        vec![ParamGroup::new(vec![("p".into(), p.clone())])],
        options,
    );
    p.set_grad(Some(vector(&[eps])));
    adam.step(0.1, 1.0);
    p.item()
}
