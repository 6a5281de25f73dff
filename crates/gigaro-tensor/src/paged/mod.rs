//! Keys and values of texts that are being written, in pages.
//!
//! A text's keys and values lie in pages of [`PagedCache::PAGE_TOKENS`] tokens each, which it gets as it grows and gives back when
//! it is cut short; so many texts of different lengths share the memory that there is. Texts that begin alike share the pages
//! of their beginning: a page counts its holders, and one that is about to be written to is copied first if it has several.
//!
//! Attention reads the pages as they lie, with the bits of [`scaled_dot_product_attention`](crate::functional) over all of a text. Not
//! here: which tokens are read when (a scheduler's business), and the layers around attention.
//!
//! # Reference
//! Kwon et al. (2023), "Efficient memory management for large language model serving with PagedAttention",
//! <https://arxiv.org/abs/2309.06180>

pub(crate) mod cuda;
#[cfg(test)]
mod tests;

use crate::device::cpu::attention::paged::{self, Layout, Span};
use crate::device::cpu::gemm::Compute;
use crate::device::cuda::{Gpu, gpu};
use crate::ops::precision;
use crate::storage::Buffer;
use crate::storage::pages::ask_for_huge;
use crate::{DType, Device, Tensor, functional};

/// Keys and values of some texts, for all layers of a model.
#[derive(Debug)]
pub struct PagedCache {
    layers: usize,
    h_kv: usize,
    d: usize,
    /// Tokens of a text at most.
    capacity: usize,
    /// Pages of all texts at most.
    most_pages: usize,
    compute: Compute,
    /// Where pages are.
    device: Device,
    /// On a card, what the call under way reads.
    table: Option<cuda::Table>,
    /// On a card, the table of calls that read a token of each text.
    steps: Option<cuda::Table>,
    layout: Layout,
    pages: Vec<Page>,
    /// Pages that nobody holds.
    free: Vec<usize>,
    texts: Vec<Text>,
}

/// All layers of some tokens.
struct Page {
    /// In main memory.
    words: Vec<u32>,
    /// On a card.
    card: Option<Buffer>,
    /// Texts that begin with it.
    holders: usize,
}

#[derive(Clone, Debug, Default)]
struct Text {
    pages: Vec<usize>,
    /// Tokens held.
    len: usize,
}

/// Tokens of a text in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose they are.
    pub text: usize,
    /// Tokens of the call before these.
    pub at: usize,
    /// How many there are.
    pub tokens: usize,
}

impl PagedCache {
    /// Tokens of a page.
    pub const PAGE_TOKENS: usize = paged::TOKENS;

    /// An empty cache for `texts` texts of at most `capacity` tokens, in a model of so many layers with `h_kv` heads of keys of `d`
    /// channels. Memory is taken as it is needed.
    #[must_use]
    pub fn new([layers, h_kv, d]: [usize; 3], texts: usize, capacity: usize) -> Self {
        let compute = precision();
        Self {
            layers,
            h_kv,
            d,
            capacity,
            most_pages: texts * capacity.div_ceil(Self::PAGE_TOKENS),
            compute,
            device: Device::Cpu,
            table: None,
            steps: None,
            layout: Layout::pick(h_kv, d, compute),
            pages: Vec::new(),
            free: Vec::new(),
            texts: vec![Text::default(); texts],
        }
    }

    /// The same with its pages on a device: that of the model whose texts they are.
    ///
    /// # Panics
    /// If the device is a card that was not opened, or pages were taken.
    #[must_use]
    #[track_caller]
    pub fn on(mut self, device: Device) -> Self {
        assert!(
            self.pages.is_empty(),
            "PagedCache: its pages are on {}",
            self.device
        );
        self.device = device;
        self
    }

    fn gpu(&self) -> Option<&'static Gpu> {
        match self.device {
            Device::Cpu => None,
            Device::Cuda(index) => Some(gpu(index)),
        }
    }

    /// The same with at most so many pages for all texts together.
    #[must_use]
    pub fn with_pages(mut self, pages: usize) -> Self {
        self.most_pages = pages;
        self
    }

    /// How many texts there may be.
    #[must_use]
    pub const fn texts(&self) -> usize {
        self.texts.len()
    }

    /// Tokens of a text at most.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens of a text.
    ///
    /// # Panics
    /// If there is no such text.
    #[must_use]
    #[track_caller]
    pub fn len(&self, text: usize) -> usize {
        self.texts[text].len
    }

    /// Pages that can still be had.
    #[must_use]
    pub fn free_pages(&self) -> usize {
        self.free.len() + self.most_pages.saturating_sub(self.pages.len())
    }

    /// Pages of a text that nobody else holds: what it gives back when it is forgotten.
    ///
    /// # Panics
    /// If there is no such text.
    #[must_use]
    #[track_caller]
    pub fn own_pages(&self, text: usize) -> usize {
        let pages = self.texts[text].pages.iter();
        pages.filter(|&&page| self.pages[page].holders == 1).count()
    }

    /// Bytes of a page.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        if self.device != Device::Cpu {
            return self.card_page_bytes();
        }
        self.layers * self.layout.words() * 4
    }

    /// Forgets a text's tokens from position `len` on.
    ///
    /// # Panics
    /// If there are not as many, or no such text.
    #[track_caller]
    pub fn truncate(&mut self, text: usize, len: usize) {
        let held = self.texts[text].len;
        assert!(
            len <= held,
            "PagedCache: cannot keep {len} of {held} tokens of text {text}"
        );
        // A call that was cut short may have left pages behind the last token.
        let kept = len
            .div_ceil(Self::PAGE_TOKENS)
            .min(self.texts[text].pages.len());
        for page in self.texts[text].pages.split_off(kept) {
            self.release(page);
        }
        self.texts[text].len = len;
    }

    /// Lets text `to` begin with the first `len` tokens of text `from`, instead of what it held: whole pages are shared.
    ///
    /// # Panics
    /// If there is no such text, both are the same, or `from` does not hold as many tokens.
    #[track_caller]
    pub fn copy_prefix(&mut self, from: usize, to: usize, len: usize) {
        let held = self.texts[from].len;
        assert!(
            from != to && len <= held,
            "PagedCache: cannot copy {len} of {held} tokens of text {from} to text {to}"
        );
        self.truncate(to, 0);
        let pages = self.texts[from].pages[..len.div_ceil(Self::PAGE_TOKENS)].to_vec();
        for &page in &pages {
            self.pages[page].holders += 1;
        }
        self.texts[to] = Text { pages, len };
    }

    /// Forgets all texts, whatever a call that was cut short has left.
    pub fn clear(&mut self) {
        for text in 0..self.texts.len() {
            self.truncate(text, 0);
        }
    }

    /// Pages that writing `tokens` more tokens of a text takes.
    ///
    /// # Panics
    /// If there is no such text.
    #[must_use]
    #[track_caller]
    pub fn pages_for(&self, text: usize, tokens: usize) -> usize {
        let Text { pages, len } = &self.texts[text];
        let more = (len + tokens)
            .div_ceil(Self::PAGE_TOKENS)
            .saturating_sub(pages.len());
        more + usize::from(tokens > 0 && self.shared_last(text).is_some())
    }

    /// The last page of a text if it is neither full nor the text's own.
    fn shared_last(&self, text: usize) -> Option<usize> {
        let Text { pages, len } = &self.texts[text];
        let last = *pages.get(len / Self::PAGE_TOKENS)?;
        (self.pages[last].holders > 1).then_some(last)
    }

    /// Makes room for the tokens of a call; they are then [written](Self::write) layer by layer.
    ///
    /// # Panics
    /// If there is no room, a text is missing or named twice, or the precision of products has changed since tokens were
    /// written.
    #[track_caller]
    pub fn reserve(&mut self, parts: &[Part]) {
        self.settle_layout();
        let mut named = vec![false; self.texts.len()];
        for &Part { text, tokens, .. } in parts {
            assert!(
                text < named.len() && !named[text],
                "PagedCache: text {text} of {} is missing or named twice",
                named.len()
            );
            named[text] = true;
            let held = self.texts[text].len;
            assert!(
                held + tokens <= self.capacity,
                "PagedCache: {tokens} more tokens for text {text}, {held} of {} held",
                self.capacity
            );
            self.make_room(text, tokens);
        }
        self.table = self.gpu().map(|gpu| self.table_of(gpu, parts));
    }

    /// What a card must know of a call.
    fn table_of(&mut self, gpu: &'static Gpu, parts: &[Part]) -> cuda::Table {
        let (mut tokens, mut all) = (Vec::new(), Vec::new());
        for part in parts {
            let Text { pages, len } = &self.texts[part.text];
            let first = all.len();
            let address = |&page: &usize| self.pages[page].card.as_ref().map_or(0, Buffer::address);
            all.extend(pages.iter().map(address));
            tokens.extend((*len..len + part.tokens).map(|at| cuda::Token {
                page: all[first + at / Self::PAGE_TOKENS],
                slot: (at % Self::PAGE_TOKENS) as i64,
                first: first as i64,
                seen: at as i64 + 1,
            }));
        }
        self.placed(gpu, &tokens, &all)
    }

    #[track_caller]
    fn make_room(&mut self, text: usize, tokens: usize) {
        if tokens > 0
            && let Some(shared) = self.shared_last(text)
        {
            let own = self.take();
            self.copy_page(shared, own);
            self.release(shared);
            let place = self.texts[text].len / Self::PAGE_TOKENS;
            self.texts[text].pages[place] = own;
        }
        let needed = (self.texts[text].len + tokens).div_ceil(Self::PAGE_TOKENS);
        while self.texts[text].pages.len() < needed {
            let page = self.take();
            self.texts[text].pages.push(page);
        }
    }

    fn copy_page(&mut self, from: usize, to: usize) {
        let [from, to] = self.pages.get_disjoint_mut([from, to]).expect("two pages");
        to.words.copy_from_slice(&from.words);
        if let (Some(from), Some(to)) = (&from.card, &to.card)
            && let Device::Cuda(index) = to.device()
        {
            gpu(index).copy(to.address(), from.address(), to.bytes());
        }
    }

    /// A page of zeros: attention may multiply what lies behind a text by a weight of zero, and a model whose training diverged may
    /// have left what is no number there.
    #[track_caller]
    fn take(&mut self) -> usize {
        let words = self.layers * self.layout.words();
        let page = self.free.pop().unwrap_or_else(|| {
            assert!(
                self.pages.len() < self.most_pages,
                "PagedCache: all {} pages are in use",
                self.most_pages
            );
            self.pages.push(Page {
                words: Vec::new(),
                card: None,
                holders: 0,
            });
            self.pages.len() - 1
        });
        if let Some(gpu) = self.gpu() {
            self.pages[page].card = Some(self.card_page(gpu));
            self.pages[page].holders = 1;
            return page;
        }
        let Page {
            words: held,
            holders,
            ..
        } = &mut self.pages[page];
        if held.capacity() < words {
            *held = Vec::with_capacity(words);
            ask_for_huge(held.as_mut_ptr().cast(), words * 4);
        }
        held.clear();
        held.resize(words, 0);
        *holders = 1;
        page
    }

    fn release(&mut self, page: usize) {
        self.pages[page].holders -= 1;
        if self.pages[page].holders == 0 {
            // To the card's own cache; main memory is kept, since the system takes its time to give it.
            self.pages[page].card = None;
            self.free.push(page);
        }
    }

    /// An empty cache takes on the precision that products have now.
    #[track_caller]
    fn settle_layout(&mut self) {
        let compute = precision();
        if compute == self.compute {
            return;
        }
        assert!(
            self.texts.iter().all(|text| text.len == 0),
            "PagedCache: its tokens were written in {:?} and are to be read in {compute:?}; keep to one autocast, or forget them",
            self.compute
        );
        self.compute = compute;
        self.layout = Layout::pick(self.h_kv, self.d, compute);
    }

    /// Writes a layer's keys and values of the tokens that were [reserved](Self::reserve).
    ///
    /// # Shapes
    /// `k, v: (1, N, Hkv, D)`
    /// # Panics
    /// If shapes do not fit.
    #[track_caller]
    pub fn write(&mut self, layer: usize, parts: &[Part], k: &Tensor, v: &Tensor) {
        let width = self.h_kv * self.d;
        let [k, v] = [k, v].map(|x| self.here(x));
        // Values to which something was added may be wider than keys.
        let v = v.to_dtype(k.dtype());
        assert!(
            *k.shape() == [1, k.size(1), self.h_kv, self.d] && k.shape() == v.shape(),
            "PagedCache: keys {:?} and values {:?}",
            k.shape(),
            v.shape()
        );
        if let Some(gpu) = self.gpu() {
            return self.write_on_card(gpu, layer, &k, &v);
        }
        let (k, v) = (k.data::<f32>(), v.data::<f32>());
        let words = self.layout.words();
        for part in parts {
            let Text { pages, len } = &self.texts[part.text];
            for i in 0..part.tokens {
                let (token, from) = (len + i, (part.at + i) * width);
                let page = &mut self.pages[pages[token / Self::PAGE_TOKENS]];
                let layer = &mut page.words[layer * words..][..words];
                let slot = token % Self::PAGE_TOKENS;
                self.layout
                    .write(layer, slot, &k[from..][..width], &v[from..][..width]);
            }
        }
    }

    /// Attention of the tokens that were [written](Self::write), each over its text up to itself; heads joined.
    ///
    /// # Shapes
    /// `q: (1, N, H, D)` -> `(1, N, H D)`
    /// # Panics
    /// If shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn attend(&self, layer: usize, parts: &[Part], q: &Tensor) -> Tensor {
        let (n, h, d) = (q.size(1), q.size(2), self.d);
        assert!(
            *q.shape() == [1, n, h, d] && h.is_multiple_of(self.h_kv),
            "PagedCache: queries {:?} for {} heads of {d}",
            q.shape(),
            self.h_kv
        );
        let device = q.device();
        let q = self.here(q);
        if let Some(gpu) = self.gpu() {
            return self.attend_on_card(gpu, layer, &q).to_device(device);
        }
        let spans: Vec<Span<'_>> = parts.iter().map(|part| self.span(layer, part)).collect();
        if !self.layout.is_packed() {
            return self.attend_rows(&spans, &q).to_device(device);
        }
        let mut out = Buffer::scratch::<f32>(n * h * d);
        let scale = (1.0 / (d as f64).sqrt()) as f32;
        let to = &mut out.as_mut::<f32>()[..n * h * d];
        paged::forward(
            &self.layout,
            &spans,
            h,
            scale,
            &q.data::<f32>()[..n * h * d],
            to,
            self.compute,
        );
        Tensor::from_buffer(out, [1, n, h * d], DType::F32).to_device(device)
    }

    fn span(&self, layer: usize, part: &Part) -> Span<'_> {
        let words = self.layout.words();
        let Text { pages, len } = &self.texts[part.text];
        let of_layer = |page: &usize| &self.pages[*page].words[layer * words..][..words];
        Span {
            pages: pages.iter().map(of_layer).collect(),
            start: *len,
            at: part.at,
            tokens: part.tokens,
        }
    }

    /// [`PagedCache::attend`] where there is no kernel that reads pages: the op, text by text.
    fn attend_rows(&self, spans: &[Span<'_>], q: &Tensor) -> Tensor {
        let (h, d) = (q.size(2), self.d);
        let parts: Vec<Tensor> = spans
            .iter()
            .map(|span| {
                let keys = span.start + span.tokens;
                let [k, v] = self.rows_of(span, keys);
                let q = q.narrow(1, span.at, span.tokens).transpose(1, 2);
                let y = functional::scaled_dot_product_attention(&q, &k, &v, None, true, None);
                y.transpose(1, 2).reshape([1, span.tokens, h * d])
            })
            .collect();
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1)
    }

    /// The first `keys` keys and values of a text: `(1, Hkv, keys, D)` each.
    fn rows_of(&self, span: &Span<'_>, keys: usize) -> [Tensor; 2] {
        let mut found = [const { Vec::<f32>::new() }; 2];
        for head in 0..self.h_kv {
            for (i, page) in span.pages.iter().enumerate() {
                let tokens = keys
                    .saturating_sub(i * Self::PAGE_TOKENS)
                    .min(Self::PAGE_TOKENS);
                let rows = self.layout.rows(page, head, tokens);
                for (to, rows) in found.iter_mut().zip(rows) {
                    to.extend(rows.iter().map(|&bits| f32::from_bits(bits)));
                }
            }
        }
        found.map(|x| Tensor::from_vec(x, [1, self.h_kv, keys, self.d]))
    }

    /// Where pages are, as kernels read it.
    fn here(&self, x: &Tensor) -> Tensor {
        let dtype = match self.gpu() {
            Some(_) => self.taken_as(x.dtype()),
            None => DType::F32,
        };
        x.detach()
            .to_device(self.device)
            .to_dtype(dtype)
            .contiguous()
    }

    /// Counts the tokens of a call as held, after all layers have written them.
    ///
    /// # Panics
    /// If they were not [reserved](Self::reserve).
    #[track_caller]
    pub fn advance(&mut self, parts: &[Part]) {
        for &Part { text, tokens, .. } in parts {
            let Text { pages, len } = &mut self.texts[text];
            *len += tokens;
            assert!(
                *len <= pages.len() * Self::PAGE_TOKENS,
                "PagedCache: text {text} has no room"
            );
        }
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page")
            .field("holders", &self.holders)
            .finish_non_exhaustive()
    }
}
