//! Losses of learning from preferences against TRL: values and gradients.
//!
//! `fixtures/make_alignment.py` made the file in float64 and says which function computed what.

use gigaro_tensor::{DType, Tensor};
use gigaro_train::dpo::{dpo_loss, ipo_loss};
use gigaro_train::kto::kto_loss;
use gigaro_train::orpo::orpo_loss;
use gigaro_train::reward::pairwise_reward_loss;
use serde_json::Value;

/// A case of the file, read in one dtype.
struct Case {
    values: Value,
    dtype: DType,
}

impl Case {
    fn numbers(&self, name: &str) -> Vec<f64> {
        let list = self.values[name].as_array();
        let list = list.unwrap_or_else(|| panic!("the fixture has no list {name}"));
        list.iter().map(|x| x.as_f64().expect("a number")).collect()
    }

    fn number(&self, name: &str) -> f64 {
        self.values[name].as_f64().expect("a number")
    }

    fn tensor(&self, name: &str) -> Tensor {
        let numbers = self.numbers(name);
        Tensor::from_slice(&numbers, [numbers.len()]).to_dtype(self.dtype)
    }

    /// A tensor that is trained.
    fn leaf(&self, name: &str) -> Tensor {
        self.tensor(name).detach().requires_grad_(true)
    }

    /// A tensor over the lengths of the answers.
    fn mean(&self, logps: &Tensor, lengths: &str) -> Tensor {
        logps / self.tensor(lengths)
    }

    fn near(&self, ours: &[f64], theirs: &[f64], what: &str) {
        let tolerance = if self.dtype == DType::F64 { 1e-9 } else { 1e-5 };
        assert_eq!(ours.len(), theirs.len());
        for (a, b) in ours.iter().zip(theirs) {
            let error = (a - b).abs() / b.abs().max(1.0);
            assert!(error < tolerance, "{what} in {}: {a} and {b}", self.dtype);
        }
    }

    /// Compares losses, their mean, and the gradients of the mean with respect to the leaves.
    fn check(&self, losses: &Tensor, leaves: &[(&str, &Tensor)]) {
        let each = losses.detach().to_dtype(DType::F64).to_vec::<f64>();
        if self.values.get("losses").is_some() {
            self.near(&each, &self.numbers("losses"), "losses");
        }
        let mean = losses.mean_all();
        self.near(&[mean.item()], &[self.number("loss")], "the mean loss");
        mean.backward();
        for (name, leaf) in leaves {
            let gradient = leaf.grad().expect("a gradient").to_dtype(DType::F64);
            let theirs: Vec<f64> = self.values["gradients"][name]
                .as_array()
                .expect("a gradient in the fixture")
                .iter()
                .map(|x| x.as_f64().expect("a number"))
                .collect();
            self.near(&gradient.to_vec(), &theirs, name);
        }
    }
}

/// The case of a name, in double and in single precision.
fn cases(name: &str) -> [Case; 2] {
    let all: Value = serde_json::from_str(include_str!("fixtures/alignment.json")).expect("JSON");
    [DType::F64, DType::F32].map(|dtype| Case {
        values: all[name].clone(),
        dtype,
    })
}

fn references(case: &Case) -> [Tensor; 2] {
    ["ref_chosen", "ref_rejected"].map(|name| case.tensor(name))
}

#[test]
fn dpo_is_trls_with_and_without_label_smoothing() {
    for case in cases("dpo").into_iter().chain(cases("dpo_smoothed")) {
        let smoothing = case.values["label_smoothing"].as_f64().unwrap_or(0.0);
        let (chosen, rejected) = (case.leaf("chosen"), case.leaf("rejected"));
        let [a, b] = references(&case);
        let losses = dpo_loss(&chosen, &rejected, &a, &b, case.number("beta"), smoothing);
        case.check(&losses, &[("chosen", &chosen), ("rejected", &rejected)]);
    }
}

#[test]
fn ipo_is_trls() {
    for case in cases("ipo") {
        let (chosen, rejected) = (case.leaf("chosen"), case.leaf("rejected"));
        let [a, b] = references(&case);
        let losses = ipo_loss(
            &case.mean(&chosen, "chosen_lengths"),
            &case.mean(&rejected, "rejected_lengths"),
            &case.mean(&a, "chosen_lengths"),
            &case.mean(&b, "rejected_lengths"),
            case.number("beta"),
        );
        case.check(&losses, &[("chosen", &chosen), ("rejected", &rejected)]);
    }
}

#[test]
fn kto_is_trls_with_its_divergence_and_weights() {
    for case in cases("kto").into_iter().chain(cases("kto_at_zero")) {
        let logps = case.leaf("logps");
        let judgements = case.values["desirable"].as_array().expect("judgements");
        let desirable: Vec<bool> = judgements.iter().filter_map(Value::as_bool).collect();
        let weights = case.numbers("weights");
        let losses = kto_loss(
            &logps,
            &case.tensor("ref_logps"),
            &desirable,
            case.number("kl"),
            case.number("beta"),
            (weights[0], weights[1]),
        );
        case.check(&losses, &[("logps", &logps)]);
    }
}

#[test]
fn orpo_is_the_papers_also_where_answers_are_nearly_certain() {
    for case in cases("orpo") {
        let (chosen, rejected) = (case.leaf("chosen"), case.leaf("rejected"));
        let losses = orpo_loss(&chosen, &rejected, case.number("beta"));
        case.check(&losses, &[("chosen", &chosen), ("rejected", &rejected)]);
    }
}

#[test]
fn the_reward_loss_is_trls_with_and_without_a_margin() {
    for case in cases("reward").into_iter().chain(cases("reward_margin")) {
        let (chosen, rejected) = (case.leaf("chosen"), case.leaf("rejected"));
        let margin = case.values.get("margin").map(|_| case.tensor("margin"));
        let losses = pairwise_reward_loss(&chosen, &rejected, margin.as_ref());
        case.check(&losses, &[("chosen", &chosen), ("rejected", &rejected)]);
    }
}
