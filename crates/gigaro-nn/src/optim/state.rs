//! Per-parameter state of an optimiser: what lies beside each parameter, and its checkpoint.

use std::collections::BTreeMap;

use gigaro_tensor::{DType, Tensor, no_grad};

use super::ParamGroup;
use crate::{StateDictError, load_in_place};

/// One parameter with its state.
pub(super) struct Slot<'a> {
    pub(super) param: &'a Tensor,
    pub(super) grad: Tensor,
    /// Steps taken, this one included, from 1.
    pub(super) step: u64,
    /// The state tensors, in the order of their names.
    pub(super) state: &'a [Tensor],
    pub(super) group: &'a ParamGroup,
}

/// The groups of an optimiser and, for each parameter, its step count and state tensors.
#[derive(Debug)]
pub(super) struct States {
    pub(super) groups: Vec<ParamGroup>,
    names: &'static [&'static str],
    /// By group, by parameter: the step count, a scalar of i64, then the state tensors.
    entries: Vec<Vec<(u64, Vec<Tensor>)>>,
}

impl States {
    /// State tensors with these names, each like its parameter, all `initial`.
    pub(super) fn new(
        groups: Vec<ParamGroup>,
        names: &'static [&'static str],
        initial: f64,
    ) -> Self {
        let fresh = |p: &Tensor| {
            names
                .iter()
                .map(|_| Tensor::full(p.shape(), initial, p.dtype(), p.device()))
                .collect()
        };
        let entries = groups
            .iter()
            .map(|g| g.params.iter().map(|(_, p)| (0, fresh(p))).collect())
            .collect();
        Self {
            groups,
            names,
            entries,
        }
    }

    /// Counts a step for each parameter that has a gradient and hands it to `f`, without recording.
    pub(super) fn for_each(&mut self, f: impl FnMut(Slot<'_>)) {
        self.count(|_, param| param.grad().is_some());
        no_grad(|| self.slots().map(|(_, slot)| slot).for_each(f));
    }

    /// Counts a step of the parameters that `moves` chooses, by their place among all; their steps, from 1, and their groups.
    pub(super) fn count(
        &mut self,
        moves: impl Fn(usize, &Tensor) -> bool,
    ) -> Vec<(u64, &ParamGroup)> {
        let groups = self.groups.iter().zip(&mut self.entries);
        let all = groups.flat_map(|(group, entries)| {
            let params = group.params.iter().zip(entries);
            params.map(move |((_, param), (step, _))| (group, param, step))
        });
        all.enumerate()
            .filter(|(place, (_, param, _))| moves(*place, param))
            .map(|(_, (group, _, step))| {
                *step += 1;
                (*step, group)
            })
            .collect()
    }

    /// The parameters that have a gradient, and their places among all.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, Slot<'_>)> {
        let groups = self.groups.iter().zip(&self.entries);
        let all = groups.flat_map(|(group, entries)| {
            let params = group.params.iter().zip(entries);
            params.map(move |((_, param), entry)| (group, param, entry))
        });
        all.enumerate()
            .filter_map(|(place, (group, param, (step, state)))| {
                let slot = Slot {
                    param,
                    grad: param.grad()?,
                    step: *step,
                    state,
                    group,
                };
                Some((place, slot))
            })
    }

    fn all(&self) -> impl Iterator<Item = (&str, &(u64, Vec<Tensor>))> {
        let names = self
            .groups
            .iter()
            .flat_map(|g| g.params.iter().map(|(n, _)| n.as_str()));
        names.zip(self.entries.iter().flatten())
    }

    pub(super) fn state_dict(&self) -> BTreeMap<String, Tensor> {
        let mut all = BTreeMap::new();
        for (name, (step, state)) in self.all() {
            all.insert(
                format!("step.{name}"),
                Tensor::from_vec(vec![*step as i64], ()),
            );
            for (kind, tensor) in self.names.iter().zip(state) {
                all.insert(format!("{kind}.{name}"), tensor.clone());
            }
        }
        all
    }

    pub(super) fn load_state_dict(
        &mut self,
        given: &BTreeMap<String, Tensor>,
    ) -> Result<(), StateDictError> {
        // The step counts in the result of state_dict are copies, so they are read back here.
        load_in_place(&self.state_dict(), given)?;
        let names = self
            .groups
            .iter()
            .flat_map(|g| g.params.iter().map(|(n, _)| n));
        for (name, (step, _)) in names.zip(self.entries.iter_mut().flatten()) {
            *step = given[&format!("step.{name}")].to_dtype(DType::I64).item() as u64;
        }
        Ok(())
    }
}

/// The gradient as an optimiser sees it: scaled, in the parameter's dtype, and with `weight_decay`
/// times the parameter added.
pub(super) fn scaled_grad(param: &Tensor, grad: &Tensor, scale: f64, weight_decay: f64) -> Tensor {
    let grad = grad.to_dtype(param.dtype());
    let grad = if scale == 1.0 { grad } else { grad * scale };
    if weight_decay == 0.0 {
        grad
    } else {
        grad + param * weight_decay
    }
}
