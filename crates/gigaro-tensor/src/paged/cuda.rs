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
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// [`Token`]s, as words.
    tokens: Tensor,
    pages: Tensor,
}

/// Words of a [`Token`].
const WORDS: usize = size_of::<Token>() / 8;

fn words<T: bytemuck::Pod>(values: &[T]) -> Tensor {
    let bytes: &[u8] = bytemuck::cast_slice(values);
    Tensor::from_bytes(bytes, [bytes.len() / 8], DType::I64)
}

impl Table {
    pub(super) fn new(gpu: &'static Gpu, tokens: &[Token], pages: &[u64]) -> Self {
        Self {
            tokens: words(tokens).to_device(gpu.device()),
            pages: words(pages).to_device(gpu.device()),
        }
    }

    /// Room for so many.
    fn with_room(gpu: &'static Gpu, tokens: usize, pages: usize) -> Self {
        let zeros = |n: usize| Tensor::zeros([n], DType::I64, gpu.device());
        Self {
            tokens: zeros(tokens * WORDS),
            pages: zeros(pages),
        }
    }

    /// Takes these in the place of what was there.
    fn set(&self, tokens: &[Token], pages: &[u64]) {
        for (to, from) in [(&self.tokens, words(tokens)), (&self.pages, words(pages))] {
            to.narrow(0, 0, from.numel()).copy_(&from);
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

    /// The table of a call. One of a token for each text has its place, so that a captured step finds it there every time.
    pub(super) fn placed(&mut self, gpu: &'static Gpu, tokens: &[Token], pages: &[u64]) -> Table {
        if tokens.len() > self.texts.len() {
            return Table::new(gpu, tokens, pages);
        }
        let most = self.texts.len() * self.capacity.div_ceil(Self::PAGE_TOKENS);
        let texts = self.texts.len();
        let steps = self
            .steps
            .get_or_insert_with(|| Table::with_room(gpu, texts, most));
        steps.set(tokens, pages);
        steps.clone()
    }

    fn table(&self) -> &Table {
        self.table.as_ref().expect("reserve comes before")
    }

    /// What kernels take what is of `dtype` as: bf16 if pages are in that too, else f32.
    pub(super) fn taken_as(&self, dtype: DType) -> DType {
        match (dtype, held(self.compute)) {
            (DType::BF16, DType::BF16) => DType::BF16,
            _ => DType::F32,
        }
    }

    /// Writes keys and values `(1, N, Hkv, D)` in f32 or, into pages of such, bf16.
    pub(super) fn write_on_card(&self, gpu: &'static Gpu, layer: usize, k: &Tensor, v: &Tensor) {
        let name = format!("write_{}_{}", held(self.compute).name(), k.dtype().name());
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

    /// Attention of queries `(1, N, H, D)` in f32 or, over pages of such, bf16; the result is of their dtype.
    pub(super) fn attend_on_card(&self, gpu: &'static Gpu, layer: usize, q: &Tensor) -> Tensor {
        let (n, h, d) = (q.size(1), q.size(2), self.d);
        let out = Buffer::on(gpu, "PagedCache", q.numel() * q.dtype().size_bytes());
        let name = format!("attend_{}_{}", held(self.compute).name(), q.dtype().name());
        let kernel = Kernel {
            module: &MODULE,
            name: &name,
        };
        let grid = Grid {
            blocks: [n as u32, h as u32, 1],
            threads: 512,
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
        Tensor::from_buffer(out, [1, n, h * d], q.dtype())
    }
}
