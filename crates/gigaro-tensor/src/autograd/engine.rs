//! The backward pass.

use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, PoisonError};

use super::mode::with_grad;
use super::node::{BackwardArgs, Edge, Node, Origin};
use crate::Tensor;

/// Gradients on their way: by the id of the tensor they belong to.
struct Pending {
    grads: HashMap<u64, Tensor>,
    queue: BinaryHeap<Task>,
}

/// A node to visit, latest first.
struct Task(Arc<Node>);
impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for Task {}
impl PartialOrd for Task {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Task {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl Pending {
    /// Adds `grad` to what has arrived for `origin`.
    fn deliver(&mut self, origin: &Origin, grad: Tensor, create_graph: bool) {
        let Some(id) = origin.id() else { return };
        match self.grads.remove(&id) {
            None => {
                self.grads.insert(id, grad);
                if let Origin::Op(node) = origin {
                    self.queue.push(Task(Arc::clone(node)));
                }
            }
            Some(sum) => {
                self.grads.insert(id, accumulate(sum, grad, create_graph));
            }
        }
    }
}

/// `sum + grad`, in place when nobody else holds the sum.
fn accumulate(sum: Tensor, grad: Tensor, create_graph: bool) -> Tensor {
    if !create_graph && sum.is_unshared() && sum.is_contiguous() && sum.dtype() == grad.dtype() {
        sum.add_(&grad);
        return sum;
    }
    &sum + &grad
}

/// Whose gradients a backward pass is after.
#[derive(Clone, Copy)]
pub(crate) enum Targets<'a> {
    /// Every leaf's `.grad` accumulates.
    Leaves,
    /// These tensors, wherever in the graph they are.
    These(&'a [&'a Tensor]),
    /// These tensors, and nothing that lies before them.
    UpTo(&'a [&'a Tensor]),
}

/// Walks the graph from `roots` and hands each wanted leaf its gradient.
///
/// With [`Targets::These`] or [`Targets::UpTo`], only those tensors' gradients are returned and no
/// leaf is touched.
pub(crate) fn backward(
    roots: &[(&Tensor, Tensor)],
    targets: Targets<'_>,
    retain_graph: bool,
    create_graph: bool,
) -> Vec<Option<Tensor>> {
    let mut pending = Pending {
        grads: HashMap::new(),
        queue: BinaryHeap::new(),
    };
    let mut leaves: HashMap<u64, Arc<super::Leaf>> = HashMap::new();
    let wanted: Vec<Option<u64>> = match targets {
        Targets::Leaves => Vec::new(),
        Targets::These(list) | Targets::UpTo(list) => {
            list.iter().map(|t| t.origin().id()).collect()
        }
    };
    let mut found: HashMap<u64, Tensor> = HashMap::new();
    with_grad(create_graph, || {
        for (root, grad) in roots {
            if let Origin::Leaf(leaf) = root.origin() {
                leaves.insert(leaf.id, Arc::clone(leaf));
            }
            pending.deliver(root.origin(), grad.clone(), create_graph);
        }
        while let Some(Task(node)) = pending.queue.pop() {
            let grad = pending
                .grads
                .remove(&node.id)
                .expect("queued when its gradient arrived");
            if wanted.contains(&Some(node.id)) {
                found.insert(node.id, grad.clone());
                if matches!(targets, Targets::UpTo(_)) {
                    continue;
                }
            }
            visit(&node, grad, retain_graph, create_graph, |origin, grad| {
                if let Origin::Leaf(leaf) = origin {
                    leaves.entry(leaf.id).or_insert_with(|| Arc::clone(leaf));
                }
                pending.deliver(origin, grad, create_graph);
            });
        }
    });
    if !matches!(targets, Targets::Leaves) {
        found.extend(pending.grads);
        return wanted
            .iter()
            .map(|id| found.get(id.as_ref()?).cloned())
            .collect();
    }
    for (id, leaf) in leaves {
        let Some(grad) = pending.grads.remove(&id) else {
            continue;
        };
        let mut slot = leaf.grad.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(match slot.take() {
            None => grad,
            Some(sum) => with_grad(create_graph, || accumulate(sum, grad, create_graph)),
        });
    }
    Vec::new()
}

/// Runs one node's closure and delivers what it returns.
fn visit(
    node: &Arc<Node>,
    grad: Tensor,
    retain_graph: bool,
    create_graph: bool,
    mut deliver: impl FnMut(&Origin, Tensor),
) {
    let keep = retain_graph || create_graph;
    let closure = {
        let mut slot = node.closure.lock().unwrap_or_else(PoisonError::into_inner);
        if keep { slot.clone() } else { slot.take() }
    };
    let Some(closure) = closure else {
        panic!(
            "backward: the graph of `{}` was already used by an earlier backward pass; \
             run the forward pass again, or take the gradients with autograd::grad, which leaves the graph as it is",
            node.op
        )
    };
    let edges = node.inputs.lock().unwrap_or_else(PoisonError::into_inner);
    let needs: Vec<bool> = edges.iter().map(|e| e.origin.id().is_some()).collect();
    let saved = node.output.lock().unwrap_or_else(PoisonError::into_inner);
    // With second derivatives the kept output must lead back to this very node.
    let output = saved.as_ref().map(|s| {
        if create_graph {
            s.with_origin(Origin::Op(Arc::clone(node)))
        } else {
            (**s).clone()
        }
    });
    let grads = closure(BackwardArgs {
        grad: &grad,
        output: output.as_ref(),
        needs: &needs,
    });
    drop(grad);
    assert!(
        grads.len() == edges.len(),
        "backward of `{}`: gave {} gradients for {} inputs",
        node.op,
        grads.len(),
        edges.len()
    );
    for (i, (edge, grad)) in edges.iter().zip(grads).enumerate() {
        if edge.origin.id().is_none() {
            continue;
        }
        deliver(&edge.origin, fitting(node.op, i, edge, grad));
    }
    drop(saved);
    drop(edges);
    if !keep {
        // Free what the forward pass kept as soon as it has served: backward's peak memory is then
        // that of the forward pass.
        node.inputs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        node.output
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// What an op's closure returned for its `i`th input, in that input's dtype.
///
/// # Panics
/// If there is none, or it has another shape.
fn fitting(op: &str, i: usize, edge: &Edge, grad: Option<Tensor>) -> Tensor {
    // Passing it over would train on a wrong gradient without a word.
    let Some(grad) = grad else {
        panic!(
            "backward of `{op}`: no gradient for input {i} of shape {}, which wants one; if it is zero the op must \
             give zeros, if none is meant to flow the input must be detached",
            edge.shape
        )
    };
    assert!(
        grad.layout().shape() == &edge.shape,
        "backward of `{op}`: gradient of shape {} for an input of shape {}",
        grad.layout().shape(),
        edge.shape
    );
    grad.to_dtype(edge.dtype)
}

/// Gradients of the sum of `outputs` with respect to `inputs`, without touching any `.grad`.
///
/// With `create_graph` the gradients themselves can be differentiated. An input that the outputs
/// do not depend on gets zeros.
///
/// # Panics
/// If an output or an input does not require gradients.
#[track_caller]
#[must_use]
pub fn grad(outputs: &[&Tensor], inputs: &[&Tensor], create_graph: bool) -> Vec<Tensor> {
    for t in outputs.iter().chain(inputs) {
        assert!(
            t.requires_grad(),
            "grad: a tensor of shape {} does not require gradients",
            t.layout().shape()
        );
    }
    let roots: Vec<_> = outputs
        .iter()
        .map(|o| (*o, Tensor::ones(o.shape(), o.dtype(), o.device())))
        .collect();
    let grads = backward(&roots, Targets::These(inputs), true, create_graph);
    let zeros = |t: &&Tensor| Tensor::zeros(t.shape(), t.dtype(), t.device());
    grads
        .into_iter()
        .zip(inputs)
        .map(|(g, t)| g.unwrap_or_else(|| zeros(t)))
        .collect()
}
