//! Every op of the registry on a card: an emulated one, from the text of its kernels, or with `GIGARO_TEST_DEVICE=cuda` a real one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gigaro_tensor::testing::{
    CPU_ONLY, Gradient, check_device, for_every_case, panic_text, registry,
};
use gigaro_tensor::{
    DType, Device, Generator, PagedCache, Part, Tensor, autocast, catch_failure, cuda, functional,
    optim,
};

fn card() -> Device {
    cuda::open_for_tests().expect("a card")
}

/// What the panic of `f` says.
fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => "no panic".to_owned(),
        Err(payload) => panic_text(&*payload),
    }
}

/// Every fourth op, so that tests run beside each other.
fn check_ops(part: usize) {
    let device = card();
    let mut ops = registry();
    ops.retain(|op| CPU_ONLY.iter().all(|(name, _)| *name != op.name));
    for_every_case(ops.iter().skip(part).step_by(4), |op, name, case| {
        check_device(name, case, device, op.gradient == Gradient::Yes);
    });
}

#[test]
fn every_op_agrees_with_the_processor_first_quarter() {
    check_ops(0);
}

#[test]
fn every_op_agrees_with_the_processor_second_quarter() {
    check_ops(1);
}

#[test]
fn every_op_agrees_with_the_processor_third_quarter() {
    check_ops(2);
}

#[test]
fn every_op_agrees_with_the_processor_last_quarter() {
    check_ops(3);
}

#[test]
fn ops_that_multiply_agree_where_a_library_does_it() {
    // An emulated one on every machine: on a card the tests above go through the real one.
    let device = cuda::open_emulated_with_library(904).expect("an emulated card");
    let mut ops = registry();
    ops.retain(|op| {
        ["matmul", "linear", "feed_forward", "linear_cross_entropy"].contains(&op.name)
    });
    assert_eq!(ops.len(), 4);
    for_every_case(ops.iter(), |op, name, case| {
        check_device(name, case, device, op.gradient == Gradient::Yes);
    });
}

#[test]
fn ops_without_kernels_for_cards_are_in_the_registry_with_a_reason() {
    let names: Vec<&str> = registry().iter().map(|op| op.name).collect();
    for (name, reason) in CPU_ONLY {
        assert!(
            names.contains(&name) && reason.len() > 10,
            "{name}: {reason}"
        );
    }
}

#[test]
fn what_goes_there_comes_back() {
    let device = card();
    let x = Tensor::randn([3, 5], DType::F32, Device::Cpu, &Generator::new(1));
    let there = x.t().to_device(device);
    assert_eq!((there.device(), there.shape()), (device, &[5, 3][..]));
    assert_eq!(there.to_vec::<f32>(), x.t().to_vec::<f32>());
    // The very numbers of the processor, whatever draws them.
    let drawn = Tensor::randn([3, 5], DType::F32, device, &Generator::new(1));
    assert_eq!(drawn.to_bytes(), x.to_bytes());
    for dtype in [DType::F64, DType::F32, DType::BF16, DType::I64, DType::U8] {
        let numbers = |device| Tensor::arange(0.1, 30.0, 0.7, dtype, device).to_bytes();
        assert_eq!(numbers(device), numbers(Device::Cpu), "{dtype}");
    }
    let mask = |x: &Tensor| functional::dropout(x, 0.4, &Generator::new(2)).to_bytes();
    assert_eq!(mask(&x.to_device(device)), mask(&x));
}

#[test]
fn a_gradient_finds_its_way_back() {
    let x = Tensor::from_slice(&[1.0_f32, 2.0], [2]).requires_grad_(true);
    (x.to_device(card()) * 3.0).sum_all().backward();
    let grad = x.grad().expect("a gradient");
    assert_eq!(
        (grad.device(), grad.to_vec::<f32>()),
        (Device::Cpu, vec![3.0, 3.0])
    );
}

#[test]
fn changes_in_place_reach_views_and_nothing_else() {
    let device = card();
    for (dtype, range) in [(DType::F32, 6.0), (DType::I64, 6.0), (DType::BF16, 6.0)] {
        let change = |device: Device| {
            let x = Tensor::arange(0.0, range, 1.0, dtype, device).reshape([2, 3]);
            x.t()
                .narrow(0, 1, 2)
                .add_(&Tensor::full([2, 2], 10.0, DType::F32, device));
            x.select(1, 0).mul_(2.0);
            x.narrow(1, 2, 1)
                .copy_(&Tensor::full((), 7.0, DType::F64, Device::Cpu));
            x.to_bytes()
        };
        assert_eq!(change(device), change(Device::Cpu), "{dtype}");
    }
}

#[test]
fn an_index_out_of_range_is_named_when_results_are_read() {
    // Whoever reads next is told, so where tests run beside each other it has an emulated card of its own.
    let device = match card() {
        Device::Cuda(900) => cuda::open_emulated(905).expect("an emulated card"),
        real => real,
    };
    let weight = Tensor::zeros([4, 2], DType::F32, device);
    let ids = |last: i64| Tensor::from_slice(&[0, last], [2]).to_device(device);
    let said = panic_of(|| functional::embedding(&ids(4), &weight).to_vec::<f32>());
    assert!(
        said.starts_with("index_select: index 4 is out of range for 4 entries"),
        "{said}"
    );
    // Whoever goes on is not told again.
    assert_eq!(
        functional::embedding(&ids(3), &weight).to_vec::<f32>(),
        [0.0; 4]
    );
    let target = Tensor::from_slice(&[9_i64], [1]).to_device(device);
    let logits = |t: &Tensor| {
        functional::linear_cross_entropy(&weight.narrow(0, 0, 1), &weight, t, -100, None).item()
    };
    let said = panic_of(|| logits(&target));
    assert!(
        said.starts_with("linear_cross_entropy: index 9 is out of range for 4"),
        "{said}"
    );
}

#[test]
fn misuse_is_said_in_a_sentence() {
    let device = card();
    let (here, there) = (
        Tensor::zeros([2], DType::F32, Device::Cpu),
        Tensor::zeros([2], DType::F32, device),
    );
    assert_eq!(
        panic_of(|| &here + &there),
        format!("add: one operand is on cpu, another on {device}; move one with to_device")
    );
    assert_eq!(
        panic_of(|| here.to_device(Device::Cuda(999))),
        "cuda:999 is not open; call cuda::open(999) first"
    );
}

#[test]
fn memory_that_is_full_is_a_sentence_and_what_is_free_is_used_again() {
    // One of its own, so that no other test takes memory there.
    let device = cuda::open_emulated_of(901, 16 << 20).expect("an emulated card");
    let zeros = |mib: usize| Tensor::zeros([mib << 18], DType::F32, device);
    let held = zeros(4);
    let failure = catch_failure(|| drop(zeros(20))).expect_err("20 MiB of 16");
    let sentence = failure.to_string();
    let expected = "cuda:901: `zeros` needs 20.0 MiB and 4.0 MiB of 16.0 MiB are in use by tensors";
    assert!(sentence.starts_with(expected), "{sentence}");
    drop(zeros(3));
    let before = cuda::memory_stats(901).expect("open");
    drop(zeros(3));
    assert_eq!(cuda::memory_stats(901).expect("open"), before);
    // What is kept is given back before a tensor is refused.
    let large = zeros(11);
    let first = |x: &Tensor| x.narrow(0, 0, 1).item();
    assert_eq!((first(&held), first(&large)), (0.0, 0.0));
}

#[test]
fn muon_finds_the_same_direction() {
    let x = Tensor::randn([9, 5], DType::F32, Device::Cpu, &Generator::new(4));
    let direction = |x: &Tensor| optim::newton_schulz(x, 5).to_vec::<f32>();
    let (here, there) = (direction(&x), direction(&x.to_device(card())));
    let worst = here
        .iter()
        .zip(&there)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
}

/// Output and gradients of attention under bf16, on a device, from the same numbers.
fn attended(
    device: Device,
    dtype: DType,
    [h, kv, t, s, d]: [usize; 5],
    causal: bool,
    masked: bool,
) -> Vec<Vec<f64>> {
    let random = Generator::new(6);
    let draw = |h: usize, n: usize| {
        let x = Tensor::randn([2, n, h, d], DType::F32, Device::Cpu, &random);
        x.to_device(device).to_dtype(dtype).requires_grad_(true)
    };
    let (q, k, v) = (draw(h, t), draw(kv, s), draw(kv, s));
    let mask = masked.then(|| {
        let x = Tensor::randn([1, h, t, s], DType::F32, Device::Cpu, &random);
        x.masked_fill(
            &x.gt(&Tensor::full((), 1.0, DType::F32, Device::Cpu)),
            f64::NEG_INFINITY,
        )
        .to_device(device)
    });
    let heads = |x: &Tensor| x.transpose(1, 2);
    let y = functional::scaled_dot_product_attention(
        &heads(&q),
        &heads(&k),
        &heads(&v),
        mask.as_ref(),
        causal,
        None,
    );
    let weights =
        Tensor::randn(y.shape(), DType::F32, Device::Cpu, &Generator::new(8)).to_device(device);
    (&y * weights.to_dtype(dtype)).sum_all().backward();
    let wide = |x: &Tensor| x.detach().to_dtype(DType::F64).to_vec::<f64>();
    let mut all = vec![wide(&y)];
    all.extend(
        [q, k, v]
            .iter()
            .map(|x| wide(&x.grad().expect("a gradient"))),
    );
    all
}

#[test]
fn attention_on_tensor_cores_agrees_within_bf16() {
    let device = card();
    let cases = [
        ([2, 2, 70, 70, 64], true, false),
        ([4, 2, 33, 33, 20], true, false),
        ([2, 1, 3, 130, 128], true, false),
        ([2, 2, 65, 40, 32], false, true),
        // The first queries see nothing.
        ([1, 1, 90, 40, 16], true, false),
    ];
    for (dims, causal, masked) in cases {
        let expected = attended(Device::Cpu, DType::F64, dims, causal, masked);
        for dtype in [DType::F32, DType::BF16] {
            let run = || {
                autocast(DType::BF16, || {
                    attended(device, dtype, dims, causal, masked)
                })
            };
            let actual = run();
            assert_eq!(actual, run(), "{dims:?}: two runs differ");
            for (part, (a, e)) in ["output", "dq", "dk", "dv"]
                .iter()
                .zip(actual.iter().zip(&expected))
            {
                let worst = furthest(a, e);
                assert!(worst < 2e-2, "{part} of {dims:?} in {dtype}: {worst}");
            }
        }
    }
}

/// The largest difference, as a share of the largest number, or of 1.
fn furthest(a: &[f64], e: &[f64]) -> f64 {
    let scale = e.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
    let differences = a.iter().zip(e).map(|(a, e)| (a - e).abs() / scale);
    differences.fold(0.0, f64::max)
}

/// Output and gradients of a norm, a product and a sum with what they began from, as the inside of a network has them.
fn inside(device: Device, dtype: DType, rms: bool) -> Vec<Vec<f64>> {
    let random = Generator::new(9);
    let draw = |shape: &[usize]| {
        let x = Tensor::randn(shape, DType::F32, Device::Cpu, &random);
        x.to_device(device).to_dtype(dtype).requires_grad_(true)
    };
    let (x, gain, shift) = (draw(&[3, 5, 24]), draw(&[24]), draw(&[24]));
    let (weight, bias) = (draw(&[24, 24]), draw(&[24]));
    let to = functional::autocast_output(&x);
    let normal = if rms {
        functional::rms_norm_to(&x, Some(&gain), 1e-5, to)
    } else {
        functional::layer_norm_to(&x, &gain, Some(&shift), 1e-5, to)
    };
    let product = functional::linear_to(&normal, &weight, Some(&bias), to);
    if device != Device::Cpu {
        assert_eq!([normal.dtype(), product.dtype()], [DType::BF16; 2]);
    }
    let [wide, wide_bias] = [draw(&[40, 24]), draw(&[40])];
    let [narrow, narrow_bias] = [draw(&[24, 40]), draw(&[24])];
    let (up, down) = ((&wide, Some(&wide_bias)), (&narrow, Some(&narrow_bias)));
    let y = &x + functional::feed_forward(&product, up, down, to);
    assert_eq!(y.dtype(), dtype);
    (&y * &y).sum_all().backward();
    let numbers = |x: &Tensor| x.detach().to_dtype(DType::F64).to_vec::<f64>();
    let mut all = vec![numbers(&y)];
    let leaves = [x, gain, weight, bias, wide, wide_bias, narrow, narrow_bias];
    all.extend(leaves.iter().map(|x| {
        let grad = x.grad().expect("a gradient");
        assert_eq!(grad.dtype(), dtype);
        numbers(&grad)
    }));
    all
}

#[test]
fn a_few_rows_are_multiplied_by_weights_as_they_are() {
    let device = card();
    let random = Generator::new(12);
    let draw = |shape: [usize; 2]| Tensor::randn(shape, DType::F32, Device::Cpu, &random);
    for (rows, k) in [(1, 4), (2, 768), (3, 132), (4, 256), (4, 30)] {
        let (x, weight) = (draw([rows, k]), draw([50, k]));
        let bias = draw([1, 50]).reshape([50]);
        for (of_x, of_weight) in [
            (DType::F32, DType::F32),
            (DType::F32, DType::BF16),
            (DType::BF16, DType::BF16),
        ] {
            let there = |t: &Tensor, dtype| t.to_device(device).to_dtype(dtype);
            let [x_there, w_there, b_there] = [
                there(&x, of_x),
                there(&weight, of_weight),
                there(&bias, of_weight),
            ];
            let here = |t: &Tensor| t.to_device(Device::Cpu).to_dtype(DType::F64);
            let expected =
                functional::linear(&here(&x_there), &here(&w_there), Some(&here(&b_there)));
            for (to, allowed) in [(DType::F32, 1e-5), (DType::BF16, 1e-2)] {
                let y = functional::linear_to(&x_there, &w_there, Some(&b_there), to);
                assert_eq!(y.dtype(), to);
                let worst = furthest(&here(&y).to_vec(), &expected.to_vec());
                assert!(
                    worst < allowed,
                    "{rows} {k} {of_x} {of_weight} {to}: {worst}"
                );
            }
        }
    }
}

#[test]
fn the_inside_of_a_network_is_kept_in_bf16_under_autocast() {
    let library = cuda::open_emulated_with_library(904).expect("an emulated card");
    for (rms, device) in [(false, card()), (true, card()), (false, library)] {
        let expected = inside(Device::Cpu, DType::F64, rms);
        let actual = autocast(DType::BF16, || inside(device, DType::F32, rms));
        for (i, (a, e)) in actual.iter().zip(&expected).enumerate() {
            let worst = furthest(a, e);
            assert!(worst < 2e-2, "{i}, rms {rms}: {worst}");
        }
    }
}

/// What attention over pages gives for two texts that share their beginning, in several calls.
fn written_in_pages(device: Device, dtype: DType) -> Vec<Vec<f32>> {
    let (h, h_kv, d) = (4, 2, 24);
    let random = Generator::new(3);
    let mut cache = PagedCache::new([2, h_kv, d], 3, 300).on(device);
    let mut found = Vec::new();
    let mut call = |cache: &mut PagedCache, texts: &[(usize, usize)]| {
        let mut at = 0;
        let parts: Vec<Part> = texts
            .iter()
            .map(|&(text, tokens)| {
                at += tokens;
                Part {
                    text,
                    at: at - tokens,
                    tokens,
                }
            })
            .collect();
        let draw = |heads: usize| {
            Tensor::randn([1, at, heads, d], DType::F32, Device::Cpu, &random).to_device(device)
        };
        cache.reserve(&parts);
        for layer in 0..2 {
            let (q, k, v) = (draw(h), draw(h_kv), draw(h_kv));
            cache.write(layer, &parts, &k, &v);
            found.push(cache.attend(layer, &parts, &q).to_vec::<f32>());
        }
        cache.advance(&parts);
    };
    autocast(dtype, || {
        call(&mut cache, &[(0, 140)]);
        cache.copy_prefix(0, 1, 135);
        call(&mut cache, &[(1, 3), (0, 1)]);
        call(&mut cache, &[(0, 2), (2, 130), (1, 1)]);
        cache.truncate(2, 0);
        call(&mut cache, &[(2, 4)]);
    });
    found
}

#[test]
fn pages_on_a_card_are_read_as_in_main_memory() {
    for (dtype, allowed) in [(DType::F32, 1e-5), (DType::BF16, 2e-2)] {
        let here = written_in_pages(Device::Cpu, DType::F32);
        let there = written_in_pages(card(), dtype);
        for (a, b) in here.iter().zip(&there) {
            assert_eq!(a.len(), b.len());
            let worst = a
                .iter()
                .zip(b)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < allowed, "{dtype}: {worst}");
        }
    }
}
