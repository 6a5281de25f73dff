//! After warm-up a step of training asks the system for no memory: what it needs lies in the allocator's cache, so that no page is
//! faulted in.
//!
//! A file of its own, because the counters are the whole process's.

use gigaro_tensor::functional as f;
use gigaro_tensor::optim::{AdamStep, adamw_};
use gigaro_tensor::{
    AllocatorStats, DType, Device, Generator, Tensor, allocator_stats, autocast, checkpoint,
};

const VOCAB: usize = 64;
const WIDTH: usize = 32;
const HEADS: usize = 2;

/// A parameter with the two moments of its optimiser.
struct Parameter {
    weight: Tensor,
    moments: [Tensor; 2],
}

impl Parameter {
    fn new(shape: &[usize], random: &Generator) -> Self {
        let weight = Tensor::randn(shape, DType::F32, Device::Cpu, random) * 0.1;
        Self {
            moments: [weight.zeros_like(), weight.zeros_like()],
            weight: weight.requires_grad_(true),
        }
    }
}

/// Embedding, norm, packed projection of attention, its output, two matrices of the feed-forward layer.
fn parameters(random: &Generator) -> Vec<Parameter> {
    [
        vec![VOCAB, WIDTH],
        vec![WIDTH],
        vec![3 * WIDTH, WIDTH],
        vec![WIDTH, WIDTH],
        vec![4 * WIDTH, WIDTH],
        vec![WIDTH, 4 * WIDTH],
    ]
    .iter()
    .map(|shape| Parameter::new(shape, random))
    .collect()
}

/// One block of a transformer on `x` `(B, T, C)`.
fn block(x: &Tensor, w: &[Tensor], random: &Generator) -> Tensor {
    let qkv = f::linear(&f::rms_norm(x, Some(&w[1]), 1e-6), &w[2], None);
    let heads = f::attention_qkv_packed(&qkv, HEADS);
    let x = x + f::dropout(&f::linear(&heads, &w[3], None), 0.1, random);
    let hidden = f::gelu(&f::linear(&x, &w[4], None));
    x + f::linear(&hidden, &w[5], None)
}

/// Forward, backward and an optimiser's step, on tokens drawn anew.
fn train_step(step: u64, all: &[Parameter], random: &Generator) -> f64 {
    let ids = |seed| {
        let random = random.fork(seed);
        Tensor::randint(0, VOCAB as i64, [4, 16], DType::I64, Device::Cpu, &random)
    };
    let w: Vec<Tensor> = all.iter().map(|p| p.weight.clone()).collect();
    let loss = autocast(DType::BF16, || {
        let x = f::embedding(&ids(2 * step), &w[0]);
        let x = block(&x, &w, random);
        let (captured, inner) = (w.clone(), random.clone());
        let again = move |x: &[Tensor]| block(&x[0], &captured, &inner);
        let x = checkpoint(again, &[&x], Some(random)).reshape([4 * 16, WIDTH]);
        f::linear_cross_entropy(&x, &w[0], &ids(2 * step + 1).flatten(0, 1), -100, None)
    });
    loss.backward();
    let rule = AdamStep {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        step,
        grad_scale: 1.0,
    };
    for p in all {
        let grad = p.weight.grad().expect("every parameter is used");
        let [first, second] = &p.moments;
        adamw_(&p.weight, &grad, first, second, &rule);
        p.weight.zero_grad();
    }
    loss.item()
}

#[test]
fn after_warm_up_a_training_step_asks_the_system_for_no_memory() {
    let random = Generator::new(5);
    let all = parameters(&random);
    let stats: Vec<AllocatorStats> = (1..=6)
        .map(|step| {
            assert!(train_step(step, &all, &random).is_finite());
            allocator_stats()
        })
        .collect();
    assert!(
        stats[0].system_allocations > 0,
        "the counter counts nothing"
    );
    let warm = stats[1];
    for (i, now) in stats.iter().enumerate().skip(2) {
        let step = i + 1;
        assert_eq!(
            (now.system_allocations, now.reserved_bytes),
            (warm.system_allocations, warm.reserved_bytes),
            "step {step} asked the system for memory"
        );
        assert_eq!(
            now.allocated_bytes, warm.allocated_bytes,
            "step {step} kept memory"
        );
    }
}
