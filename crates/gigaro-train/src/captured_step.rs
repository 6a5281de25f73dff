//! A training step that a card repeats: forward, backward, clipping and the optimiser as one call, instead of a few thousand.
//!
//! What changes from step to step is written to the card before: the batches, what each counts for, the numbers of the optimiser, the place of dropout's
//! random numbers. One wait at the end brings the loss and the gradient's norm. A step that is not finite has changed no weight; it is then done again
//! in the usual way, which finds out where it begins.

use gigaro_data::loader::Batch;
use gigaro_models::Gpt;
use gigaro_nn::{Mode, clip};
use gigaro_tensor::optim::norm_and_clip;
use gigaro_tensor::{DType, Device, DeviceFailure, Tensor, cuda};

use crate::objective::Update;

/// What makes steps alike: rows and columns of each part, and whether documents share its rows.
type Kind = Vec<(usize, usize, bool)>;

/// The steps of a run so far, as far as a card is to repeat them.
#[derive(Debug, Default)]
pub(crate) enum Repetition {
    /// None yet.
    #[default]
    New,
    /// A step of this kind was done, so its kernels are compiled.
    Seen(Kind),
    /// A graph cannot do a step of this kind.
    Refused(Kind),
    /// It can.
    Captured(Box<CapturedStep>),
}

#[derive(Debug)]
pub(crate) struct CapturedStep {
    kind: Kind,
    graph: cuda::Graph,
    parts: Vec<Inputs>,
    /// What each part's loss counts for, `(parts)`.
    weights: Tensor,
    /// Loss, norm of the gradient, and the factor that clipped it: `(3)` in f64.
    figures: Tensor,
}

/// A part of a batch, where the card reads it: `(rows, columns)` each.
#[derive(Debug)]
struct Inputs {
    ids: Tensor,
    targets: Tensor,
    segments: Option<Tensor>,
}

impl Repetition {
    /// Takes the step on these parts as one call, if a card can: its loss. `None`, and nothing has changed, if it is to be done in the usual way.
    pub(crate) fn step(
        &mut self,
        model: &Gpt,
        parts: &[Batch],
        update: &mut Update<'_>,
    ) -> Option<f64> {
        if model.device() == Device::Cpu {
            return None;
        }
        if parts.iter().any(|part| part.target_count() == 0) {
            // Done in the usual way, which needs the memory.
            *self = Self::New;
            return None;
        }
        let of = |part: &Batch| (part.rows, part.cols, part.segments.is_some());
        let kind: Kind = parts.iter().map(of).collect();
        *self = match std::mem::take(self) {
            Self::Captured(step) if step.kind == kind => Self::Captured(step),
            Self::Refused(refused) if refused == kind => Self::Refused(refused),
            Self::Seen(seen) if seen == kind => match CapturedStep::new(model, parts, kind, update)
            {
                Ok(step) => Self::Captured(Box::new(step)),
                Err(Some(refused)) => Self::Refused(refused),
                // Full at the moment, or worse, which the step in the usual way is going to say.
                Err(None) => Self::New,
            },
            _ => Self::Seen(kind),
        };
        let Self::Captured(step) = self else {
            return None;
        };
        let before = update.dropout().state();
        let Some([loss, norm, _]) = step.run(parts, update) else {
            *self = Self::New;
            return None;
        };
        if !(loss.is_finite() && norm.is_finite()) {
            update.dropout().set_state(before);
            *self = Self::New;
            return None;
        }
        update.took(norm);
        Some(loss)
    }
}

impl CapturedStep {
    /// Captures a step; gives the kind back if it can never be.
    fn new(
        model: &Gpt,
        parts: &[Batch],
        kind: Kind,
        update: &mut Update<'_>,
    ) -> Result<Self, Option<Kind>> {
        let device = model.device();
        let inputs: Vec<Inputs> = parts.iter().map(|part| Inputs::new(part, device)).collect();
        let weights = Tensor::zeros([parts.len()], DType::F32, device);
        let (dropout, max_norm) = (update.dropout().clone(), update.max_norm());
        let mode = Mode::Train(dropout.clone());
        let (parameters, optimizer) = update.parts();
        let Some(optimizer) = optimizer.repeatable() else {
            return Err(Some(kind));
        };
        let forget = || parameters.iter().for_each(|(_, p)| p.zero_grad());
        let work = || {
            let losses: Vec<Tensor> = inputs
                .iter()
                .enumerate()
                .map(|(i, part)| {
                    let segments = part.segments.as_ref();
                    let loss = model.loss_packed(&part.ids, &part.targets, segments, &mode);
                    let weighted = loss * weights.select(0, i);
                    weighted.backward();
                    weighted.detach().to_dtype(DType::F64)
                })
                .collect();
            let loss = losses.into_iter().reduce(|a, b| a + b)?;
            // A loss that is not finite makes the norm one that is not, so that no weight changes.
            let clip = norm_and_clip(&clip::gradients(parameters), max_norm) + &loss * 0.0;
            optimizer.capture(Some(&clip));
            forget();
            Some(Tensor::cat(&[&loss.reshape([1]), &clip], 0))
        };
        let captured = cuda::Graph::capture(device, Some(&dropout), None, work);
        // A capture that went wrong has left some.
        forget();
        match captured {
            Ok((graph, Some(figures))) => Ok(Self {
                kind,
                graph,
                parts: inputs,
                weights,
                figures,
            }),
            Ok((_, None)) | Err(DeviceFailure::NotCapturable { .. }) => Err(Some(kind)),
            Err(_) => Err(None),
        }
    }

    /// Does the step on these parts; `None` if the model has moved.
    fn run(&self, parts: &[Batch], update: &mut Update<'_>) -> Option<[f64; 3]> {
        // Before the optimiser counts it.
        if !self.graph.is_current() {
            return None;
        }
        for (inputs, part) in self.parts.iter().zip(parts) {
            inputs.set(part);
        }
        let targets: usize = parts.iter().map(Batch::target_count).sum();
        let weight = |part: &Batch| (part.target_count() as f64 / targets as f64) as f32;
        let weights = parts.iter().map(weight).collect();
        self.weights
            .copy_(&Tensor::from_vec(weights, [parts.len()]));
        let lr = update.lr();
        update.parts().1.repeatable()?.prepare(lr);
        if !self.graph.replay() {
            return None;
        }
        self.figures.to_vec::<f64>().try_into().ok()
    }
}

impl Inputs {
    fn new(part: &Batch, device: Device) -> Self {
        let tensor = |values: &[i64]| of_part(values, part).to_device(device);
        Self {
            ids: tensor(&part.ids),
            targets: tensor(&part.targets),
            segments: part.segments.as_deref().map(tensor),
        }
    }

    fn set(&self, part: &Batch) {
        self.ids.copy_(&of_part(&part.ids, part));
        self.targets.copy_(&of_part(&part.targets, part));
        if let (Some(to), Some(from)) = (&self.segments, &part.segments) {
            to.copy_(&of_part(from, part));
        }
    }
}

fn of_part(values: &[i64], part: &Batch) -> Tensor {
    Tensor::from_slice(values, [part.rows, part.cols])
}
