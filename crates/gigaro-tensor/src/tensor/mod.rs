//! The [`Tensor`]: a cheap handle to numbers, their shape, and where they came from.
//!
//! Cloning shares; views share storage; ops return new tensors. What can be done with a tensor is
//! spread by theme: `create.rs`, `read.rs`, `views.rs`, `in_place.rs`, `display.rs` here, and the
//! arithmetic in `ops/`.

mod create;
mod device;
mod display;
mod in_place;
mod read;
mod views;

use std::sync::{Arc, PoisonError};

use bytemuck::Pod;

use crate::autograd::{self, Leaf, Origin};
use crate::device::cuda::driver::Address;
use crate::device::cuda::{self, Gpu, graph};
use crate::storage::{Buffer, Data, Storage};
use crate::{DType, Device, Layout, Shape};

/// An n-dimensional array of one [`DType`] on one [`Device`], with PyTorch's names and semantics.
///
/// A tensor is a handle: `clone` is cheap and shares the data. Misuse (shapes that do not fit, a
/// dtype an op cannot take) is a bug of the calling code and panics at the caller's line, so that
/// formulas stay readable:
///
/// ```
/// use gigaro_tensor::Tensor;
/// let w = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [3]).requires_grad_(true);
/// let x = Tensor::from_slice(&[4.0f32, 5.0, 6.0], [3]);
/// let loss = (&x * &w).sum(-1) + 1.0;
/// loss.backward();
/// assert_eq!(loss.item(), 33.0);
/// assert_eq!(w.grad().unwrap().to_vec::<f32>(), [4.0, 5.0, 6.0]);
/// ```
#[derive(Clone)]
pub struct Tensor(Arc<Inner>);

struct Inner {
    storage: Arc<Storage>,
    layout: Layout,
    dtype: DType,
    origin: Origin,
}

impl Tensor {
    fn from_parts(storage: Arc<Storage>, layout: Layout, dtype: DType, origin: Origin) -> Self {
        Self(Arc::new(Inner {
            storage,
            layout,
            dtype,
            origin,
        }))
    }

    /// A contiguous tensor over a freshly written buffer.
    pub(crate) fn from_buffer(buffer: Buffer, shape: impl Into<Shape>, dtype: DType) -> Self {
        Self::from_parts(
            Storage::new(buffer),
            Layout::contiguous(shape),
            dtype,
            Origin::Constant,
        )
    }

    /// Another view of the same storage, without an origin.
    pub(crate) fn alias(&self, layout: Layout) -> Self {
        Self::from_parts(
            Arc::clone(&self.0.storage),
            layout,
            self.0.dtype,
            Origin::Constant,
        )
    }

    /// The same data with another origin.
    pub(crate) fn with_origin(&self, origin: Origin) -> Self {
        Self::from_parts(
            Arc::clone(&self.0.storage),
            self.0.layout.clone(),
            self.0.dtype,
            origin,
        )
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.storage.version()
    }

    /// Whether this handle is the only way to reach the data.
    pub(crate) fn is_unshared(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && Arc::strong_count(&self.0.storage) == 1
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    /// A snapshot of the elements from the view's first to its last, to be walked by its strides.
    pub(crate) fn data<T: Pod>(&self) -> Data<T> {
        let layout = &self.0.layout;
        Data::new(
            self.0.storage.read(),
            layout.offset()..layout.offset() + layout.span(),
        )
    }

    /// The extent of each dim.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.0.layout.shape()
    }

    /// Shape, strides and offset.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// Extent of one dim; negative dims count from the end.
    ///
    /// # Panics
    /// If the dim is out of range.
    #[must_use]
    #[track_caller]
    pub fn size(&self, dim: isize) -> usize {
        self.shape()[crate::shape::resolve_dim("size", dim, self.ndim())]
    }

    /// How many dims; 0 for a scalar.
    #[must_use]
    pub fn ndim(&self) -> usize {
        self.shape().len()
    }

    /// How many elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.0.layout.numel()
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Where the tensor lives.
    #[must_use]
    pub fn device(&self) -> Device {
        self.0.storage.device()
    }

    /// The card that the data is on, if it is on one.
    pub(crate) fn gpu(&self) -> Option<&'static Gpu> {
        match self.device() {
            Device::Cpu => None,
            Device::Cuda(index) => Some(cuda::gpu(index)),
        }
    }

    /// The card that all of these are on, if they are on one.
    ///
    /// # Panics
    /// If they are on different devices.
    #[track_caller]
    pub(crate) fn common_gpu(op: &str, tensors: &[&Self]) -> Option<&'static Gpu> {
        let device = tensors[0].device();
        for t in tensors {
            assert!(
                t.device() == device,
                "{op}: one operand is on {device}, another on {}; move one with to_device",
                t.device()
            );
        }
        tensors[0].gpu()
    }

    /// The address of the view's first element on its card.
    ///
    /// # Panics
    /// If it is in main memory.
    pub(crate) fn address(&self) -> Address {
        let at = self.0.storage.read().address();
        graph::uses(&self.0.storage, at);
        at + self.start()
    }

    /// [`Self::address`] for a kernel that writes there. Counts as a change; the data moves if somebody else reads it.
    pub(crate) fn address_to_write(&self) -> Address {
        let at = self.0.storage.write(|buffer| buffer.address());
        graph::uses(&self.0.storage, at);
        at + self.start()
    }

    /// Where the view begins in its storage, in bytes.
    fn start(&self) -> Address {
        (self.0.layout.offset() * self.0.dtype.size_bytes()) as Address
    }

    /// A number for the data that this tensor is a view of: two that live at once have the same one only if it is the same data.
    #[must_use]
    pub fn data_id(&self) -> usize {
        Arc::as_ptr(&self.0.storage).addr()
    }

    /// Whether the elements lie in row-major order without gaps.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        self.0.layout.is_contiguous()
    }

    /// Whether gradients flow to this tensor.
    #[must_use]
    pub fn requires_grad(&self) -> bool {
        !matches!(self.0.origin, Origin::Constant)
    }

    /// Whether this is the start of a graph: a parameter, or a tensor without gradients.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        !matches!(self.0.origin, Origin::Op(_))
    }

    /// A leaf over the same data that collects gradients (or, with `false`, does not). Unlike
    /// PyTorch's, this returns the leaf and leaves the handle it was called on as it was.
    ///
    /// # Panics
    /// If gradients are asked of integers or bool.
    #[must_use]
    #[track_caller]
    pub fn requires_grad_(&self, requires_grad: bool) -> Self {
        assert!(
            !requires_grad || self.dtype().is_float(),
            "requires_grad_: only floating-point tensors have gradients, this one is {}",
            self.dtype()
        );
        self.with_origin(if requires_grad {
            Origin::Leaf(Leaf::new())
        } else {
            Origin::Constant
        })
    }

    /// The same data, cut off from the graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        self.with_origin(Origin::Constant)
    }

    fn leaf(&self) -> Option<&Leaf> {
        match &self.0.origin {
            Origin::Leaf(leaf) => Some(leaf),
            _ => None,
        }
    }

    /// The gradient collected so far, for leaves.
    #[must_use]
    pub fn grad(&self) -> Option<Self> {
        self.leaf()?
            .grad
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the collected gradient.
    ///
    /// # Panics
    /// If this is not a leaf that requires gradients, or shapes differ.
    #[track_caller]
    pub fn set_grad(&self, grad: Option<Self>) {
        let leaf = self
            .leaf()
            .expect("set_grad: only a leaf with requires_grad keeps a gradient");
        if let Some(g) = &grad {
            assert!(
                g.shape() == self.shape(),
                "set_grad: {:?} for {:?}",
                g.shape(),
                self.shape()
            );
        }
        *leaf.grad.lock().unwrap_or_else(PoisonError::into_inner) = grad;
    }

    /// Forgets the collected gradient. Does nothing on tensors without one.
    pub fn zero_grad(&self) {
        if let Some(leaf) = self.leaf() {
            *leaf.grad.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Adds the gradients of this scalar to every leaf it depends on, and releases the graph.
    ///
    /// # Panics
    /// If this is not a scalar (see [`Tensor::backward_with`]), does not require gradients, its
    /// graph was used before, or an op on the way has no gradient.
    #[track_caller]
    pub fn backward(&self) {
        assert!(
            self.numel() == 1,
            "backward: needs a scalar, got shape {}; reduce it, or give its gradient with backward_with",
            self.layout().shape()
        );
        self.backward_with(&Self::ones(self.shape(), self.dtype(), self.device()));
    }

    /// [`Tensor::backward`] from a given gradient of this tensor.
    ///
    /// # Panics
    /// As [`Tensor::backward`], or if the shapes differ.
    #[track_caller]
    pub fn backward_with(&self, grad: &Self) {
        assert!(
            self.requires_grad(),
            "backward: no input of this tensor requires gradients"
        );
        assert!(
            grad.shape() == self.shape(),
            "backward: gradient of shape {} for a tensor of shape {}",
            grad.layout().shape(),
            self.layout().shape()
        );
        let grad = grad.to_dtype(self.dtype()).detach();
        autograd::backward(&[(self, grad)], autograd::Targets::Leaves, false, false);
    }
}
