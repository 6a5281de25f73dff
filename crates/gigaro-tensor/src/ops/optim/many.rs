//! Norms and steps of many tensors at once: on a card a few launches for all parameters of a model instead of one for each.

use super::{AdamRule, AdamStep, adamw_, cuda, fitting, squared_norm};
use crate::device::cuda::gpu;
use crate::{DType, Device, Tensor};

/// A parameter with its gradient and the state of Adam; see [`adamw_`].
#[derive(Clone, Copy, Debug)]
pub struct AdamSlot<'a> {
    /// What is changed.
    pub param: &'a Tensor,
    /// Its gradient.
    pub grad: &'a Tensor,
    /// The first moment.
    pub exp_avg: &'a Tensor,
    /// The second moment.
    pub exp_avg_sq: &'a Tensor,
}

/// [`adamw_`] on each of the slots, with its own numbers.
///
/// # Panics
/// If there are not as many steps as slots, or as [`adamw_`].
#[track_caller]
pub fn adamw_all_(slots: &[AdamSlot<'_>], steps: &[AdamStep]) {
    assert!(
        slots.len() == steps.len(),
        "adamw_all_: {} steps for {} parameters",
        steps.len(),
        slots.len()
    );
    let Some(device) = common_card(slots.iter().map(|slot| slot.param)) else {
        for (slot, step) in slots.iter().zip(steps) {
            adamw_(slot.param, slot.grad, slot.exp_avg, slot.exp_avg_sq, step);
        }
        return;
    };
    let rules = AdamRules::new(slots.len(), device);
    rules.set(steps);
    adamw_by_rules_(slots, &rules, None);
}

/// The numbers of steps where kernels read them, for work that is [captured](crate::cuda::Graph): they change, the work does not.
#[derive(Debug)]
pub struct AdamRules {
    /// `(slots, 7)`: the fields of [`AdamRule`].
    rules: Tensor,
}

impl AdamRules {
    /// Room for the numbers of at most so many parameters, which [`AdamRules::set`] writes.
    #[must_use]
    pub fn new(slots: usize, device: Device) -> Self {
        let fields = size_of::<AdamRule>() / size_of::<f64>();
        let rules = Tensor::zeros([slots, fields], DType::F64, device);
        Self { rules }
    }

    /// Writes the numbers of the first parameters.
    ///
    /// # Panics
    /// If there is no room for them.
    #[track_caller]
    pub fn set(&self, steps: &[AdamStep]) {
        let rules: Vec<AdamRule> = steps.iter().map(AdamRule::new).collect();
        let bytes = bytemuck::cast_slice(&rules);
        let rules = Tensor::from_bytes(bytes, [rules.len(), self.rules.size(1)], DType::F64);
        self.rules.narrow(0, 0, rules.size(0)).copy_(&rules);
    }
}

/// [`adamw_all_`] on a card, with numbers that lie there. With `clip`, what [`norm_and_clip`] gives, gradients are multiplied by its factor, and nothing
/// changes if their norm is not finite.
///
/// # Panics
/// If not all is on one card, or as [`adamw_`].
#[track_caller]
pub fn adamw_by_rules_(slots: &[AdamSlot<'_>], rules: &AdamRules, clip: Option<&Tensor>) {
    let all = slots
        .iter()
        .flat_map(|s| [s.param, s.grad, s.exp_avg, s.exp_avg_sq])
        .chain([&rules.rules])
        .chain(clip);
    let Some(Device::Cuda(index)) = common_card(all) else {
        panic!("adamw_by_rules_: all tensors must be on one card");
    };
    let gpu = gpu(index);
    let grads: Vec<Tensor> = slots
        .iter()
        .map(|s| {
            aligned(fitting(
                "adamw_",
                s.param,
                s.grad,
                [s.exp_avg, s.exp_avg_sq],
            ))
        })
        .collect();
    let mut first = 0;
    for alike in slots.chunk_by(|a, b| a.param.dtype() == b.param.dtype()) {
        for part in alike.chunks(cuda::TENSORS) {
            let grads = &grads[first..first + part.len()];
            cuda::adamw(gpu, part, grads, (&rules.rules, first), clip);
            first += part.len();
        }
    }
}

/// The norm of all tensors taken as one vector. Sums are in f64; on a card they take one pass, and one wait for the result.
///
/// # Panics
/// If a tensor is not floating-point.
#[must_use]
#[track_caller]
pub fn total_norm(tensors: &[Tensor]) -> f64 {
    match common_card(tensors) {
        Some(_) => norm_and_clip(tensors, f64::INFINITY).narrow(0, 0, 1).item(),
        None => tensors.iter().map(squared_norm).sum::<f64>().sqrt(),
    }
}

/// The norm of all tensors, and the factor that brings it down to `max_norm`: `(2)` in f64, on the card of the tensors. See
/// [`adamw_by_rules_`]; nobody waits for the numbers.
///
/// # Panics
/// If a tensor is not floating-point, or not all are on one card.
#[must_use]
#[track_caller]
pub fn norm_and_clip(tensors: &[Tensor], max_norm: f64) -> Tensor {
    let Some(Device::Cuda(index)) = common_card(tensors) else {
        panic!("norm_and_clip: all tensors must be on one card");
    };
    let tensors: Vec<Tensor> = tensors
        .iter()
        .map(|t| {
            t.check_float("norm_and_clip");
            aligned(t.detach().contiguous())
        })
        .collect();
    cuda::norm_and_clip(gpu(index), &tensors, max_norm)
}

/// The card on which all tensors are.
fn common_card<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Option<Device> {
    let mut devices = tensors.into_iter().map(Tensor::device);
    let first = devices.next().filter(|&device| device != Device::Cpu)?;
    devices.all(|device| device == first).then_some(first)
}

/// The tensor at an address from which kernels can read four elements at once.
fn aligned(x: Tensor) -> Tensor {
    if x.address().is_multiple_of(cuda::ALIGN) {
        x
    } else {
        x.copy()
    }
}
