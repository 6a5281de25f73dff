//! Decoding steps that a card repeats: one call for all layers instead of hundreds, of which each takes longer to ask for than to do.
//!
//! A step reads a token for each of some rows. What changes from step to step (tokens, positions, where the rows' pages are) is written to the card before
//! it, so the step itself is captured once for each number of rows. The first step of a kind is done as usual, which compiles its kernels.

use std::collections::HashMap;

use gigaro_nn::Module;
use gigaro_tensor::{DType, Device, Tensor, autocast_dtype, cuda, no_grad};

use super::Gpt;
use super::cache::{DecodePart, KvCache, admit, inputs};

/// The steps of a cache, by number of rows and what products compute in.
#[derive(Debug, Default)]
pub(super) struct Steps {
    by_rows: HashMap<(usize, Option<DType>), Step>,
}

impl Steps {
    pub(super) fn captured(&self) -> usize {
        let steps = self.by_rows.values();
        steps.filter(|s| matches!(s, Step::Captured(_))).count()
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
    Captured(Box<CapturedStep>),
}

#[derive(Debug)]
struct CapturedStep {
    graph: cuda::Graph,
    /// The model's tensors: another model's step is another.
    model: Vec<Tensor>,
    /// `(1, N)` and `(N)`.
    inputs: [Tensor; 2],
    results: StepResults,
}

/// What a step leaves: nobody else writes to it.
#[derive(Clone, Debug)]
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
        let kind = (parts.len(), autocast_dtype());
        let places = admit(parts, cache);
        let inputs = inputs(parts, cache);
        let captured = match cache.steps.by_rows.remove(&kind) {
            None => {
                cache.steps.by_rows.insert(kind, Step::Seen);
                return None;
            }
            Some(Step::Refused) => {
                cache.steps.by_rows.insert(kind, Step::Refused);
                return None;
            }
            Some(Step::Captured(captured)) if captured.is_of(self) => {
                cache.rows.reserve(&places);
                captured
            }
            Some(Step::Seen | Step::Captured(_)) => {
                cache.rows.reserve(&places);
                let Some(captured) = self.capture_step(&inputs, &places, cache) else {
                    cache.steps.by_rows.insert(kind, Step::Refused);
                    return None;
                };
                Box::new(captured)
            }
        };
        let results = captured.run(&inputs)?;
        cache.rows.advance(&places);
        cache.steps.by_rows.insert(kind, Step::Captured(captured));
        Some(results)
    }

    fn capture_step(
        &self,
        inputs: &[Tensor; 2],
        places: &[gigaro_tensor::Part],
        cache: &mut KvCache,
    ) -> Option<CapturedStep> {
        let device = self.device();
        let inputs = inputs.each_ref().map(|t| t.to_device(device));
        let step = || {
            let [ids, positions] = &inputs;
            let x = self.through_layers(ids, positions, places, &mut cache.rows, &mut |_, _| {});
            let hidden = self.ln_f.forward(&x.squeeze(0));
            let logits = self.logits(&hidden).to_dtype(DType::F32);
            StepResults { hidden, logits }
        };
        let captured = no_grad(|| cuda::Graph::capture(device, None, step));
        let (graph, results) = captured.ok()?;
        Some(CapturedStep {
            graph,
            model: tensors(self),
            inputs,
            results,
        })
    }
}

impl CapturedStep {
    fn is_of(&self, model: &Gpt) -> bool {
        let all = tensors(model);
        all.len() == self.model.len() && all.iter().zip(&self.model).all(|(a, b)| a.shares_data(b))
    }

    /// The step on these inputs; `None` if the model has moved.
    fn run(&self, inputs: &[Tensor; 2]) -> Option<StepResults> {
        for (to, from) in self.inputs.iter().zip(inputs) {
            to.copy_(from);
        }
        let StepResults { hidden, logits } = &self.results;
        self.graph.replay().then(|| StepResults {
            hidden: hidden.copy(),
            logits: logits.copy(),
        })
    }
}

fn tensors(model: &Gpt) -> Vec<Tensor> {
    let mut all = Vec::new();
    model.visit("", &mut |_, tensor| all.push(tensor.clone()));
    all
}
