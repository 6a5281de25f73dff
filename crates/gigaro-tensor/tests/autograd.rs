//! Automatic differentiation from outside: what is recorded, where gradients end up, and that none is lost in silence.
//!
//! That each op's gradient is right is the business of `ops.rs`; here is the machinery between the ops.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gigaro_tensor::autograd::{Function, apply, grad};
use gigaro_tensor::cpu::quantized::quantize_int8;
use gigaro_tensor::functional as f;
use gigaro_tensor::{DType, Device, Generator, Tensor, checkpoint, enable_grad, no_grad};

fn leaf(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()]).requires_grad_(true)
}

fn random<const N: usize>(shape: [usize; N], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F32, Device::Cpu, &Generator::new(seed))
}

fn values(t: &Tensor) -> Vec<f64> {
    t.detach().to_vec::<f64>()
}

/// What is in a leaf's gradient.
fn collected(t: &Tensor) -> Vec<f64> {
    values(&t.grad().expect("a gradient arrived"))
}

/// The sentence that `run` panics with.
fn complaint<R>(run: impl FnOnce() -> R) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run))
        .err()
        .expect("it must fail loudly");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a sentence")).to_owned(),
    }
}

fn assert_says(complaint: &str, words: &[&str]) {
    for word in words {
        assert!(
            complaint.contains(word),
            "`{complaint}` does not say `{word}`"
        );
    }
}

/// `a * b`, with a gradient for `a` only.
struct Forgetful;

impl Function for Forgetful {
    fn name(&self) -> &'static str {
        "forgetful"
    }

    fn forward(&self, inputs: &[Tensor]) -> Tensor {
        &inputs[0] * &inputs[1]
    }

    fn backward(&self, inputs: &[Tensor], _: &Tensor, grad: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(grad * &inputs[1]), None]
    }
}

#[test]
fn an_op_without_a_gradient_for_an_input_that_wants_one_names_itself_and_the_input() {
    let (a, b) = (leaf(&[1.0, 2.0]), leaf(&[3.0, 4.0]));
    let loss = apply(Forgetful, &[&a, &b]).sum_all();
    let said = complaint(|| loss.backward());
    assert_says(&said, &["`forgetful`", "input 1", "(2)"]);
}

#[test]
fn an_input_that_wants_no_gradient_needs_none() {
    let (a, b) = (leaf(&[1.0, 2.0]), leaf(&[3.0, 4.0]).detach());
    apply(Forgetful, &[&a, &b]).sum_all().backward();
    assert_eq!(collected(&a), [3.0, 4.0]);
}

#[test]
fn operands_that_cannot_have_the_gradient_they_want_are_refused() {
    let (target, wanting) = (Tensor::from_slice(&[0.0, 0.0], [2]), leaf(&[1.0, 2.0]));
    assert_says(&complaint(|| target.copy_(&wanting)), &["copy_", "no_grad"]);
    assert_says(&complaint(|| target.add_(&wanting)), &["add_", "no_grad"]);
    no_grad(|| target.add_(&wanting));
    assert_eq!(values(&target), [1.0, 2.0]);

    let (cos, sin) = f::rotary_tables(0, 3, 4, 10_000.0);
    let (x, cos) = (random([1, 3, 1, 4], 1), cos.requires_grad_(true));
    let said = complaint(|| f::rotary_embedding(&x, &cos, &sin));
    assert_says(&said, &["rotary_embedding", "no gradient"]);

    let weight = quantize_int8(&[1.0, 2.0, 3.0, 4.0], 2, 2);
    let (x, bias) = (random([3, 2], 1), random([2], 2).requires_grad_(true));
    for (x, bias) in [(x.requires_grad_(true), None), (x, Some(&bias))] {
        let said = complaint(|| f::linear_quantized(&x, &weight, bias));
        assert_says(&said, &["linear_quantized", "no_grad"]);
        assert!(!no_grad(|| f::linear_quantized(&x, &weight, bias)).requires_grad());
    }
}

/// Weights of two layers, all leaves.
fn two_layers() -> [Tensor; 3] {
    [random([16, 8], 1), random([16], 2), random([4, 16], 3)]
        .map(|t| (t * 0.3).requires_grad_(true))
}

/// Two layers with dropout between them.
fn network(x: &Tensor, w: &[Tensor; 3], random: &Generator) -> Tensor {
    let hidden = f::gelu(&f::linear(x, &w[0], Some(&w[1])));
    f::linear(&f::dropout(&hidden, 0.25, random), &w[2], None)
}

/// [`network`] as a checkpoint.
fn checkpointed(x: &Tensor, w: &[Tensor; 3], random: &Generator) -> Tensor {
    let (kept, inner) = (w.clone(), random.clone());
    checkpoint(move |x| network(&x[0], &kept, &inner), &[x], Some(random))
}

/// The bits of the loss and of all gradients, with `run` as the network.
fn bits(
    run: fn(&Tensor, &[Tensor; 3], &Generator) -> Tensor,
    input_wants_gradient: bool,
) -> Vec<Vec<u8>> {
    let (w, x) = (two_layers(), random([5, 8], 4));
    let x = x.requires_grad_(input_wants_gradient);
    let loss = run(&x, &w, &Generator::new(9)).square().sum_all();
    loss.backward();
    let gradients = w.iter().chain([&x]).filter_map(Tensor::grad);
    std::iter::once(loss.detach())
        .chain(gradients)
        .map(|t| t.to_bytes())
        .collect()
}

#[test]
fn checkpointing_changes_no_bit() {
    let plain = bits(network, true);
    assert_eq!(plain.len(), 5);
    assert_eq!(plain, bits(checkpointed, true));
}

#[test]
fn a_checkpoint_serves_captured_parameters_when_no_input_wants_a_gradient() {
    let plain = bits(network, false);
    assert_eq!(plain.len(), 4);
    assert_eq!(plain, bits(checkpointed, false));
}

#[test]
fn a_checkpoint_serves_captured_results_once_each() {
    let run = |through: bool| {
        let w = leaf(&[0.5, -1.0, 2.0]);
        // Neither a leaf nor an input, used inside twice and outside too.
        let shared = w.square();
        let inner = shared.clone();
        let piece = move |x: &[Tensor]| &x[0] * &inner + inner.exp();
        let x = leaf(&[1.0, 2.0, 3.0]);
        let y = if through {
            checkpoint(piece, &[&x], None)
        } else {
            piece(std::slice::from_ref(&x))
        };
        ((y * &shared).sum_all()).backward();
        [collected(&w), collected(&x)]
    };
    let (plain, through) = (run(false), run(true));
    for (a, b) in plain.iter().flatten().zip(through.iter().flatten()) {
        assert!((a - b).abs() < 1e-12 * a.abs(), "{plain:?} {through:?}");
    }
}

#[test]
fn checkpoints_in_a_checkpoint_serve_what_the_inner_one_captured() {
    let run = |depth: usize| {
        let w = leaf(&[0.5, -1.0, 2.0]);
        let x = Tensor::from_slice(&[1.0, 2.0, 3.0], [3]);
        let inner = w.clone();
        let product = move |x: &[Tensor]| (&x[0] * &inner).tanh();
        let y = match depth {
            0 => product(&[x]),
            1 => checkpoint(product, &[&x], None),
            _ => {
                let product = Arc::new(product);
                let outer = move |x: &[Tensor]| {
                    let product = Arc::clone(&product);
                    checkpoint(move |x| product(x), &[&x[0]], None)
                };
                checkpoint(outer, &[&x], None)
            }
        };
        y.sum_all().backward();
        collected(&w)
    };
    assert_eq!(run(0), run(1));
    assert_eq!(run(0), run(2));
}

#[test]
fn a_checkpoint_has_second_derivatives() {
    let (w, x) = (leaf(&[0.5, -1.0]), leaf(&[2.0, 3.0]));
    let inner = w.clone();
    let y = checkpoint(move |x| x[0].pow(3.0) * &inner, &[&x], None).sum_all();
    let first = grad(&[&y], &[&x, &w], true);
    assert_eq!(values(&first[0]), [0.5 * 12.0, -27.0]);
    assert_eq!(values(&first[1]), [8.0, 27.0]);
    let second = grad(&[&first[0].sum_all()], &[&x, &w], false);
    assert_eq!(values(&second[0]), [0.5 * 12.0, -18.0]);
    assert_eq!(values(&second[1]), [12.0, 27.0]);
    assert!(w.grad().is_none() && x.grad().is_none());
}

#[test]
fn a_checkpoint_of_what_nobody_differentiates_records_nothing() {
    let (w, x) = (leaf(&[0.5, -1.0]), Tensor::from_slice(&[2.0, 3.0], [2]));
    let captured = w.clone();
    let constant = move |x: &[Tensor]| no_grad(|| &x[0] * &captured);
    assert!(!checkpoint(constant, &[&x], None).requires_grad());
    let captured = w.clone();
    let wanting = move |x: &[Tensor]| &x[0] * &captured;
    assert!(!no_grad(|| checkpoint(wanting.clone(), &[&x], None)).requires_grad());
    assert!(checkpoint(wanting, &[&x], None).requires_grad());
    // Also what is switched on inside is found.
    let captured = w.clone();
    let forced = move |x: &[Tensor]| enable_grad(|| &x[0] * &captured);
    checkpoint(forced, &[&x], None).sum_all().backward();
    assert_eq!(collected(&w), [2.0, 3.0]);
}

#[test]
fn an_input_that_a_checkpoint_does_not_use_gets_zeros() {
    let (x, unused) = (leaf(&[1.0, 2.0]), leaf(&[3.0, 4.0]));
    checkpoint(|x| x[0].square(), &[&x, &unused], None)
        .sum_all()
        .backward();
    assert_eq!(collected(&x), [2.0, 4.0]);
    assert_eq!(collected(&unused), [0.0, 0.0]);
}

#[test]
fn a_parameter_changed_before_the_second_run_of_a_checkpoint_is_noticed() {
    let w = leaf(&[0.5, -1.0]);
    let captured = w.clone();
    let x = Tensor::from_slice(&[2.0, 3.0], [2]);
    let y = checkpoint(move |x| &x[0] * &captured, &[&x], None).sum_all();
    no_grad(|| w.mul_(2.0));
    assert_says(&complaint(|| y.backward()), &["changed in place"]);
}

#[test]
fn a_checkpoint_runs_its_piece_once_forwards_and_once_backwards() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let piece = move |x: &[Tensor]| {
        counter.fetch_add(1, Ordering::Relaxed);
        x[0].square()
    };
    let x = leaf(&[3.0]);
    let y = checkpoint(piece, &[&x], None);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    y.backward();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(collected(&x), [6.0]);
}

#[test]
fn inside_no_grad_nothing_is_recorded_and_enable_grad_records_again() {
    let w = leaf(&[1.0, 2.0]);
    assert!(!no_grad(|| w.square()).requires_grad());
    assert!(w.square().requires_grad());
    let again = no_grad(|| enable_grad(|| w.square()));
    again.sum_all().backward();
    assert_eq!(collected(&w), [2.0, 4.0]);
    // The switch goes back also when the closure panics.
    let said = complaint(|| no_grad(|| panic!("on purpose")));
    assert_eq!(said, "on purpose");
    assert!(w.square().requires_grad());
}

#[test]
fn detach_shares_the_numbers_and_stops_the_gradient() {
    let w = leaf(&[1.0, 2.0]);
    let cut = w.square().detach();
    assert!(!cut.requires_grad() && cut.is_leaf());
    (&w * &cut).sum_all().backward();
    // d/dw of w c with c = w^2 held fixed.
    assert_eq!(collected(&w), [1.0, 4.0]);
    no_grad(|| w.mul_(3.0));
    assert_eq!(values(&w.detach()), [3.0, 6.0]);
}

#[test]
fn two_backward_passes_add_up_until_the_gradient_is_forgotten() {
    let w = leaf(&[1.0, -2.0]);
    w.square().sum_all().backward();
    (&w * 10.0).sum_all().backward();
    assert_eq!(collected(&w), [12.0, 6.0]);
    w.zero_grad();
    assert!(w.grad().is_none());
    w.square().sum_all().backward();
    assert_eq!(collected(&w), [2.0, -4.0]);
}

#[test]
fn a_gradient_handed_out_does_not_change_with_the_next_pass() {
    let w = leaf(&[1.0, -2.0]);
    w.square().sum_all().backward();
    let first = w.grad().expect("a gradient arrived");
    w.square().sum_all().backward();
    assert_eq!(values(&first), [2.0, -4.0]);
    assert_eq!(collected(&w), [4.0, -8.0]);
}

#[test]
fn ways_that_meet_again_add_their_gradients() {
    let w = leaf(&[0.5, -1.5]);
    // w -> s -> {s^2, 3 s} -> product, and s once more beside it.
    let s = w.square();
    let y = &(s.square() * (&s * 3.0)) + &s;
    y.sum_all().backward();
    // y = 3 w^6 + w^2
    let expected = [0.5_f64, -1.5].map(|w| 18.0 * w.powi(5) + 2.0 * w);
    for (a, e) in collected(&w).iter().zip(expected) {
        assert!((a - e).abs() < 1e-12 * e.abs(), "{a} {e}");
    }
}

#[test]
fn a_tensor_used_twice_by_one_op_gets_both_shares() {
    let w = leaf(&[2.0, 3.0]);
    (&w * &w).sum_all().backward();
    assert_eq!(collected(&w), [4.0, 6.0]);
    w.zero_grad();
    Tensor::cat(&[&w, &w], 0).sum_all().backward();
    assert_eq!(collected(&w), [2.0, 2.0]);
}

#[test]
fn a_chain_of_many_thousand_ops_is_walked_and_dropped() {
    let w = leaf(&[1.0]);
    let mut y = w.clone();
    for _ in 0..100_000 {
        y = y + 1.0;
    }
    y.backward();
    assert_eq!(collected(&w), [1.0]);
}

#[test]
fn a_tensor_changed_in_place_before_its_gradient_is_needed_is_noticed() {
    let (w, x) = (leaf(&[1.0, 2.0]), Tensor::from_slice(&[3.0, 4.0], [2]));
    let loss = (&w * &x).sum_all();
    x.mul_(2.0);
    assert_says(&complaint(|| loss.backward()), &["changed in place"]);
    // A gradient that does not need the numbers is not disturbed.
    let loss = (&w + &x).sum_all();
    x.mul_(2.0);
    w.zero_grad();
    loss.backward();
    assert_eq!(collected(&w), [1.0, 1.0]);
    // A view shares the numbers, and so the count of changes.
    let loss = (&w * &x.narrow(0, 0, 2)).sum_all();
    x.zero_();
    assert_says(&complaint(|| loss.backward()), &["changed in place"]);
}

#[test]
fn a_leaf_is_changed_in_place_only_inside_no_grad() {
    let w = leaf(&[1.0, 2.0]);
    assert_says(&complaint(|| w.mul_(2.0)), &["mul_", "no_grad"]);
    no_grad(|| w.mul_(2.0));
    assert_eq!(values(&w), [2.0, 4.0]);
}

#[test]
fn a_graph_serves_one_backward_pass_and_says_how_to_have_more() {
    let w = leaf(&[1.0, 2.0]);
    let loss = w.square().sum_all();
    loss.backward();
    let said = complaint(|| loss.backward());
    assert_says(&said, &["already used", "autograd::grad"]);

    // As it says, autograd::grad leaves the graph as it is.
    let loss = w.square().sum_all();
    let first = grad(&[&loss], &[&w], false);
    let second = grad(&[&loss], &[&w], false);
    assert_eq!(values(&first[0]), values(&second[0]));
    loss.backward();
}

#[test]
fn derivatives_of_derivatives_are_right_to_the_third() {
    let x = leaf(&[0.7]);
    let y = x.sin() * x.pow(3.0);
    let mut order = y;
    for _ in 0..3 {
        order = grad(&[&order], &[&x], true).remove(0);
    }
    let v = 0.7_f64;
    // (x^3 sin x)''' = (6 - 9 x^2) sin x + (18 x - x^3) cos x
    let expected = (6.0 - 9.0 * v * v) * v.sin() + (18.0 * v - v.powi(3)) * v.cos();
    assert!((order.item() - expected).abs() < 1e-10, "{}", order.item());
    assert!(x.grad().is_none(), "grad touches no leaf");
}

#[test]
fn grad_gives_zeros_for_what_the_output_does_not_depend_on() {
    let (used, unused) = (leaf(&[1.0, 2.0]), leaf(&[3.0]));
    let grads = grad(&[&used.square().sum_all()], &[&used, &unused], false);
    assert_eq!(values(&grads[0]), [2.0, 4.0]);
    assert_eq!(values(&grads[1]), [0.0]);
    let constant = used.detach();
    assert_says(
        &complaint(|| grad(&[&used.sum_all()], &[&constant], false)),
        &["does not require gradients"],
    );
}

/// Rounds forwards and lets the gradient through unchanged, after Bengio, Leonard, Courville (2013).
struct StraightThrough;

impl Function for StraightThrough {
    fn name(&self) -> &'static str {
        "straight_through"
    }

    fn forward(&self, inputs: &[Tensor]) -> Tensor {
        inputs[0].round()
    }

    fn backward(&self, _: &[Tensor], _: &Tensor, grad: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(grad.clone())]
    }
}

/// `x^3` with its slope from outside: wrong by design, so that a test sees whose slope is used.
struct Cube {
    slope: f64,
}

impl Function for Cube {
    fn name(&self) -> &'static str {
        "cube"
    }

    fn forward(&self, inputs: &[Tensor]) -> Tensor {
        inputs[0].pow(3.0)
    }

    fn backward(&self, inputs: &[Tensor], output: &Tensor, grad: &Tensor) -> Vec<Option<Tensor>> {
        assert_eq!(values(output), values(&inputs[0].detach().pow(3.0)));
        vec![Some(grad * inputs[0].square() * self.slope)]
    }
}

#[test]
fn a_function_from_outside_uses_its_own_backward() {
    let x = leaf(&[0.4, 1.6]);
    let y = apply(StraightThrough, &[&x]);
    assert_eq!(values(&y), [0.0, 2.0]);
    (y * 3.0).sum_all().backward();
    assert_eq!(collected(&x), [3.0, 3.0]);
}

#[test]
fn a_function_written_with_tensor_ops_has_second_derivatives() {
    let x = leaf(&[2.0]);
    let y = apply(Cube { slope: 5.0 }, &[&x]);
    let first = grad(&[&y], &[&x], true);
    assert_eq!(values(&first[0]), [20.0]);
    let second = grad(&[&first[0]], &[&x], false);
    assert_eq!(values(&second[0]), [20.0]);
}

/// Gives back too few gradients, or one of another shape.
struct Misshapen {
    count: usize,
}

impl Function for Misshapen {
    fn name(&self) -> &'static str {
        "misshapen"
    }

    fn forward(&self, inputs: &[Tensor]) -> Tensor {
        inputs[0].clone()
    }

    fn backward(&self, _: &[Tensor], _: &Tensor, grad: &Tensor) -> Vec<Option<Tensor>> {
        vec![Some(grad.sum_all()); self.count]
    }
}

#[test]
fn gradients_that_do_not_fit_are_refused_by_the_ops_name() {
    let x = leaf(&[1.0, 2.0]);
    for (count, words) in [(0, "0 gradients for 1"), (1, "gradient of shape")] {
        let loss = apply(Misshapen { count }, &[&x]).sum_all();
        let said = complaint(|| loss.backward());
        assert_says(&said, &["`misshapen`", words]);
    }
}

#[test]
fn only_leaves_keep_gradients() {
    let w = leaf(&[1.0, 2.0]);
    let middle = w.square();
    assert!(w.is_leaf() && !middle.is_leaf());
    middle.sum_all().backward();
    assert!(middle.grad().is_none());
    assert_eq!(collected(&w), [2.0, 4.0]);
    assert_says(
        &complaint(|| middle.set_grad(Some(w.detach()))),
        &["set_grad"],
    );
    w.set_grad(Some(w.detach()));
    assert_eq!(collected(&w), [1.0, 2.0]);
    // A clone is the same leaf; a leaf over the same numbers is not.
    let (same, other) = (w.clone(), w.requires_grad_(true));
    assert_eq!(collected(&same), [1.0, 2.0]);
    assert!(other.grad().is_none());
}

#[test]
fn what_cannot_have_a_gradient_says_so() {
    let integers = Tensor::from_slice(&[1_i64, 2], [2]);
    let said = complaint(|| integers.requires_grad_(true));
    assert_says(&said, &["requires_grad_", "i64"]);
    let x = leaf(&[1.0, 2.0]);
    assert_says(&complaint(|| x.square().backward()), &["scalar"]);
    let constant = x.detach().sum_all();
    assert_says(&complaint(|| constant.backward()), &["requires gradients"]);
    let y = x.square();
    let wrong = Tensor::from_slice(&[1.0], [1]);
    assert_says(&complaint(|| y.backward_with(&wrong)), &["(1)", "(2)"]);
}

#[test]
fn gradients_have_the_dtype_of_what_they_belong_to() {
    let narrow = leaf(&[1.0, 2.0]).detach().to_dtype(DType::BF16);
    let narrow = narrow.requires_grad_(true);
    let wide = leaf(&[3.0, 4.0]);
    (&narrow * &wide).sum_all().backward();
    assert_eq!(narrow.grad().map(|g| g.dtype()), Some(DType::BF16));
    assert_eq!(wide.grad().map(|g| g.dtype()), Some(DType::F64));
}
