//! What a graphics card does for the engine, and what its kernels are called with.
//!
//! Everything above this trait is the same whether a card or, in tests, [`emulated`](super::emulated) threads run the kernels.

use super::Module;

/// An address in the card's memory; 0 points nowhere.
pub(crate) type Address = u64;

/// What went wrong on a card: what was done, and what the card or its libraries said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DriverError {
    /// There is no memory of that size; the allocator frees what it keeps and asks once more.
    #[error("no memory is left for {bytes} bytes")]
    OutOfMemory {
        /// What was asked for.
        bytes: usize,
    },
    /// Work is being captured, and this cannot be part of it. Nothing is lost.
    #[error("{what} cannot be repeated by a graph")]
    NotCapturable {
        /// What was asked.
        what: &'static str,
    },
    /// Anything else. The card may be lost, and nothing on it can be relied on.
    #[error("{what}: {said}")]
    Failed {
        /// What was done.
        what: String,
        /// The answer.
        said: String,
    },
}

pub(crate) type Result<T> = std::result::Result<T, DriverError>;

/// Threads of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Blocks.
    pub(crate) blocks: [u32; 3],
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub(crate) shared: u32,
}

/// A kernel of a module, by the name that it has there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel<'a> {
    pub(crate) module: &'static Module,
    pub(crate) name: &'a str,
}

/// An argument of a kernel: where its value is, and how large it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) at: *const std::ffi::c_void,
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "the vendor's driver knows what its kernels take")
    )]
    pub(crate) bytes: usize,
}

/// One matrix operand of a product, in elements of its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) at: Address,
    pub(crate) dtype: crate::DType,
    /// From one row to the next.
    pub(crate) row_stride: usize,
    /// From one column to the next.
    pub(crate) column_stride: usize,
    /// From one matrix of a batch to the next; 0 if all share it.
    pub(crate) batch_stride: usize,
}

/// What is done with a product before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Epilogue {
    /// `c = a b`
    Plain,
    /// `c = a b + bias`; a vector of `n`, of the type of `c`, is added to each row.
    Bias(Address),
    /// `c = gelu_tanh(a b + bias)`, and `a b + bias` goes to `inner`, which lies like `c`.
    Gelu {
        bias: Option<Address>,
        inner: Address,
    },
    /// `c = a b gelu_tanh'(inner)`, where `inner` lies like `c`.
    GeluGradient { inner: Address },
    /// `c = a b`, and the sums of the rows of `a` go to this vector of `m`, of the type of `c`.
    RowSums(Address),
}

/// `c = a b` for a batch of matrices, by the vendor's library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) batch: usize,
    /// (m, k)
    pub(crate) a: Matrix,
    /// (k, n), of the type of `a`.
    pub(crate) b: Matrix,
    /// (m, n), row-major; its own type or f32.
    pub(crate) c: Matrix,
    pub(crate) epilogue: Epilogue,
    /// f32 operands may be rounded to tf32.
    pub(crate) tf32: bool,
    /// Sums may be added up in whatever order is fastest, another one each time.
    pub(crate) any_order: bool,
    /// Adds to what `c` holds instead of replacing it.
    pub(crate) accumulate: bool,
}

/// A card with one stream: what is asked for happens in that order, and calls return before it has happened, except where they say
/// otherwise.
pub(crate) trait Driver: Send + Sync {
    /// The name of the card, as people know it.
    fn name(&self) -> String;
    /// Bytes of memory: free, and in all.
    fn memory(&self) -> Result<(usize, usize)>;
    /// A block of memory, aligned to 256 bytes.
    fn allocate(&self, bytes: usize) -> Result<Address>;
    /// Gives a block back; waits for what uses it.
    fn free(&self, at: Address);
    /// Copies to the card. `from` may be changed as soon as this returns.
    fn upload(&self, to: Address, from: &[u8]) -> Result<()>;
    /// Copies from the card; waits for it, and for all that was asked before.
    fn download(&self, to: &mut [u8], from: Address) -> Result<()>;
    /// Copies on the card; the two do not overlap.
    fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<()>;
    /// Zeros.
    fn clear(&self, at: Address, bytes: usize) -> Result<()>;
    /// Runs a kernel; `arguments` point to values of the types that it takes, in order.
    ///
    /// # Safety
    /// The arguments are those of the kernel, and the addresses among them are of blocks as large as it reads and writes.
    unsafe fn launch(&self, kernel: Kernel<'_>, grid: Grid, arguments: &[Value]) -> Result<()>;
    /// The product by a library, or `false` if there is none that can: then a kernel does it.
    ///
    /// # Safety
    /// The addresses are of blocks as large as the product reads and writes.
    unsafe fn product(&self, product: &Product) -> Result<bool>;
    /// Waits until all that was asked has happened.
    fn synchronize(&self) -> Result<()>;
    /// From here on, kernels, products, copies on the card and zeros are written down and not done. What goes to the card or comes from it, and
    /// waiting for it, is [`DriverError::NotCapturable`]; memory that is given back is kept until the end.
    fn begin_capture(&self) -> Result<()>;
    /// What was written down. Also after an error in between this must be called; then work is done again as it is asked for.
    fn end_capture(&self) -> Result<Box<dyn Captured>>;
}

/// Work of a card that was written down.
pub(crate) trait Captured: Send + Sync {
    /// Does it, after all that was asked before. Arguments have the values that they had, addresses among them.
    ///
    /// # Safety
    /// Every block that the work reads or writes is still allocated.
    unsafe fn launch(&self) -> Result<()>;
}
