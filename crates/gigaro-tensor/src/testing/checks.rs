//! The checks. Each panics with the name of the op and what differs.

use super::case::Case;
use crate::cpu::isa;
use crate::cpu::threads;
use crate::{DType, Device, Generator, Tensor, autograd};

/// Largest difference relative to the magnitude of the values, and where it is.
fn difference(actual: &Tensor, expected: &Tensor) -> (f64, usize) {
    let (a, e) = (flat(actual), flat(expected));
    let scale = e
        .iter()
        .filter(|v| v.is_finite())
        .fold(1.0_f64, |m, v| m.max(v.abs()));
    a.iter()
        .zip(&e)
        .map(|(a, e)| {
            if a == e || (a.is_nan() && e.is_nan()) {
                0.0
            } else {
                (a - e).abs() / scale
            }
        })
        .map(|d| if d.is_nan() { f64::INFINITY } else { d })
        .enumerate()
        .fold(
            (0.0, 0),
            |best, (i, d)| if d > best.0 { (d, i) } else { best },
        )
}

fn flat(x: &Tensor) -> Vec<f64> {
    x.detach().to_dtype(DType::F64).to_vec()
}

fn assert_close(what: &str, actual: &Tensor, expected: &Tensor, tolerance: f64) {
    assert!(
        actual.shape() == expected.shape(),
        "{what}: shape {:?}, expected {:?}",
        actual.shape(),
        expected.shape()
    );
    let (worst, at) = difference(actual, expected);
    assert!(
        worst <= tolerance,
        "{what}: element {at} is {} where {} is expected (off by {worst:e}, allowed {tolerance:e})",
        flat(actual)[at],
        flat(expected)[at]
    );
}

fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-12,
        DType::F32 => 2e-6,
        DType::F16 => 4e-3,
        _ => 3e-2,
    }
}

/// Every float dtype on every instruction set agrees with f64 on the portable path, on inputs that
/// the narrow dtype can hold.
pub fn check_dtypes(name: &str, case: &Case) {
    for dtype in [DType::F64, DType::F32, DType::BF16, DType::F16] {
        let narrow: Vec<Tensor> = case.draw().iter().map(|t| t.to_dtype(dtype)).collect();
        let wide: Vec<Tensor> = narrow.iter().map(|t| t.to_dtype(DType::F64)).collect();
        let expected = isa::with_isa(isa::Isa::Portable, || (case.run)(&wide));
        for &set in isa::available() {
            let actual = isa::with_isa(set, || (case.run)(&narrow));
            assert_close(
                &format!("{name} in {dtype} on {set:?}"),
                &actual,
                &expected,
                tolerance(dtype) * case.scale,
            );
        }
    }
}

/// A card agrees with f64 on the processor: values in every float dtype, gradients in f64 and f32, views of every kind; and gives the
/// same bits twice.
pub fn check_device(name: &str, case: &Case, device: Device, with_gradient: bool) {
    for dtype in [DType::F64, DType::F32, DType::BF16, DType::F16] {
        let narrow: Vec<Tensor> = case.draw().iter().map(|t| t.to_dtype(dtype)).collect();
        let wide: Vec<Tensor> = narrow.iter().map(|t| t.to_dtype(DType::F64)).collect();
        let there: Vec<Tensor> = narrow.iter().map(|t| t.to_device(device)).collect();
        let expected = (case.run)(&wide);
        let value = |x: &[Tensor]| (case.run)(x).to_device(Device::Cpu);
        let (actual, again) = (value(&there), value(&there));
        let name = format!("{name} in {dtype} on {device}");
        assert!(
            actual.to_bytes() == again.to_bytes(),
            "{name}: two runs differ"
        );
        // Other functions of one element than the processor's, and other orders of sums.
        let bound = 2.0 * tolerance(dtype) * case.scale;
        assert_close(&name, &actual, &expected, bound);
        if with_gradient && matches!(dtype, DType::F64 | DType::F32) {
            let name = format!("{name}: gradient");
            let slopes = |x: &[Tensor]| {
                let wanted = leaves(x);
                weighted(&(case.run)(&wanted)).backward();
                let grad = |t: &Tensor| t.grad().unwrap_or_else(|| t.zeros_like());
                wanted.iter().map(grad).collect::<Vec<_>>()
            };
            let (actual, again) = (slopes(&there), slopes(&there));
            for ((a, b), e) in actual.iter().zip(&again).zip(slopes(&wide)) {
                assert!(a.to_bytes() == b.to_bytes(), "{name}: two runs differ");
                assert_close(&name, &a.to_device(Device::Cpu), &e, 10.0 * bound);
            }
        }
    }
    check_layouts_on(name, case, device);
}

/// A random direction for each input.
fn directions(inputs: &[Tensor]) -> Vec<Tensor> {
    let generator = Generator::new(77);
    inputs
        .iter()
        .map(|t| Tensor::randn(t.shape(), DType::F64, Device::Cpu, &generator))
        .collect()
}

fn moved(inputs: &[Tensor], directions: &[Tensor], h: f64) -> Vec<Tensor> {
    inputs
        .iter()
        .zip(directions)
        .map(|(x, d)| x.detach() + d * h)
        .collect()
}

fn dot(a: &[Tensor], b: &[Tensor]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a.detach() * b).sum_all().item())
        .sum()
}

/// The scalar that gradients are taken of: the output weighted by fixed random numbers.
fn weighted(output: &Tensor) -> Tensor {
    let weights = Tensor::randn(
        output.shape(),
        DType::F64,
        output.device(),
        &Generator::new(9),
    );
    (output * weights).sum_all()
}

fn leaves(inputs: &[Tensor]) -> Vec<Tensor> {
    inputs.iter().map(|t| t.requires_grad_(true)).collect()
}

fn gradients(
    f: &dyn Fn(&[Tensor]) -> Tensor,
    inputs: &[Tensor],
    create_graph: bool,
) -> Vec<Tensor> {
    let refs: Vec<&Tensor> = inputs.iter().collect();
    autograd::grad(&[&f(inputs)], &refs, create_graph)
}

/// Compares a derivative along a direction with the central difference.
fn assert_slope(what: &str, analytic: f64, f: impl Fn(f64) -> f64) {
    let h = 1e-5;
    let numeric = (f(h) - f(-h)) / (2.0 * h);
    let scale = analytic.abs().max(numeric.abs()).max(1.0);
    assert!(
        (analytic - numeric).abs() <= 2e-6 * scale,
        "{what}: slope {analytic}, by differences {numeric}"
    );
}

/// The gradient along a random direction equals the difference quotient, in f64, once through
/// `backward` (kernels) and once through `autograd::grad` with a graph (composites).
pub fn check_gradient(name: &str, case: &Case) {
    let inputs = case.draw();
    let along = directions(&inputs);
    let value = |h: f64| weighted(&(case.run)(&moved(&inputs, &along, h))).item();
    let wanted = leaves(&inputs);
    weighted(&(case.run)(&wanted)).backward();
    let collected: Vec<Tensor> = wanted
        .iter()
        .map(|t| t.grad().unwrap_or_else(|| t.zeros_like()))
        .collect();
    assert_slope(&format!("{name}: gradient"), dot(&collected, &along), value);
    let recorded = gradients(&|x| weighted(&(case.run)(x)), &leaves(&inputs), true);
    for (a, b) in collected.iter().zip(&recorded) {
        assert_close(
            &format!("{name}: gradient of the composite"),
            b,
            a,
            1e-10 * case.scale,
        );
    }
}

/// The second derivative along a random direction equals the difference quotient of the first.
pub fn check_second_gradient(name: &str, case: &Case) {
    let inputs = case.draw();
    let (along, across) = (
        directions(&inputs),
        directions(&inputs)
            .iter()
            .map(Tensor::sin)
            .collect::<Vec<_>>(),
    );
    // The slope of the output's square, so that linear ops have a second derivative too.
    let slope = |x: &[Tensor], create_graph: bool| {
        let grads = gradients(&|x| weighted(&(case.run)(x).square()), x, create_graph);
        let terms: Vec<Tensor> = grads
            .iter()
            .zip(&across)
            .map(|(g, d)| (g * d).sum_all())
            .collect();
        terms
            .iter()
            .skip(1)
            .fold(terms[0].clone(), |sum, t| sum + t)
    };
    let wanted = leaves(&inputs);
    let first = slope(&wanted, true);
    if !first.requires_grad() {
        return;
    }
    let refs: Vec<&Tensor> = wanted.iter().collect();
    let second = autograd::grad(&[&first], &refs, false);
    let value = |h: f64| slope(&leaves(&moved(&inputs, &along, h)), false).item();
    assert_slope(
        &format!("{name}: second derivative"),
        dot(&second, &along),
        value,
    );
}

/// The same numbers in other layouts: transposed storage, an offset into a larger tensor, every
/// second element of a longer dim, and (for constant inputs) a single element expanded.
pub fn check_layouts(name: &str, case: &Case) {
    check_layouts_on(name, case, Device::Cpu);
}

fn check_layouts_on(name: &str, case: &Case, device: Device) {
    type Layout = (&'static str, fn(&Tensor) -> Tensor);
    let inputs: Vec<Tensor> = case.draw().iter().map(|x| x.to_device(device)).collect();
    let expected = (case.run)(&inputs);
    let layouts: [Layout; 4] = [
        ("transposed", |x| {
            if x.ndim() < 2 {
                x.clone()
            } else {
                x.transpose(0, -1).copy().transpose(0, -1)
            }
        }),
        ("offset", |x| {
            if x.ndim() == 0 {
                x.clone()
            } else {
                x.pad(&[(3, 2)], 9.0).narrow(-1, 3, x.size(-1))
            }
        }),
        ("stepped", |x| {
            Tensor::stack(&[x, &x.ones_like()], -1).select(-1, 0)
        }),
        ("offset rows", |x| {
            if x.ndim() < 2 {
                x.clone()
            } else {
                Tensor::cat(&[x, x], 0).narrow(0, x.shape()[0], x.shape()[0])
            }
        }),
    ];
    for (layout, f) in layouts {
        let views: Vec<Tensor> = inputs.iter().map(f).collect();
        assert_close(
            &format!("{name}, {layout} inputs"),
            &(case.run)(&views),
            &expected,
            1e-12 * case.scale,
        );
        let expected_grads = gradients_or_none(case, &inputs);
        if let (Some(e), Some(a)) = (expected_grads, gradients_or_none(case, &views)) {
            for (a, e) in a.iter().zip(&e) {
                assert_close(
                    &format!("{name}, gradient with {layout} inputs"),
                    a,
                    e,
                    1e-10 * case.scale,
                );
            }
        }
    }
    let expanded: Vec<Tensor> = inputs
        .iter()
        .map(|x| Tensor::full((), 0.75, DType::F64, device).expand(x.shape()))
        .collect();
    let plain: Vec<Tensor> = expanded.iter().map(Tensor::copy).collect();
    assert_close(
        &format!("{name}, expanded inputs"),
        &(case.run)(&expanded),
        &(case.run)(&plain),
        1e-12 * case.scale,
    );
}

fn gradients_or_none(case: &Case, inputs: &[Tensor]) -> Option<Vec<Tensor>> {
    let wanted = leaves(inputs);
    let output = (case.run)(&wanted);
    output.requires_grad().then(|| {
        let refs: Vec<&Tensor> = wanted.iter().collect();
        autograd::grad(&[&weighted(&output)], &refs, false)
    })
}

/// A fused kernel agrees with its composite in f32, forward and backward.
pub fn check_composite(name: &str, case: &Case) {
    let Some(composite) = &case.composite else {
        return;
    };
    let inputs: Vec<Tensor> = case.draw().iter().map(|t| t.to_dtype(DType::F32)).collect();
    let (a, b) = (leaves(&inputs), leaves(&inputs));
    let (fused, plain) = ((case.run)(&a), composite(&b));
    assert_close(
        &format!("{name}: fused value"),
        &fused,
        &plain,
        1e-5 * case.scale,
    );
    fused.square().sum_all().backward();
    plain.square().sum_all().backward();
    for (a, b) in a.iter().zip(&b) {
        let (Some(a), Some(b)) = (a.grad(), b.grad()) else {
            continue;
        };
        assert_close(
            &format!("{name}: fused gradient"),
            &a,
            &b,
            1e-5 * case.scale,
        );
    }
}

/// One thread and several give the same bits, forward and backward.
pub fn check_threads(name: &str, case: &Case) {
    let inputs: Vec<Tensor> = case.draw().iter().map(|t| t.to_dtype(DType::F32)).collect();
    let run = || {
        let wanted = leaves(&inputs);
        let output = (case.run)(&wanted);
        let mut bytes = vec![output.to_bytes()];
        if output.requires_grad() {
            output.square().sum_all().backward();
            bytes.extend(wanted.iter().filter_map(Tensor::grad).map(|g| g.to_bytes()));
        }
        bytes
    };
    let before = threads::num_threads();
    threads::set_num_threads(1);
    let one = run();
    threads::set_num_threads(before.max(3));
    let several = run();
    threads::set_num_threads(before);
    assert!(
        one == several,
        "{name}: the number of threads changed the result"
    );
}
