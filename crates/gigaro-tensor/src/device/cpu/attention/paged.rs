//! Attention over keys and values that are kept for later queries, in pages: packed once, when they are written, as the kernel
//! reads them.
//!
//! A page holds a block of tokens for all heads of a layer: keys, then values, head after head. Where there are kernels, a head's part is the
//! panels that [`forward`](super::forward) makes of a block each time; so what is computed here has the bits of what is computed
//! there. Elsewhere it is rows of f32.

use super::Dims;
use crate::device::cpu::gemm::Compute;
use half::bf16;

#[cfg(target_arch = "x86_64")]
use super::{
    Rule,
    forward::{Forward, Keys},
    kernel::NR,
    panels::{BLOCK_K, Head, Precision, Queries},
};
#[cfg(target_arch = "x86_64")]
use crate::device::cpu::gemm::pack::Kind;
#[cfg(target_arch = "x86_64")]
use crate::device::cpu::threads::{SendPtr, parallel_for};

/// Tokens of a page: a block of the kernel.
pub(crate) const TOKENS: usize = 128;
/// Columns of a panel.
const PANEL: usize = 32;

#[cfg(target_arch = "x86_64")]
const _: () = assert!(TOKENS == BLOCK_K && PANEL == NR);

/// How numbers lie in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    /// Rows of f32, for machines without a kernel.
    Rows,
    /// Panels of f32, rounded to bf16 first or not.
    Single { round: bool },
    /// Panels of pairs in bf16.
    Pairs,
}

/// What a layer of a page looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    h_kv: usize,
    d: usize,
    packing: Packing,
}

impl Layout {
    /// The layout for the thread's instruction set.
    pub(crate) fn pick(h_kv: usize, d: usize, compute: Compute) -> Self {
        let packing = if !super::is_supported(d) {
            Packing::Rows
        } else if per_unit(compute) == 2 {
            Packing::Pairs
        } else {
            Packing::Single {
                round: compute == Compute::BF16,
            }
        };
        Self { h_kv, d, packing }
    }

    /// Whether [`forward`] reads it.
    pub(crate) fn is_packed(&self) -> bool {
        self.packing != Packing::Rows
    }

    /// 32-bit words of a layer of a page.
    pub(crate) const fn words(&self) -> usize {
        self.h_kv * (self.key_words() + self.value_words())
    }

    const fn key_words(&self) -> usize {
        match self.packing {
            Packing::Rows | Packing::Single { .. } => TOKENS * self.d,
            Packing::Pairs => TOKENS * self.d.div_ceil(2),
        }
    }

    const fn value_words(&self) -> usize {
        let width = self.d.next_multiple_of(PANEL);
        match self.packing {
            Packing::Rows => TOKENS * self.d,
            Packing::Single { .. } => TOKENS * width,
            Packing::Pairs => TOKENS / 2 * width,
        }
    }

    /// Where the keys, and where the values, of a head begin.
    const fn head(&self, head: usize) -> [usize; 2] {
        let keys = head * self.key_words();
        [
            keys,
            self.h_kv * self.key_words() + head * self.value_words(),
        ]
    }

    /// Writes the keys and values of one token, `(Hkv, D)` each, into a layer of a page.
    pub(crate) fn write(&self, words: &mut [u32], slot: usize, k: &[f32], v: &[f32]) {
        let d = self.d;
        for (head, (k, v)) in k.chunks_exact(d).zip(v.chunks_exact(d)).enumerate() {
            let [keys, values] = self.head(head);
            let key = keys + slot / PANEL * PANEL * self.units(d) + slot % PANEL;
            let value = |i: usize| values + i / PANEL * PANEL * self.units(TOKENS) + i % PANEL;
            match self.packing {
                Packing::Rows => {
                    let row = slot * d..(slot + 1) * d;
                    words[keys..][row.clone()].copy_from_slice(bytemuck::cast_slice(k));
                    words[values..][row].copy_from_slice(bytemuck::cast_slice(v));
                }
                Packing::Single { round } => {
                    let bits =
                        |x: f32| if round { bf16::from_f32(x).to_f32() } else { x }.to_bits();
                    for (i, &x) in k.iter().enumerate() {
                        words[key + i * PANEL] = bits(x);
                    }
                    for (i, &x) in v.iter().enumerate() {
                        words[value(i) + slot * PANEL] = bits(x);
                    }
                }
                Packing::Pairs => {
                    for (i, &x) in k.iter().enumerate() {
                        set_half(&mut words[key + i / 2 * PANEL], i % 2, x);
                    }
                    for (i, &x) in v.iter().enumerate() {
                        set_half(&mut words[value(i) + slot / 2 * PANEL], slot % 2, x);
                    }
                }
            }
        }
    }

    /// Units of a panel for so many elements along the summed dim.
    const fn units(&self, elements: usize) -> usize {
        match self.packing {
            Packing::Pairs => elements.div_ceil(2),
            _ => elements,
        }
    }

    /// The keys and the values of `tokens` tokens of one head as rows, `(tokens, D)`, from a layer of a page of rows.
    pub(crate) fn rows<'a>(&self, words: &'a [u32], head: usize, tokens: usize) -> [&'a [u32]; 2] {
        self.head(head).map(|at| &words[at..][..tokens * self.d])
    }
}

/// Puts a number into the lower or the upper half of a pair.
fn set_half(unit: &mut u32, half: usize, x: f32) {
    let bits = u32::from(bf16::from_f32(x).to_bits());
    *unit = match half {
        0 => *unit & 0xffff_0000 | bits,
        _ => *unit & 0xffff | bits << 16,
    };
}

/// Elements in a unit of the kernels of this thread.
fn per_unit(compute: Compute) -> usize {
    #[cfg(target_arch = "x86_64")]
    return Precision::pick(compute).per_unit;
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = compute;
        1
    }
}

/// Some tokens that follow one another, and the pages that hold what they look back at, themselves included.
#[derive(Debug)]
pub(crate) struct Span<'a> {
    /// The layer's words of each page, in order.
    pub(crate) pages: Vec<&'a [u32]>,
    /// Tokens before these.
    pub(crate) start: usize,
    /// Which of the queries are theirs.
    pub(crate) at: usize,
    /// How many there are.
    pub(crate) tokens: usize,
}

/// Attention of the queries of all spans, each token over those before it and itself.
///
/// # Shapes
/// `q, out: (N, H, D)` without gaps
/// # Panics
/// If the layout is not packed, or a slice or the pages are too short.
#[cfg(target_arch = "x86_64")]
pub(crate) fn forward(
    layout: &Layout,
    spans: &[Span<'_>],
    h: usize,
    scale: f32,
    q: &[f32],
    out: &mut [f32],
    compute: Compute,
) {
    let width = h * layout.d;
    assert!(layout.is_packed() && h.is_multiple_of(layout.h_kv) && q.len() == out.len());
    for span in spans {
        assert!((span.at + span.tokens) * width <= q.len());
        assert!(span.pages.len() * TOKENS >= span.start + span.tokens);
        assert!(span.pages.iter().all(|page| page.len() == layout.words()));
    }
    let pass = Pass {
        layout,
        h,
        scale,
        precision: Precision::pick(compute),
        q,
        out: SendPtr::new(out.as_mut_ptr()),
    };
    let tasks: Vec<Task<'_>> = spans.iter().flat_map(|span| pass.tasks(span)).collect();
    parallel_for(tasks.len(), |task| {
        // SAFETY: the pages hold all keys, `q` and `out` all rows, and each task has its own.
        unsafe { pass.run(&tasks[task]) };
    });
}

/// What all tasks of a call share.
#[cfg(target_arch = "x86_64")]
struct Pass<'a> {
    layout: &'a Layout,
    h: usize,
    scale: f32,
    precision: Precision,
    q: &'a [f32],
    out: SendPtr<f32>,
}

/// Some queries of a span over the keys of one head.
#[cfg(target_arch = "x86_64")]
struct Task<'a> {
    span: &'a Span<'a>,
    /// The head of the keys, for a single token; else that of the queries.
    head: usize,
    chunk: usize,
}

#[cfg(target_arch = "x86_64")]
impl Pass<'_> {
    /// A single token is the same query in all heads that share keys, so these are rows of one task; more tokens go head by head, a chunk at
    /// a time.
    fn tasks<'a>(&self, span: &'a Span<'a>) -> impl Iterator<Item = Task<'a>> + use<'a> {
        let (heads, chunks) = match span.tokens {
            1 => (self.layout.h_kv, 1),
            n => (self.h, n.div_ceil(CHUNK)),
        };
        (0..heads * chunks).map(move |task| Task {
            span,
            head: task / chunks,
            chunk: task % chunks,
        })
    }

    /// # Safety
    /// The pages hold all keys that the queries see, `q` and the output all rows, and nobody else writes this task's.
    unsafe fn run(&self, &Task { span, head, chunk }: &Task<'_>) {
        let (layout, d) = (self.layout, self.layout.d);
        let (group, width) = (self.h / layout.h_kv, self.h * d);
        let single = span.tokens == 1;
        let (kv_head, first, t, stride) = match single {
            true => (head, head * group, group, d),
            false => (head / group, head, span.tokens, width),
        };
        let [k, v] = layout.head(kv_head);
        let place = |page: &&[u32]| (page[k..].as_ptr(), page[v..].as_ptr());
        let blocks: Vec<(*const u32, *const u32)> = span.pages.iter().map(place).collect();
        let dims = Dims {
            b: 1,
            h: 1,
            h_kv: 1,
            t,
            s: span.start + span.tokens,
            d,
        };
        let rule = Rule {
            scale: self.scale,
            causal: !single,
            mask: None,
        };
        let pass = Forward {
            dims: &dims,
            rule: &rule,
            precision: self.precision,
            at: (0, 0),
            queries: Queries::new(chunk * CHUNK..((chunk + 1) * CHUNK).min(t)),
            keys: Keys::Packed(&blocks),
        };
        let at = span.at * width + first * d;
        let q = Head {
            ptr: self.q[at..].as_ptr().cast(),
            kind: Kind::F32,
            stride,
        };
        // SAFETY: passed on to the caller.
        unsafe { pass.run(&q, self.out.get().wrapping_add(at), stride, None) };
    }
}

/// Queries of a task.
#[cfg(target_arch = "x86_64")]
const CHUNK: usize = super::forward::CHUNK;

/// There is no kernel here, so no layout is packed.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn forward(
    _: &Layout,
    _: &[Span<'_>],
    _: usize,
    _: f32,
    _: &[f32],
    _: &mut [f32],
    _: Compute,
) {
    unreachable!("no layout is packed on this machine")
}
