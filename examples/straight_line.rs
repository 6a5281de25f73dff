//! The engine alone: a straight line through noisy points, by gradient descent.
//!
//! Shows tensors, a gradient and a step by hand. A model with layers and an optimiser is in `tiny_gpt.rs`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use gigaro::tensor::{DType, Device, Generator, Tensor, no_grad};

fn main() {
    let generator = Generator::new(1);
    // Points on y = 3 x - 1, a little off.
    let x = Tensor::rand([64], DType::F32, Device::Cpu, &generator);
    let noise = Tensor::randn([64], DType::F32, Device::Cpu, &generator) * 0.05;
    let y = &x * 3.0 - 1.0 + noise;

    let slope = Tensor::zeros((), DType::F32, Device::Cpu).requires_grad_(true);
    let offset = Tensor::zeros((), DType::F32, Device::Cpu).requires_grad_(true);
    for step in 0..=400 {
        let loss = (&x * &slope + &offset - &y).square().mean_all();
        loss.backward();
        if step % 100 == 0 {
            println!("step {step:3}  loss {:.5}", loss.item());
        }
        no_grad(|| {
            for parameter in [&slope, &offset] {
                let gradient = parameter.grad().expect("the loss depends on it");
                parameter.add_(&(gradient * -0.5));
                parameter.zero_grad();
            }
        });
    }
    println!("y = {:.2} x + {:.2}", slope.item(), offset.item());
}
