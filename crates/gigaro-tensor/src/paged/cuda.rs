//! Pages on a card: f32, or bf16 where products compute in that.

use super::PagedCache;
use crate::device::cpu::gemm::Compute;
use crate::device::cuda::driver::{Grid, Kernel};
use crate::device::cuda::{Argument, Gpu, Module, arguments, module};
use crate::storage::Buffer;
use crate::{DType, Tensor};

pub(crate) static MODULE: Module = module!("paged");

/// `Shape` of `paged.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Shape {
    heads: [u32; 3],
    layer: u64,
}
impl Argument for Shape {}

/// `Token` of `paged.cu`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Token {
    /// The address of its page.
    pub(super) page: u64,
    /// Its place there.
    pub(super) slot: i64,
    /// Where the pages of its text begin in the list of all.
    pub(super) first: i64,
    /// How many keys it sees.
    pub(super) seen: i64,
}

/// Which tokens a call reads and where everything is, on the card; the same for all layers.
#[derive(Debug)]
pub(super) struct Table {
    tokens: Tensor,
    pages: Tensor,
}

impl Table {
    pub(super) fn new(gpu: &'static Gpu, tokens: &[Token], pages: &[u64]) -> Self {
        let there = |bytes: &[u8]| {
            Tensor::from_bytes(bytes, [bytes.len() / 8], DType::I64).to_device(gpu.device())
        };
        Self {
            tokens: there(bytemuck::cast_slice(tokens)),
            pages: there(bytemuck::cast_slice(pages)),
        }
    }
}

/// Channels of a head at most.
const MOST_CHANNELS: usize = 256;

/// What keys and values are held in.
fn held(compute: Compute) -> DType {
    match compute {
        Compute::BF16 => DType::BF16,
        Compute::F32 => DType::F32,
    }
}

impl PagedCache {
    fn layer_bytes(&self) -> usize {
        2 * self.h_kv * Self::PAGE_TOKENS * self.d * held(self.compute).size_bytes()
    }

    /// Bytes of a page on a card.
    pub(super) fn card_page_bytes(&self) -> usize {
        self.layers * self.layer_bytes()
    }

    /// A page of zeros.
    #[track_caller]
    pub(super) fn card_page(&self, gpu: &'static Gpu) -> Buffer {
        assert!(
            self.d <= MOST_CHANNELS,
            "PagedCache: heads of {} channels, and the kernel for cards takes up to {MOST_CHANNELS}",
            self.d
        );
        let page = Buffer::on(gpu, "PagedCache", self.card_page_bytes());
        gpu.clear(page.address(), page.bytes());
        page
    }

    fn shape(&self, h: usize, layer: usize) -> Shape {
        Shape {
            heads: [h, self.h_kv, self.d].map(|n| n as u32),
            layer: (layer * self.layer_bytes()) as u64,
        }
    }

    fn table(&self) -> &Table {
        self.table.as_ref().expect("reserve comes before")
    }

    /// Writes keys and values `(1, N, Hkv, D)` in f32.
    pub(super) fn write_on_card(&self, gpu: &'static Gpu, layer: usize, k: &Tensor, v: &Tensor) {
        let name = format!("write_{}", held(self.compute).name());
        let kernel = Kernel {
            module: &MODULE,
            name: &name,
        };
        let elements = k.numel();
        let grid = Grid {
            blocks: [elements.div_ceil(256) as u32, 1, 1],
            threads: 256,
            shared: 0,
        };
        let tokens = self.table().tokens.address();
        let arguments = arguments![
            tokens,
            elements as u64,
            k.address(),
            v.address(),
            self.shape(self.h_kv, layer)
        ];
        // SAFETY: the arguments of the kernel; the table names pages of this cache and places in them.
        unsafe { gpu.launch("PagedCache", kernel, grid, arguments) };
    }

    /// Attention of queries `(1, N, H, D)` in f32.
    pub(super) fn attend_on_card(&self, gpu: &'static Gpu, layer: usize, q: &Tensor) -> Tensor {
        let (n, h, d) = (q.size(1), q.size(2), self.d);
        let out = Buffer::on(gpu, "PagedCache", n * h * d * DType::F32.size_bytes());
        let name = format!("attend_{}", held(self.compute).name());
        let kernel = Kernel {
            module: &MODULE,
            name: &name,
        };
        let grid = Grid {
            blocks: [n as u32, h as u32, 1],
            threads: 128,
            shared: 0,
        };
        let Table { tokens, pages } = self.table();
        let scale = (1.0 / (d as f64).sqrt()) as f32;
        let (tokens, pages) = (tokens.address(), pages.address());
        let arguments = arguments![
            out.address(),
            q.address(),
            tokens,
            pages,
            scale,
            self.shape(h, layer)
        ];
        // SAFETY: the arguments of the kernel; the table names pages of this cache, which hold the keys that are seen.
        unsafe { gpu.launch("PagedCache", kernel, grid, arguments) };
        Tensor::from_buffer(out, [1, n, h * d], DType::F32)
    }
}
