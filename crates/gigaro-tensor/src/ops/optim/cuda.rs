//! Optimiser steps and norms on a card, of many tensors in a launch.

use super::{AdamSlot, PIECE};
use crate::device::cuda::driver::{Address, Grid, Kernel};
use crate::device::cuda::launches::THREADS;
use crate::device::cuda::{Argument, Gpu, Module, arguments, module};
use crate::storage::Buffer;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("optim");

/// Tensors of a launch: as many as fit into the 4 KB that a kernel's arguments may have.
pub(super) const TENSORS: usize = 80;
/// What addresses are multiples of, so that four f64 can be read at once.
pub(super) const ALIGN: Address = 32;

/// `Table` of `optim.cu`: which block works on which tensor.
#[repr(C)]
#[derive(Clone, Copy)]
struct Table<const K: usize> {
    at: [[Address; TENSORS]; K],
    elements: [u64; TENSORS],
    /// Where the blocks of each tensor begin, and where those of the last end.
    first_block: [u32; TENSORS + 1],
    tensors: u32,
}
impl<const K: usize> Argument for Table<K> {}

impl<const K: usize> Table<K> {
    /// A table of tensors by their addresses and numbers of elements, at most [`TENSORS`].
    fn new(tensors: impl Iterator<Item = ([Address; K], usize)>) -> Self {
        let mut table = Self {
            at: [[0; TENSORS]; K],
            elements: [0; TENSORS],
            first_block: [0; TENSORS + 1],
            tensors: 0,
        };
        for (t, (addresses, n)) in tensors.enumerate() {
            for (k, at) in addresses.into_iter().enumerate() {
                table.at[k][t] = at;
            }
            table.elements[t] = n as u64;
            let blocks = u32::try_from(n.div_ceil(PIECE)).expect("a tensor on a card");
            table.first_block[t + 1] = table.first_block[t] + blocks;
            table.tensors = t as u32 + 1;
        }
        table
    }

    fn blocks(&self) -> u32 {
        self.first_block[self.tensors as usize]
    }

    fn grid(&self) -> Grid {
        Grid {
            blocks: [self.blocks(), 1, 1],
            threads: THREADS,
            shared: 0,
        }
    }
}

fn kernel(name: &str) -> Kernel<'_> {
    Kernel {
        module: &MODULE,
        name,
    }
}

/// One step of at most [`TENSORS`] parameters of one dtype, all checked; `rules` with the place of the first one's.
pub(super) fn adamw(
    gpu: &'static Gpu,
    slots: &[AdamSlot<'_>],
    grads: &[Tensor],
    (rules, first): (&Tensor, usize),
    clip: Option<&Tensor>,
) {
    let table = Table::new(slots.iter().zip(grads).map(|(slot, grad)| {
        let addresses = [
            slot.param.address_to_write(),
            grad.address(),
            slot.exp_avg.address_to_write(),
            slot.exp_avg_sq.address_to_write(),
        ];
        (addresses, grad.numel())
    }));
    let name = format!("adamw_{}", slots[0].param.dtype().name());
    let arguments = arguments![
        table,
        rules.address(),
        first as u32,
        clip.map_or(0, Tensor::address)
    ];
    // SAFETY: the arguments of the kernel; four blocks of as many elements as the table says for each slot, and a rule.
    unsafe { gpu.launch("adamw_", kernel(&name), table.grid(), arguments) };
}

/// The norm of contiguous tensors, and the factor that clips it.
pub(super) fn norm_and_clip(gpu: &'static Gpu, tensors: &[Tensor], max_norm: f64) -> Tensor {
    let parts: usize = tensors.iter().map(|t| t.numel().div_ceil(PIECE)).sum();
    let sums = Buffer::on(gpu, "norm", parts * DType::F64.size_bytes());
    let mut done = 0;
    for alike in tensors.chunk_by(|a, b| a.dtype() == b.dtype()) {
        for part in alike.chunks(TENSORS) {
            let table = Table::new(part.iter().map(|t| ([t.address()], t.numel())));
            let name = format!("squared_norm_{}", part[0].dtype().name());
            let to = sums.address() + done * DType::F64.size_bytes() as u64;
            let grid = table.grid();
            // SAFETY: the arguments of the kernel; as many elements as the table says, and a place for each of its blocks.
            unsafe { gpu.launch("norm", kernel(&name), grid, arguments![to, table]) };
            done += u64::from(table.blocks());
        }
    }
    let out = Buffer::on(gpu, "norm", 2 * DType::F64.size_bytes());
    let grid = Grid {
        blocks: [1, 1, 1],
        threads: THREADS,
        shared: 0,
    };
    let arguments = arguments![out.address(), sums.address(), done, max_norm];
    // SAFETY: the arguments of the kernel; `done` sums, and two places for the result.
    unsafe { gpu.launch("norm", kernel("norm_and_clip"), grid, arguments) };
    Tensor::from_buffer(out, [2], DType::F64)
}
