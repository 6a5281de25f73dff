//! Attention on a card: in bf16 on tensor cores where products are to compute in that, else in plain arithmetic.

use super::Settings;
use crate::device::cpu::attention::Dims;
use crate::device::cpu::gemm::Compute;
use crate::device::cuda::driver::{Address, Grid, Kernel};
use crate::device::cuda::{Argument, Gpu, Module, arguments, module};
use crate::ops::reduce::cuda::computed;
use crate::storage::Buffer;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("attention");

/// `Sizes` of `attention.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sizes([u32; 6]);
impl Argument for Sizes {}

/// `Steps` of `attention.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Steps([i64; 3]);
impl Argument for Steps {}

/// `Rule` of `attention.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Rule {
    scale: f64,
    causal: u32,
    mask: Address,
    mask_steps: [i64; 4],
}
impl Argument for Rule {}

/// Where rows of a result go: an address, and elements from one batch, head and row to the next.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) at: Address,
    pub(super) strides: [usize; 3],
}

/// `Tile` of `attention.cu`: rows of channels in bf16, with 8 numbers to spare.
#[derive(Clone, Copy)]
enum Tile {
    /// 64 rows.
    Rows,
    /// The rows that the gradients of keys take at once.
    Part,
}

impl Tile {
    fn bytes(self, channels: usize) -> usize {
        let rows = match self {
            Self::Part if channels > 64 => 32,
            _ => 64,
        };
        2 * rows * (channels + 8)
    }
}

/// What a launch needs beside its operands.
struct Call {
    gpu: &'static Gpu,
    dims: Dims,
    rule: Rule,
    way: Way,
    /// Of the operands and of what is written.
    dtype: DType,
}

/// How it is computed.
#[derive(Clone, Copy)]
enum Way {
    /// Plainly, in the dtype of the operands: f32 or f64.
    Plain,
    /// In bf16, with so many channels.
    Flash(usize),
}

impl Call {
    fn new(gpu: &'static Gpu, dims: Dims, settings: &Settings, like: &Tensor) -> Self {
        let mask = settings.mask.as_ref();
        Self {
            gpu,
            dims,
            rule: Rule {
                scale: settings.scale,
                causal: u32::from(settings.causal),
                mask: mask.map_or(0, Tensor::address),
                mask_steps: mask.map_or([0; 4], |m| super::strides_of(m).map(|s| s as i64)),
            },
            way: match flash_channels(settings, dims.d) {
                Some(channels) if like.dtype() != DType::F64 => Way::Flash(channels),
                _ => Way::Plain,
            },
            dtype: like.dtype(),
        }
    }

    /// What scores are computed in.
    fn wide(&self) -> DType {
        computed(self.dtype)
    }

    fn sizes(&self) -> Sizes {
        let Dims {
            b,
            h,
            h_kv,
            t,
            s,
            d,
        } = self.dims;
        Sizes(
            [b, h, h_kv, t, s, d]
                .map(|n| u32::try_from(n).expect("a dim of attention fits 32 bits")),
        )
    }

    /// A block for so many rows of each head and batch. In shared memory are `rows_held` rows of channels for each thread of the plain kernels, or
    /// these tiles for those on tensor cores.
    fn grid(&self, rows: usize, heads: usize, rows_held: usize, tiles: &[Tile]) -> Grid {
        /// Shared memory that every card since Ampere gives a block.
        const SHARED: usize = 96 << 10;
        if let Way::Flash(channels) = self.way {
            let shared: usize = tiles.iter().map(|tile| tile.bytes(channels)).sum();
            return Grid {
                blocks: [rows.div_ceil(64) as u32, heads as u32, self.dims.b as u32],
                threads: 128,
                shared: shared as u32,
            };
        }
        let of_a_row = rows_held * self.dims.d * self.dtype.size_bytes();
        let width = [32, 16, 8, 4].into_iter().find(|w| w * of_a_row <= SHARED);
        let width = width.unwrap_or(2);
        Grid {
            blocks: [
                rows.div_ceil(width) as u32,
                heads as u32,
                self.dims.b as u32,
            ],
            threads: width as u32,
            shared: (width * of_a_row) as u32,
        }
    }

    /// # Safety
    /// The arguments are those of the kernel.
    unsafe fn launch(&self, name: &str, grid: Grid, arguments: &[&dyn Argument]) {
        let name = match self.way {
            Way::Plain => format!("{name}_{}", self.dtype.name()),
            Way::Flash(channels) => format!("flash_{name}_{channels}_{}", self.dtype.name()),
        };
        let kernel = Kernel {
            module: &MODULE,
            name: &name,
        };
        // SAFETY: the caller's.
        unsafe {
            self.gpu
                .launch("scaled_dot_product_attention", kernel, grid, arguments)
        };
    }
}

/// The channels that kernels on tensor cores compute with for heads of `d`; `None` where they are not to be used, or cannot.
pub(super) fn flash_channels(settings: &Settings, d: usize) -> Option<usize> {
    let channels = [32, 64, 128].into_iter().find(|&n| d <= n);
    channels.filter(|_| settings.compute == Compute::BF16)
}

fn steps(x: &Tensor) -> Steps {
    Steps(super::strides_of(x).map(|s: usize| s as i64))
}

fn target_steps(target: &Target) -> Steps {
    Steps(target.strides.map(|s| s as i64))
}

/// The output, `(B, T, H, D)`, and each query's logarithm of its sum of exponentials, `(B, H, T)`. Rows of the operands are contiguous.
pub(super) fn forward(
    gpu: &'static Gpu,
    dims: Dims,
    settings: &Settings,
    [q, k, v]: [&Tensor; 3],
) -> [Tensor; 2] {
    let Dims { b, h, t, d, .. } = dims;
    let call = Call::new(gpu, dims, settings, q);
    let room = |n: usize, dtype: DType| {
        Buffer::on(gpu, "scaled_dot_product_attention", n * dtype.size_bytes())
    };
    let out = room(b * h * t * d, call.dtype);
    let lse = room(b * h * t, call.wide());
    let out_steps = Steps([t * h * d, d, h * d].map(|s| s as i64));
    let (qs, ks, vs) = (steps(q), steps(k), steps(v));
    let (q_at, k_at, v_at) = (q.address(), k.address(), v.address());
    let arguments = arguments![
        out.address(),
        lse.address(),
        q_at,
        k_at,
        v_at,
        call.sizes(),
        out_steps,
        qs,
        ks,
        vs,
        call.rule
    ];
    // SAFETY: the arguments of the kernel, with the strides of the operands.
    unsafe { call.launch("forward", call.grid(t, h, 4, &[Tile::Rows; 4]), arguments) };
    [
        Tensor::from_buffer(out, [b, t, h, d], q.dtype()),
        Tensor::from_buffer(lse, [b, h, t], call.wide()),
    ]
}

/// A block's keys and values, and two stages of queries and their gradients.
const KEY_GRADIENT_TILES: [Tile; 6] = [
    Tile::Rows,
    Tile::Rows,
    Tile::Part,
    Tile::Part,
    Tile::Part,
    Tile::Part,
];

/// Gradients of queries, keys and values, given those and the output, to `targets`.
pub(super) fn backward(
    gpu: &'static Gpu,
    dims: Dims,
    settings: &Settings,
    [q, k, v, out]: [&Tensor; 4],
    grad: &Tensor,
    lse: &Tensor,
    targets: [Target; 3],
) {
    let Dims {
        b, h, h_kv, t, s, ..
    } = dims;
    let call = Call::new(gpu, dims, settings, q);
    let bytes = b * h * t * call.wide().size_bytes();
    let shares = Buffer::on(gpu, "scaled_dot_product_attention", bytes);
    let [dq, dk, dv] = targets;
    let (sizes, rule) = (call.sizes(), call.rule);
    let [qs, ks, vs, os, gs] = [q, k, v, out, grad].map(steps);
    let [q, k, v, out, grad, lse] = [q, k, v, out, grad, lse].map(Tensor::address);
    let shares = shares.address();
    let to = target_steps(&dq);
    let arguments = arguments![
        dq.at, shares, q, k, v, out, grad, lse, sizes, to, qs, ks, vs, os, gs, rule
    ];
    // SAFETY: the arguments of the kernel, with the strides of operands and targets.
    unsafe {
        call.launch(
            "query_gradients",
            call.grid(t, h, 5, &[Tile::Rows; 4]),
            arguments,
        )
    };
    let (k_to, v_to) = (target_steps(&dk), target_steps(&dv));
    let arguments = arguments![
        dk.at, dv.at, shares, q, k, v, grad, lse, sizes, k_to, v_to, qs, ks, vs, gs, rule
    ];
    // SAFETY: as above.
    unsafe {
        call.launch(
            "key_gradients",
            call.grid(s, h_kv, 6, &KEY_GRADIENT_TILES),
            arguments,
        )
    };
}
