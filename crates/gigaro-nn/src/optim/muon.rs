//! Muon: momentum whose direction is made orthogonal, for the matrices inside a network.

use std::collections::BTreeMap;

use gigaro_tensor::optim::newton_schulz;
use gigaro_tensor::{DType, Tensor, no_grad};

use super::state::{Slot, States};
use super::{AdamOptions, AdamW, Optimizer, ParamGroup, Repeatable};
use crate::StateDictError;

/// How long the step of a matrix of a given shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuonScale {
    /// `sqrt(max(1, rows / columns))`, as first published; learning rates are about 0.02.
    Original,
    /// `0.2 sqrt(max(rows, columns))`: as large as AdamW's steps, so its learning rates fit.
    MatchRmsAdamw,
}

/// Settings of [`Muon`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonOptions {
    /// Share of the last direction that is kept.
    pub momentum: f64,
    /// Looks one step of momentum ahead.
    pub nesterov: bool,
    /// Newton-Schulz iterations.
    pub ns_steps: usize,
    /// Length of the step.
    pub scale: MuonScale,
    /// For the parameters that are not matrices.
    pub adam: AdamOptions,
}

impl Default for MuonOptions {
    /// 0.95 with Nesterov, five iterations, original scale, and AdamW with betas 0.9 and 0.95.
    fn default() -> Self {
        Self {
            momentum: 0.95,
            nesterov: true,
            ns_steps: 5,
            scale: MuonScale::Original,
            adam: AdamOptions {
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-10,
            },
        }
    }
}

/// Muon for the hidden matrices, AdamW for embeddings, the head, gains and biases. Both take the
/// learning rate of the step times the `lr_scale` of their groups; weight decay is decoupled.
///
/// # Reference
/// Jordan et al. (2024), <https://kellerjordan.github.io/posts/muon>
#[derive(Debug)]
pub struct Muon {
    options: MuonOptions,
    matrices: States,
    rest: AdamW,
    captured: Option<Captured>,
}

/// What a step that a card repeats needs of the processor.
#[derive(Debug)]
struct Captured {
    /// Where the card reads the [numbers](Numbers) of each matrix: `(matrices, 2)`.
    numbers: Tensor,
    /// The matrices that it changes, by their place among all, ascending, and the [length](Muon::length) of their steps.
    moving: Vec<(usize, f64)>,
}

/// The numbers of a matrix's step, each a tensor of one element, so that a card may read them where they lie.
struct Numbers {
    /// The gradient's factor.
    grad: Tensor,
    /// What is left of the matrix: 1 less what decay takes.
    keep: Tensor,
    /// How much of the direction is added: the negative learning rate times the length.
    rate: Tensor,
}

impl Muon {
    /// Muon on `matrices`, AdamW on `rest`.
    ///
    /// # Panics
    /// If one of `matrices` has not two dims.
    #[must_use]
    #[track_caller]
    pub fn new(matrices: Vec<ParamGroup>, rest: Vec<ParamGroup>, options: MuonOptions) -> Self {
        for (name, p) in matrices.iter().flat_map(|g| &g.params) {
            assert!(
                p.ndim() == 2,
                "Muon: `{name}` of shape {:?} is no matrix; put it with the rest",
                p.shape()
            );
        }
        let rest = AdamW::new(rest, options.adam);
        Self {
            options,
            matrices: States::new(matrices, &["momentum_buffer"], 0.0),
            rest,
            captured: None,
        }
    }

    /// How long a step of a matrix is at a learning rate of 1.
    fn length(&self, param: &Tensor) -> f64 {
        let (rows, columns) = (param.size(0) as f64, param.size(1) as f64);
        match self.options.scale {
            MuonScale::Original => (rows / columns).max(1.0).sqrt(),
            MuonScale::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
        }
    }

    /// What the buffer and the matrix become.
    fn moved(options: &MuonOptions, s: &Slot<'_>, numbers: &Numbers) -> [Tensor; 2] {
        let momentum = options.momentum;
        let grad = s.grad.to_dtype(s.param.dtype()) * &numbers.grad;
        let buffer = &s.state[0] * momentum + &grad * (1.0 - momentum);
        let direction = if options.nesterov {
            grad * (1.0 - momentum) + &buffer * momentum
        } else {
            buffer.clone()
        };
        let update = newton_schulz(&direction, options.ns_steps) * &numbers.rate;
        [buffer, s.param * &numbers.keep + update]
    }
}

/// The learning rate and decay of a matrix's group: what is left of it, and how much of a direction of `length` is added.
fn keep_and_rate(lr: f64, length: f64, group: &ParamGroup) -> [f64; 2] {
    let lr = lr * group.lr_scale;
    [1.0 - lr * group.weight_decay, -(lr * length)]
}

impl Repeatable for Muon {
    fn capture(&mut self, clip: Option<&Tensor>) {
        let options = self.options;
        let slots: Vec<_> = self.matrices.slots().collect();
        let moving = slots.iter().map(|(i, s)| (*i, self.length(s.param)));
        let moving = moving.collect();
        if let Some(captured) = &mut self.captured {
            captured.moving = moving;
            no_grad(|| {
                for (row, (_, slot)) in slots.iter().enumerate() {
                    change_on_card(&options, slot, &captured.numbers.narrow(0, row, 1), clip);
                }
            });
        }
        self.rest.capture(clip);
    }

    fn prepare(&mut self, lr: f64) {
        let captured = self.captured.take();
        let captured = captured.expect("Muon: capture comes before prepare");
        let moving = &captured.moving;
        let place = |place: usize| moving.binary_search_by_key(&place, |(p, _)| *p);
        let counted = self.matrices.count(|p, _| place(p).is_ok());
        let steps = counted.iter().zip(moving);
        let numbers: Vec<f32> = steps
            .flat_map(|((_, group), (_, length))| keep_and_rate(lr, *length, group))
            .map(|number| number as f32)
            .collect();
        let numbers = Tensor::from_vec(numbers, [moving.len(), 2]);
        captured.numbers.narrow(0, 0, moving.len()).copy_(&numbers);
        self.captured = Some(captured);
        self.rest.prepare(lr);
    }
}

/// A step whose numbers lie on the card; it changes nothing if the gradient's norm is not finite.
fn change_on_card(options: &MuonOptions, s: &Slot<'_>, row: &Tensor, clip: Option<&Tensor>) {
    let dtype = s.param.dtype();
    let factor = |clip: &Tensor| clip.narrow(0, 1, 1).to_dtype(dtype);
    let one = || Tensor::ones([1], dtype, s.param.device());
    let number = |i: usize| row.narrow(1, i, 1).reshape([1]).to_dtype(dtype);
    let numbers = Numbers {
        grad: clip.map_or_else(one, factor),
        keep: number(0),
        rate: number(1),
    };
    let old = [&s.state[0], s.param];
    for (old, new) in old.iter().zip(Muon::moved(options, s, &numbers)) {
        match clip {
            None => old.copy_(&new),
            Some(clip) => {
                let finite = clip.narrow(0, 0, 1).is_finite();
                old.copy_(&Tensor::where_(&finite, &new, old));
            }
        }
    }
}

impl Optimizer for Muon {
    fn step(&mut self, lr: f64, grad_scale: f64) {
        let options = self.options;
        self.matrices.count(|_, param| param.grad().is_some());
        no_grad(|| {
            for (_, s) in self.matrices.slots() {
                let number = |x: f64| Tensor::full([1], x, s.param.dtype(), s.param.device());
                let [keep, rate] = keep_and_rate(lr, self.length(s.param), s.group);
                let numbers = Numbers {
                    grad: number(grad_scale),
                    keep: number(keep),
                    rate: number(rate),
                };
                let [buffer, param] = Self::moved(&options, &s, &numbers);
                s.state[0].copy_(&buffer);
                s.param.copy_(&param);
            }
        });
        self.rest.step(lr, grad_scale);
    }

    fn repeatable(&mut self) -> Option<&mut dyn Repeatable> {
        let matrices: Vec<_> = self
            .matrices
            .groups
            .iter()
            .flat_map(|g| &g.params)
            .collect();
        let device = matrices.first().map(|(_, p)| p.device())?;
        self.rest.repeatable()?;
        // Its room must be there before work is captured.
        let room = || Tensor::zeros([matrices.len(), 2], DType::F32, device);
        self.captured.get_or_insert_with(|| Captured {
            numbers: room(),
            moving: Vec::new(),
        });
        Some(self)
    }

    fn groups(&self) -> Vec<&ParamGroup> {
        self.matrices
            .groups
            .iter()
            .chain(self.rest.groups())
            .collect()
    }

    fn state_dict(&self) -> BTreeMap<String, Tensor> {
        let mut all = self.matrices.state_dict();
        all.extend(self.rest.state_dict());
        all
    }

    fn load_state_dict(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), StateDictError> {
        let of_matrices = self.matrices.state_dict();
        let (own, rest): (BTreeMap<_, _>, BTreeMap<_, _>) = state
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .partition(|(k, _)| of_matrices.contains_key(k));
        // Both are checked before either changes.
        crate::load_in_place(&copies(&of_matrices), &own)?;
        self.rest.load_state_dict(&rest)?;
        self.matrices.load_state_dict(&own)
    }
}

fn copies(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(k, t)| (k.clone(), t.copy())).collect()
}
