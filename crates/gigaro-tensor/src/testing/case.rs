//! What an op is tested on.

use crate::{DType, Device, Generator, Shape, Tensor};

/// An input to be drawn at random.
#[derive(Clone, Debug)]
pub struct Input {
    shape: Shape,
    range: Option<(f64, f64)>,
}

impl Input {
    /// Standard normal.
    #[must_use]
    pub fn normal(shape: impl Into<Shape>) -> Self {
        Self {
            shape: shape.into(),
            range: None,
        }
    }

    /// Uniform on `low..high`.
    #[must_use]
    pub fn between(low: f64, high: f64, shape: impl Into<Shape>) -> Self {
        Self {
            shape: shape.into(),
            range: Some((low, high)),
        }
    }

    /// The input in f64.
    #[must_use]
    pub fn draw(&self, generator: &Generator) -> Tensor {
        match self.range {
            None => Tensor::randn(&self.shape, DType::F64, Device::Cpu, generator),
            Some((low, high)) => {
                Tensor::rand(&self.shape, DType::F64, Device::Cpu, generator) * (high - low) + low
            }
        }
    }
}

type Run = Box<dyn Fn(&[Tensor]) -> Tensor + Send + Sync>;

/// One call of an op.
pub struct Case {
    /// What to draw.
    pub inputs: Vec<Input>,
    /// The call.
    pub run: Run,
    /// The same function in terms of other ops, for fused kernels that do not carry it themselves.
    pub composite: Option<Run>,
    /// Factor on the tolerance: how many terms the op sums.
    pub scale: f64,
}

impl Case {
    /// A call with inputs to be drawn.
    pub fn new(
        inputs: Vec<Input>,
        run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
    ) -> Self {
        Self {
            inputs,
            run: Box::new(run),
            composite: None,
            scale: 1.0,
        }
    }

    /// With a wider tolerance.
    #[must_use]
    pub fn scaled(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// With a composite to agree with.
    #[must_use]
    pub fn composite(mut self, run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static) -> Self {
        self.composite = Some(Box::new(run));
        self
    }

    /// The inputs in f64, the same at every call.
    #[must_use]
    pub fn draw(&self) -> Vec<Tensor> {
        let generator = Generator::new(42);
        self.inputs.iter().map(|i| i.draw(&generator)).collect()
    }
}
