//! What the graph is made of.

use std::cell::RefCell;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::captured::note;
use super::mode::{Recording, recording};
use crate::{DType, Shape, Tensor};

/// Where a tensor comes from, as far as gradients care.
#[derive(Clone)]
pub(crate) enum Origin {
    /// No gradient is wanted.
    Constant,
    /// A parameter or another tensor that the user asked gradients for.
    Leaf(Arc<Leaf>),
    /// The result of a recorded op.
    Op(Arc<Node>),
}

impl Origin {
    /// The identity under which gradients are collected.
    pub(crate) fn id(&self) -> Option<u64> {
        match self {
            Self::Constant => None,
            Self::Leaf(leaf) => Some(leaf.id),
            Self::Op(node) => Some(node.id),
        }
    }
}

/// A number higher than any origin has yet.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The place where a leaf's gradient accumulates.
pub(crate) struct Leaf {
    pub(crate) id: u64,
    pub(crate) grad: Mutex<Option<Tensor>>,
}

impl Leaf {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            id: next_id(),
            grad: Mutex::new(None),
        })
    }
}

/// What a backward closure is given.
pub(crate) struct BackwardArgs<'a> {
    /// Gradient of the output, in its shape and dtype.
    pub(crate) grad: &'a Tensor,
    /// The output itself; present if the op asked to keep it.
    pub(crate) output: Option<&'a Tensor>,
    /// Which inputs want a gradient.
    pub(crate) needs: &'a [bool],
}

impl BackwardArgs<'_> {
    /// The kept output.
    pub(crate) fn output(&self) -> &Tensor {
        self.output.expect("the op recorded itself with its output")
    }
}

/// From the gradient of the output to those of the inputs; `None` only for inputs that want none,
/// else the backward pass panics.
pub(crate) type BackwardFn = Box<dyn Fn(BackwardArgs<'_>) -> Vec<Option<Tensor>> + Send + Sync>;

/// An input of a recorded op.
pub(crate) struct Edge {
    pub(crate) origin: Origin,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
}

/// One recorded op.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) op: &'static str,
    pub(crate) inputs: Mutex<Vec<Edge>>,
    /// Taken by the first backward pass unless the graph is retained.
    pub(crate) closure: Mutex<Option<Arc<BackwardFn>>>,
    /// The output's data without its origin, for ops whose gradient is written in terms of it;
    /// holding the output itself would tie the node to its own tail.
    pub(crate) output: Mutex<Option<Saved>>,
}

/// Records an op: `result` becomes a tensor with an origin, if recording is on and an input wants
/// a gradient; else it is returned as it is and `backward` is never built.
pub(crate) fn record(
    op: &'static str,
    result: Tensor,
    inputs: &[&Tensor],
    keep_output: bool,
    backward: impl FnOnce() -> BackwardFn,
) -> Tensor {
    let wanted = inputs.iter().any(|t| t.requires_grad());
    if !wanted || recording() == Recording::Off {
        return result;
    }
    note(inputs);
    if recording() != Recording::On {
        return result;
    }
    let edges = inputs.iter().map(|t| Edge {
        origin: t.origin().clone(),
        shape: t.layout().shape().clone(),
        dtype: t.dtype(),
    });
    let node = Arc::new(Node {
        id: next_id(),
        op,
        inputs: Mutex::new(edges.collect()),
        closure: Mutex::new(Some(Arc::new(backward()))),
        output: Mutex::new(keep_output.then(|| Saved::new(&result))),
    });
    result.with_origin(Origin::Op(node))
}

/// A tensor kept for the backward pass. Reading it panics if it was changed in place meanwhile,
/// because the gradient would silently be wrong.
pub(crate) struct Saved {
    tensor: Tensor,
    version: u64,
}

impl Saved {
    pub(crate) fn new(tensor: &Tensor) -> Self {
        Self {
            tensor: tensor.clone(),
            version: tensor.version(),
        }
    }
}

impl Deref for Saved {
    type Target = Tensor;
    fn deref(&self) -> &Tensor {
        assert!(
            self.tensor.version() == self.version,
            "backward: a tensor of shape {} that a gradient needs was changed in place after it was used; \
             clone it before changing it",
            self.tensor.layout().shape()
        );
        &self.tensor
    }
}

/// What a dropped node held; released from a queue, because a chain of a million ops would
/// otherwise be dropped by a million nested calls.
type Remains = (Vec<Edge>, Option<Arc<BackwardFn>>, Option<Saved>);

thread_local! {
    static GRAVEYARD: RefCell<Option<Vec<Remains>>> = const { RefCell::new(None) };
}

impl Drop for Node {
    fn drop(&mut self) {
        let inputs = std::mem::take(
            self.inputs
                .get_mut()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let closure = self
            .closure
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let output = self
            .output
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut remains = Some((inputs, closure, output));
        let first = GRAVEYARD.try_with(|g| {
            let mut queue = g.borrow_mut();
            let first = queue.is_none();
            queue
                .get_or_insert_with(Vec::new)
                .push(remains.take().expect("set just above"));
            first
        });
        // Without thread-locals (the thread is ending) the remains drop right here.
        if first != Ok(true) {
            return;
        }
        while let Some(next) = GRAVEYARD.with(|g| g.borrow_mut().as_mut().and_then(Vec::pop)) {
            drop(next);
        }
        GRAVEYARD.with(|g| *g.borrow_mut() = None);
    }
}
