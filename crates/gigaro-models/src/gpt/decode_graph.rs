//! Decoding steps that a card repeats: one call for all layers instead of hundreds, of which each takes longer to ask for than to do.
//!
//! A step reads a token for each of some rows. What changes from step to step (tokens, positions, where the rows' pages are) is written to the card before
//! it, so the step itself is captured once for each number of rows. The first step of a kind is done as usual, which compiles its kernels.

use std::collections::HashMap;

use gigaro_nn::Module;
use gigaro_tensor::{DType, Device, DeviceFailure, Part, Tensor, autocast_dtype, cuda, no_grad};

use super::Gpt;
use super::cache::{DecodePart, KvCache, admit, inputs};

/// The steps of a cache.
#[derive(Debug, Default)]
pub(super) struct Steps {
    by_kind: HashMap<Kind, Step>,
    /// What any of them leaves, for as many rows as the cache has: `(rows, C)` and `(rows, V)`.
    results: Option<[Tensor; 2]>,
}

/// What makes steps alike: rows that take part, what products compute in, and the data of the model's tensors.
type Kind = (usize, Option<DType>, Vec<usize>);

impl Steps {
    pub(super) fn captured(&self) -> usize {
        let steps = self.by_kind.values();
        steps.filter(|s| matches!(s, Step::Captured(_))).count()
    }

    /// Forgets the steps of models that are gone or have moved.
    fn forget_stale(&mut self) {
        let stays = |step: &Step| !matches!(step, Step::Captured(step) if !step.graph.is_current());
        self.by_kind.retain(|_, step| stays(step));
    }

    /// A graph whose memory another may share: one is done after the other, and what they leave is copied.
    fn any(&self) -> Option<&cuda::Graph> {
        self.by_kind.values().find_map(|step| match step {
            Step::Captured(step) => Some(&step.graph),
            _ => None,
        })
    }
}

/// How far a kind of step has come.
#[derive(Debug)]
enum Step {
    /// Done once.
    Seen,
    /// A graph cannot do it.
    Refused,
    /// Captured.
    Captured(CapturedStep),
}

#[derive(Debug)]
struct CapturedStep {
    graph: cuda::Graph,
    /// `(1, N)` and `(N)`.
    inputs: [Tensor; 2],
}

/// What a step leaves: nobody else writes to it.
#[derive(Debug)]
pub(super) struct StepResults {
    /// What the logits are projected from, `(N, C)`.
    pub(super) hidden: Tensor,
    /// `(N, V)` in f32.
    pub(super) logits: Tensor,
}

impl Gpt {
    /// A step by a graph; `None`, and nothing is done, if this call is none that a graph can do, or not yet.
    #[track_caller]
    pub(super) fn repeated_step(
        &self,
        parts: &[DecodePart<'_>],
        cache: &mut KvCache,
    ) -> Option<StepResults> {
        let steps = parts.iter().all(|p| p.ids.len() == 1 && p.logits == 1);
        if self.device() == Device::Cpu || !steps || parts.is_empty() {
            return None;
        }
        let kind: Kind = (parts.len(), autocast_dtype(), data_of(self));
        let places = admit(parts, cache);
        let inputs = inputs(parts, cache);
        match cache.steps.by_kind.get(&kind) {
            None => {
                cache.steps.by_kind.insert(kind, Step::Seen);
                return None;
            }
            Some(Step::Refused) => return None,
            Some(Step::Captured(_)) => cache.rows.reserve(&places),
            Some(Step::Seen) => {
                cache.rows.reserve(&places);
                self.capture_step(kind.clone(), &inputs, &places, cache)?;
            }
        }
        let Steps { by_kind, results } = &mut cache.steps;
        let (Some(Step::Captured(step)), Some(results)) = (by_kind.get(&kind), results) else {
            return None;
        };
        for (to, from) in step.inputs.iter().zip(&inputs) {
            to.copy_(from);
        }
        if !step.graph.replay() {
            // The model has moved.
            by_kind.remove(&kind);
            return None;
        }
        let [hidden, logits] = results
            .each_ref()
            .map(|all| all.narrow(0, 0, parts.len()).copy());
        cache.rows.advance(&places);
        Some(StepResults { hidden, logits })
    }

    /// Captures a step; `None` if it cannot be, now or ever.
    fn capture_step(
        &self,
        kind: Kind,
        inputs: &[Tensor; 2],
        places: &[Part],
        cache: &mut KvCache,
    ) -> Option<()> {
        let (device, n) = (self.device(), places.len());
        cache.steps.forget_stale();
        let inputs = inputs.each_ref().map(|t| t.to_device(device));
        let widths = [self.config.d_model, self.config.vocab_size];
        let rows = cache.rows();
        let room = || widths.map(|width| Tensor::zeros([rows, width], DType::F32, device));
        let results = cache.steps.results.get_or_insert_with(room).clone();
        let step = || {
            let [ids, positions] = &inputs;
            let x = self.through_layers(ids, positions, places, &mut cache.rows, &mut |_, _| {});
            let hidden = self.ln_f.forward(&x.squeeze(0));
            results[1].narrow(0, 0, n).copy_(&self.logits(&hidden));
            results[0].narrow(0, 0, n).copy_(&hidden);
        };
        let beside = cache.steps.any();
        let captured = no_grad(|| cuda::Graph::capture(device, None, beside, step));
        match captured {
            Ok((graph, ())) => {
                let step = Step::Captured(CapturedStep { graph, inputs });
                cache.steps.by_kind.insert(kind, step);
                Some(())
            }
            Err(DeviceFailure::NotCapturable { .. }) => {
                cache.steps.by_kind.insert(kind, Step::Refused);
                None
            }
            // Full at the moment, or worse, which the step in the usual way is going to say.
            Err(_) => {
                cache.steps.by_kind.remove(&kind);
                None
            }
        }
    }
}

fn data_of(model: &Gpt) -> Vec<usize> {
    let mut all = Vec::new();
    model.visit("", &mut |_, tensor| all.push(tensor.data_id()));
    all
}
