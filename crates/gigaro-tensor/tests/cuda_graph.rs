//! Work that a card repeats, and steps of many parameters at once: on an emulated card, or with `GIGARO_TEST_DEVICE=cuda` on a real one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gigaro_tensor::optim::{
    AdamRules, AdamSlot, AdamStep, adamw_, adamw_all_, adamw_by_rules_, norm_and_clip, total_norm,
};
use gigaro_tensor::{DType, Device, Generator, Tensor, catch_failure, cuda, functional};

fn card() -> Device {
    cuda::open_for_tests().expect("a card")
}

fn drawn(n: usize, dtype: DType, seed: u64) -> Tensor {
    Tensor::randn([n], dtype, Device::Cpu, &Generator::new(seed))
}

#[test]
fn a_graph_does_its_work_on_what_lies_in_its_inputs_then() {
    let device = card();
    let input = Tensor::zeros([5], DType::F32, device);
    let total = Tensor::zeros([5], DType::F32, device);
    let work = || {
        let y = (&input * 2.0).exp();
        total.add_(&y);
        y.sum_all()
    };
    let first = work().item();
    assert_eq!(first, 5.0);
    let (graph, sum) = cuda::Graph::capture(device, None, None, work).expect("nothing to refuse");
    // Nothing was done yet.
    assert_eq!(total.to_vec::<f32>(), [1.0; 5]);
    let expected = Tensor::full([5], 1.0, DType::F32, Device::Cpu);
    for seed in 0..3 {
        let x = drawn(5, DType::F32, seed);
        input.copy_(&x);
        // What others compute meanwhile lies elsewhere.
        let _others: Vec<Tensor> = (0..4).map(|_| &total + 1.0).collect();
        assert!(graph.replay());
        let y = (&x * 2.0).exp();
        expected.add_(&y);
        assert!((sum.item() - y.sum_all().item()).abs() < 1e-5);
    }
    let worst = (&expected - &total.to_device(Device::Cpu)).abs().max_all();
    assert!(worst.item() < 1e-5);
}

#[test]
fn a_graph_gives_its_memory_back_when_it_and_its_results_are_gone() {
    // One of its own, so that no other test takes memory there.
    let device = cuda::open_emulated_of(902, 16 << 20).expect("an emulated card");
    let held = || cuda::memory_stats(902).expect("open").allocated_bytes;
    let x = Tensor::zeros([1000], DType::F32, device);
    let before = held();
    let (graph, y) =
        cuda::Graph::capture(device, None, None, || &(&x + 1.0) * 2.0).expect("a graph");
    assert!(graph.replay());
    assert_eq!(y.to_vec::<f32>(), [2.0; 1000]);
    drop(graph);
    assert_eq!(y.to_vec::<f32>(), [2.0; 1000]);
    assert!(held() > before);
    drop(y);
    assert_eq!(held(), before);
}

#[test]
fn graphs_beside_each_other_share_their_memory() {
    let device = cuda::open_emulated_of(906, 16 << 20).expect("an emulated card");
    let held = || cuda::memory_stats(906).expect("open").allocated_bytes;
    let x = Tensor::full([100_000], 1.0, DType::F32, device);
    let out = Tensor::zeros([100_000], DType::F32, device);
    let work = |k: f64| {
        let y = (&x * k).exp();
        out.copy_(&(&y + 1.0));
    };
    let (first, ()) = cuda::Graph::capture(device, None, None, || work(0.0)).expect("a graph");
    let with_one = held();
    let (second, ()) =
        cuda::Graph::capture(device, None, Some(&first), || work(1.0)).expect("a graph");
    assert_eq!(held(), with_one);
    for (graph, expected) in [(&first, 2.0), (&second, 1.0 + 1.0_f32.exp()), (&first, 2.0)] {
        assert!(graph.replay());
        assert_eq!(out.narrow(0, 0, 1).to_vec::<f32>(), [expected]);
    }
    drop(first);
    assert!(second.replay());
}

#[test]
fn random_numbers_go_on_as_if_the_work_was_asked_for_each_time() {
    let device = card();
    let x = Tensor::full([37], 1.0, DType::F32, device).requires_grad_(true);
    let generator = Generator::new(3);
    let work = || {
        let y = functional::dropout(&functional::dropout(&x, 0.3, &generator), 0.2, &generator);
        x.zero_grad();
        y.sum_all().backward();
        (y.detach(), x.grad().expect("a gradient"))
    };
    let asked: Vec<_> = (0..4)
        .map(|_| work())
        .map(|(y, grad)| (y.to_bytes(), grad.to_bytes()))
        .collect();
    let end = generator.state();
    generator.set_state([3, 0]);
    assert_eq!(work().0.to_bytes(), asked[0].0);
    let (graph, (y, grad)) =
        cuda::Graph::capture(device, Some(&generator), None, work).expect("a graph");
    for (expected, expected_grad) in &asked[1..] {
        assert!(graph.replay());
        assert_eq!((&y.to_bytes(), &grad.to_bytes()), (expected, expected_grad));
    }
    assert_eq!(generator.state(), end);
    generator.set_state([4, 0]);
    assert!(catch_unwind(AssertUnwindSafe(|| graph.replay())).is_err());
}

#[test]
fn what_a_graph_cannot_repeat_is_a_sentence_and_the_card_goes_on() {
    let device = card();
    let x = Tensor::full([3], 2.0, DType::F32, device);
    let refused = |work: &dyn Fn() -> f64| {
        let refused = cuda::Graph::capture(device, None, None, work);
        let said = refused.map(|_| ()).expect_err("a refusal").to_string();
        assert_eq!((&x + 1.0).to_vec::<f32>(), [3.0; 3]);
        said
    };
    let said = refused(&|| (&x + 1.0).sum_all().item());
    let expected = format!("{device}: a graph cannot repeat `download`; do it before");
    assert!(said.starts_with(&expected), "{said}");
    let said = refused(&|| {
        let _ = drawn(3, DType::F32, 1).to_device(device);
        0.0
    });
    assert!(said.contains("`upload`"), "{said}");
    let said = refused(&|| {
        let _ = functional::dropout(&x, 0.5, &Generator::new(1));
        0.0
    });
    assert!(
        said.contains("random numbers of another generator"),
        "{said}"
    );
    // A bug in the work stays one, and is not the end of the card either.
    let bug = catch_unwind(AssertUnwindSafe(|| {
        cuda::Graph::capture(device, None, None, || panic!("a bug"))
    }));
    assert!(bug.is_err());
    let (graph, y) = cuda::Graph::capture(device, None, None, || &x * 3.0).expect("a graph");
    assert!(graph.replay());
    assert_eq!(y.to_vec::<f32>(), [6.0; 3]);
}

#[test]
fn a_graph_whose_inputs_have_moved_or_are_gone_says_so() {
    let device = card();
    let x = Tensor::full([3], 2.0, DType::F32, device);
    let gone = Tensor::full([3], 5.0, DType::F32, device);
    let (graph, y) = cuda::Graph::capture(device, None, None, || &x * &gone).expect("a graph");
    assert!(graph.replay());
    assert_eq!(y.to_vec::<f32>(), [10.0; 3]);
    drop(gone);
    assert!(!graph.is_current() && !graph.replay());
    let (graph, _) = cuda::Graph::capture(device, None, None, || &x * 4.0).expect("a graph");
    x.to_device_(Device::Cpu);
    assert!(!graph.replay());
    x.to_device_(device);
    // Not again at the old place, which is still in use.
    let (graph, y) = cuda::Graph::capture(device, None, None, || &x * 4.0).expect("a graph");
    assert!(graph.replay());
    assert_eq!(y.to_vec::<f32>(), [8.0; 3]);
}

#[test]
fn other_threads_work_is_not_part_of_a_graph() {
    let device = card();
    let x = Tensor::full([3], 2.0, DType::F32, device);
    let count = Tensor::zeros([1], DType::F32, device);
    let work =
        |n: usize| (0..n).for_each(|_| count.add_(&Tensor::full([1], 1.0, DType::F32, device)));
    std::thread::scope(|threads| {
        let other = threads.spawn(|| work(300));
        for _ in 0..20 {
            let (graph, y) =
                cuda::Graph::capture(device, None, None, || &x * 3.0).expect("a graph");
            assert!(graph.replay());
            assert_eq!(y.to_vec::<f32>(), [6.0; 3]);
        }
        other.join().expect("no panic");
    });
    assert_eq!(count.item(), 300.0);
}

/// Parameters, gradients and moments of many sizes; the last two in f64, and one gradient a view that begins in the middle of a block.
fn parameters() -> Vec<[Tensor; 4]> {
    let sizes = (0..90).map(|i| 1 + i * i * 7 % 300);
    let sizes = sizes.chain([16_384, 40_001]).chain([5, 16_390]);
    let all: Vec<usize> = sizes.collect();
    let last = all.len() - 2;
    all.iter()
        .enumerate()
        .map(|(i, &n)| {
            let dtype = if i < last { DType::F32 } else { DType::F64 };
            let draw = |k: u64| drawn(n, dtype, 4 * i as u64 + k);
            let grad = drawn(n + 1, dtype, 4 * i as u64).narrow(0, usize::from(i == 7), n);
            [draw(1), grad, draw(2), draw(3).square()]
        })
        .collect()
}

fn steps(n: usize, lr: f64, grad_scale: f64) -> Vec<AdamStep> {
    (0..n)
        .map(|i| AdamStep {
            lr,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.1 * (i % 2) as f64,
            step: 1 + i as u64 % 5,
            grad_scale,
        })
        .collect()
}

fn on(parameters: &[[Tensor; 4]], device: Device) -> Vec<[Tensor; 4]> {
    let moved = |t: &Tensor| match device {
        Device::Cpu => t.copy(),
        // A view stays one.
        _ if t.layout().offset() > 0 => {
            let whole = Tensor::zeros([t.numel() + 1], t.dtype(), device);
            let part = whole.narrow(0, 1, t.numel());
            part.copy_(t);
            part
        }
        _ => t.to_device(device),
    };
    let all = parameters.iter();
    all.map(|four| std::array::from_fn(|k| moved(&four[k])))
        .collect()
}

fn slots(parameters: &[[Tensor; 4]]) -> Vec<AdamSlot<'_>> {
    fn slot([param, grad, exp_avg, exp_avg_sq]: &[Tensor; 4]) -> AdamSlot<'_> {
        AdamSlot {
            param,
            grad,
            exp_avg,
            exp_avg_sq,
        }
    }
    parameters.iter().map(slot).collect()
}

fn assert_alike(here: &[[Tensor; 4]], there: &[[Tensor; 4]]) {
    for (i, (a, b)) in here.iter().zip(there).enumerate() {
        for k in [0, 2, 3] {
            let difference = (&a[k] - &b[k].to_device(Device::Cpu))
                .abs()
                .max_all()
                .item();
            assert!(
                difference < 1e-5,
                "tensor {k} of parameter {i}: {difference}"
            );
        }
    }
}

#[test]
fn a_step_of_many_parameters_is_that_of_each() {
    let parameters = parameters();
    let (here, there) = (on(&parameters, Device::Cpu), on(&parameters, card()));
    let steps = steps(parameters.len(), 0.01, 0.5);
    for (slot, step) in slots(&here).iter().zip(&steps) {
        adamw_(slot.param, slot.grad, slot.exp_avg, slot.exp_avg_sq, step);
    }
    adamw_all_(&slots(&there), &steps);
    assert_alike(&here, &there);
    let again = on(&parameters, Device::Cpu);
    adamw_all_(&slots(&again), &steps);
    for (a, b) in here.iter().zip(&again) {
        assert_eq!(a[0].to_bytes(), b[0].to_bytes());
    }
}

#[test]
fn a_norm_over_many_tensors_clips_and_a_broken_one_changes_nothing() {
    let device = card();
    let parameters = parameters();
    let (here, there) = (on(&parameters, Device::Cpu), on(&parameters, device));
    let grads = |all: &[[Tensor; 4]]| -> Vec<Tensor> { all.iter().map(|p| p[1].clone()).collect() };
    let norm = total_norm(&grads(&here));
    assert!((total_norm(&grads(&there)) / norm - 1.0).abs() < 1e-6);
    let clip = norm_and_clip(&grads(&there), 2.0);
    let [found, factor] = clip.to_vec::<f64>()[..] else {
        panic!("two numbers")
    };
    assert!((found / norm - 1.0).abs() < 1e-6 && (factor * norm - 2.0).abs() < 1e-5);
    let generous = norm_and_clip(&grads(&there), 1e9).to_vec::<f64>();
    assert_eq!(generous[1], 1.0);
    let rules = AdamRules::new(parameters.len() + 3, device);
    rules.set(&steps(parameters.len(), 0.01, 1.0));
    adamw_by_rules_(&slots(&there), &rules, Some(&clip));
    for (slot, step) in slots(&here)
        .iter()
        .zip(steps(parameters.len(), 0.01, factor))
    {
        adamw_(slot.param, slot.grad, slot.exp_avg, slot.exp_avg_sq, &step);
    }
    assert_alike(&here, &there);
    for broken in [f64::NAN, f64::INFINITY] {
        let before: Vec<_> = there.iter().map(|p| p[0].to_bytes()).collect();
        there[40][1].fill_(broken);
        let clip = norm_and_clip(&grads(&there), 2.0);
        assert!(!clip.narrow(0, 0, 1).item().is_finite());
        adamw_by_rules_(&slots(&there), &rules, Some(&clip));
        let after: Vec<_> = there.iter().map(|p| p[0].to_bytes()).collect();
        assert!(before == after);
    }
}

#[test]
fn a_full_card_is_no_graph() {
    let device = cuda::open_emulated_of(903, 8 << 20).expect("an emulated card");
    let x = Tensor::zeros([1 << 18], DType::F32, device);
    let work = || {
        let all: Vec<Tensor> = (0..20).map(|_| &x + 1.0).collect();
        all.len()
    };
    let failure = cuda::Graph::capture(device, None, None, work).expect_err("20 MiB of 8");
    assert!(failure.to_string().contains("needs 1.0 MiB"), "{failure}");
    assert_eq!(catch_failure(|| (&x + 1.0).max_all().item()), Ok(1.0));
}
