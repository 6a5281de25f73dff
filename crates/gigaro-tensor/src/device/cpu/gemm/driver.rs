//! How a product of floats is cut into work for the micro-kernels.
//!
//! Large products run in two phases: both operands are packed, in parallel, then tiles of `C` of about
//! 112 by 256 are computed, in parallel, each through all of `k`. A product with few rows, where each
//! column of `B` is used only a few times, packs the columns of one tile just before use instead, so that
//! `B` streams through the cache once.
//!
//! Neither choice, nor any block size but the one along `k`, has an influence on the bits of the result.

use super::kernels::Kernels;
use super::pack::{Kind, Packer, Source};
use super::panels::{PackedColumns, PackedRows, group_of, group_size};
use super::split::Split;
use super::tile::{Columns, Region};
use super::{Compute, Data, DataMut, Shape};
use crate::device::cpu::scratch::Scratch;
use crate::device::cpu::threads::parallel_for;

/// Panels of `A` and of `B` in a tile of `C`.
const TILE_PANELS: (usize, usize) = (8, 8);
/// Tiles that a product should be cut into, so that the threads finish together.
const WANTED_TILES: usize = 40;
/// Up to so many rows, `B` is packed tile by tile.
const FEW_ROWS: usize = 64;
/// 32-bit words of packed `A`, and of packed `B`, at a time: half of a small last-level cache.
const CHUNK_WORDS: usize = 2 << 20;
/// Multiply-adds that are not worth waking another thread.
const SERIAL_WORK: usize = 1 << 19;

/// Where an operand begins.
#[derive(Clone, Copy)]
pub(super) struct Pointer {
    ptr: *const u8,
    kind: Kind,
}

/// Where the result begins.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) ptr: *mut u8,
    pub(super) kind: Kind,
}

impl Pointer {
    /// `None` unless the elements are floats narrower than f64.
    pub(super) fn of(data: Data<'_>) -> Option<Self> {
        match data {
            Data::F32(x) => Some(Self {
                ptr: x.as_ptr().cast(),
                kind: Kind::F32,
            }),
            Data::BF16(x) => Some(Self {
                ptr: x.as_ptr().cast(),
                kind: Kind::BF16,
            }),
            Data::F16(x) => Some(Self {
                ptr: x.as_ptr().cast(),
                kind: Kind::F16,
            }),
            Data::F64(_) | Data::I64(_) | Data::I32(_) => None,
        }
    }
}

impl Place {
    /// `None` unless the elements are floats narrower than f64.
    pub(super) fn of(data: &mut DataMut<'_>) -> Option<Self> {
        match data {
            DataMut::F32(x) => Some(Self {
                ptr: x.as_mut_ptr().cast(),
                kind: Kind::F32,
            }),
            DataMut::BF16(x) => Some(Self {
                ptr: x.as_mut_ptr().cast(),
                kind: Kind::BF16,
            }),
            DataMut::F16(x) => Some(Self {
                ptr: x.as_mut_ptr().cast(),
                kind: Kind::F16,
            }),
            DataMut::F64(_) | DataMut::I64(_) | DataMut::I32(_) => None,
        }
    }
}

/// One product, in the orientation in which it is computed.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    /// Lanes are rows.
    pub(super) a: Source,
    /// Lanes are columns.
    pub(super) b: Source,
    pub(super) c: Place,
    pub(super) rs: usize,
    pub(super) cs: usize,
    pub(super) accumulate: bool,
    /// Whether `C` is its own transpose, so that one triangle tells all.
    pub(super) symmetric: bool,
    pub(super) row_bias: *const f32,
    pub(super) col_bias: *const f32,
    /// Whether `a` and `b` are the caller's, transposed and exchanged.
    pub(super) swapped: bool,
    pub(super) kernels: Kernels,
    pub(super) pack_a: Packer,
    pub(super) pack_b: Packer,
}

// SAFETY: the pointers come from slices that are borrowed while the product runs; operands are only read, and
// tasks write to different elements of `c`, which `Gemm::check` found to be at different places.
unsafe impl Sync for Product {}

/// Computes the product for each entry of `offsets`; all of them at the same time if the results lie
/// `apart`.
pub(super) fn run(
    shape: &Shape,
    compute: Compute,
    operands: [Pointer; 2],
    c: Place,
    bias: Option<&[f32]>,
    offsets: &[[usize; 3]],
    apart: bool,
) {
    let product = Product::new(shape, compute, operands, c, bias);
    let work = shape.m * shape.n * shape.k.max(1);
    // Many small products are spread over the threads whole; large ones are cut up one by one.
    let whole = apart && offsets.len() > 1 && (offsets.len() >= 16 || work <= SERIAL_WORK);
    let group = if whole {
        SERIAL_WORK.div_ceil(work).min(offsets.len())
    } else {
        offsets.len()
    };
    for_each(whole, offsets.len().div_ceil(group), |g| {
        for offset in &offsets[g * group..((g + 1) * group).min(offsets.len())] {
            product.at(offset).run();
        }
    });
}

/// A loop that is parallel only if asked for.
pub(super) fn for_each(parallel: bool, n: usize, f: impl Fn(usize) + Sync) {
    if parallel {
        parallel_for(n, f)
    } else {
        (0..n).for_each(f)
    }
}

impl Product {
    fn new(
        s: &Shape,
        compute: Compute,
        [a, b]: [Pointer; 2],
        c: Place,
        bias: Option<&[f32]>,
    ) -> Self {
        let kernels = Kernels::pick(compute);
        let a = Source {
            ptr: a.ptr,
            kind: a.kind,
            lane: s.a.0,
            step: s.a.1,
        };
        let b = Source {
            ptr: b.ptr,
            kind: b.kind,
            lane: s.b.1,
            step: s.b.0,
        };
        let (pack_a, pack_b) = ((kernels.packer)(&a), (kernels.packer)(&b));
        let bias = bias.map_or(std::ptr::null(), <[f32]>::as_ptr);
        let this = Self {
            m: s.m,
            n: s.n,
            k: s.k,
            a,
            b,
            c,
            rs: s.c.0,
            cs: s.c.1,
            accumulate: s.accumulate,
            symmetric: s.symmetric,
            row_bias: std::ptr::null(),
            col_bias: bias,
            swapped: false,
            kernels,
            pack_a,
            pack_b,
        };
        // Columns of a tile should be neighbours in C; and a narrow C would leave vectors half empty.
        let transposed_c = s.n > 1 && s.c.1 != 1 && (s.c.0 == 1 || s.m == 1);
        let narrow = s.n <= kernels.nr / 2 && s.m > 2 * s.n;
        if transposed_c || narrow {
            this.transpose()
        } else {
            this
        }
    }

    /// The same product as `C^T = B^T A^T`.
    fn transpose(self) -> Self {
        Self {
            m: self.n,
            n: self.m,
            a: self.b,
            b: self.a,
            rs: self.cs,
            cs: self.rs,
            row_bias: self.col_bias,
            col_bias: self.row_bias,
            swapped: !self.swapped,
            pack_a: self.pack_b,
            pack_b: self.pack_a,
            ..self
        }
    }

    /// The product with its matrices moved; `offset` is in the caller's order of operands.
    fn at(&self, &[a, b, c]: &[usize; 3]) -> Self {
        let (a, b) = if self.swapped { (b, a) } else { (a, b) };
        let c = Place {
            ptr: self.c.ptr.wrapping_add(c * self.c.kind.size_bytes()),
            ..self.c
        };
        Self {
            a: self.a.offset(a),
            b: self.b.offset(b),
            c,
            ..*self
        }
    }

    fn run(&self) {
        let parallel = self.m * self.n * self.k.max(1) > SERIAL_WORK;
        if self.run_stream(parallel) {
            return;
        }
        if self.m <= FEW_ROWS {
            self.run_few_rows(parallel)
        } else {
            self.run_chunks(parallel)
        }
        if self.symmetric {
            self.mirror(parallel);
        }
    }

    /// Whether the micro-kernels can write to `C` itself.
    pub(super) fn is_direct(&self) -> bool {
        self.c.kind == Kind::F32 && (self.cs == 1 || self.n == 1)
    }

    /// The rows of `A`, cut into panels.
    pub(super) fn row_panels(&self) -> Split {
        Split::at_most(self.m, self.kernels.mr)
    }

    /// The blocks of `k`, in units.
    pub(super) fn blocks(&self) -> Split {
        Split::at_most(self.kernels.units(self.k), self.kernels.block_units)
    }

    /// All of `A` is packed, then each task takes some columns.
    fn run_few_rows(&self, parallel: bool) {
        let (units, nr) = (self.kernels.units(self.k), self.kernels.nr);
        let rows = self.row_panels();
        let mut packed = Scratch::take(self.m * units);
        let a = PackedRows {
            ptr: packed.as_mut_ptr(),
            rows,
            first: 0,
            units,
        };
        self.pack_rows(&a, 0..rows.parts());
        let columns = self.n.div_ceil(nr);
        let tiles = Split::at_most(columns, columns.div_ceil(WANTED_TILES).clamp(1, 4));
        for_each(parallel, tiles.parts(), |t| {
            let mut panel = Scratch::take(self.blocks().len(0) * nr);
            let region = Region {
                rows: 0..rows.parts(),
                columns: tiles.start(t)..tiles.start(t + 1),
            };
            self.compute(&region, &a, &Columns::Unpacked(panel.as_mut_ptr()));
        });
    }

    /// Both operands are packed, in chunks that fit the cache, then each task takes a tile of `C`.
    fn run_chunks(&self, parallel: bool) {
        let (units, mr, nr) = (self.kernels.units(self.k), self.kernels.mr, self.kernels.nr);
        let (rows, columns) = (self.row_panels(), self.n.div_ceil(nr));
        let per_chunk = |width: usize| (CHUNK_WORDS / (units.max(1) * width)).max(TILE_PANELS.0);
        let row_chunks = Split::at_most(rows.parts(), per_chunk(mr));
        let column_chunks = Split::at_most(columns, per_chunk(nr));
        let mut packed_a = Scratch::take(row_chunks.len(0) * mr * units);
        let mut packed_b = Scratch::take(column_chunks.len(0) * nr * units);
        for jc in 0..column_chunks.parts() {
            let j = column_chunks.start(jc)..column_chunks.start(jc + 1);
            let b = PackedColumns {
                ptr: packed_b.as_mut_ptr(),
                first: j.start,
                units,
            };
            for ic in 0..row_chunks.parts() {
                let i = row_chunks.start(ic)..row_chunks.start(ic + 1);
                let a = PackedRows {
                    ptr: packed_a.as_mut_ptr(),
                    rows,
                    first: i.start,
                    units,
                };
                let new_rows = if jc == 0 || row_chunks.parts() > 1 {
                    i.len()
                } else {
                    0
                };
                let new_columns = if ic == 0 { j.len() } else { 0 };
                let (together_a, together_b) = (group_size(&self.a, mr), group_size(&self.b, nr));
                let groups = new_columns.div_ceil(together_b);
                for_each(
                    parallel,
                    groups + new_rows.div_ceil(together_a),
                    |task| match task.checked_sub(groups) {
                        None => self.pack_columns(&b, group_of(&j, task, together_b)),
                        Some(task) => self.pack_rows(&a, group_of(&i, task, together_a)),
                    },
                );
                let (row_tiles, column_tiles) = tile_grid(i.len(), j.len());
                for_each(parallel, row_tiles.parts() * column_tiles.parts(), |task| {
                    let (ti, tj) = (task % row_tiles.parts(), task / row_tiles.parts());
                    let region = Region {
                        rows: i.start + row_tiles.start(ti)..i.start + row_tiles.start(ti + 1),
                        columns: j.start + column_tiles.start(tj)
                            ..j.start + column_tiles.start(tj + 1),
                    };
                    self.compute(&region, &a, &Columns::Packed(b));
                });
            }
        }
    }
}

/// Cuts so many panels of rows and of columns into tiles.
fn tile_grid(rows: usize, columns: usize) -> (Split, Split) {
    let (mut height, mut width) = TILE_PANELS;
    loop {
        let grid = (Split::at_most(rows, height), Split::at_most(columns, width));
        if grid.0.parts() * grid.1.parts() >= WANTED_TILES || (height <= 2 && width <= 2) {
            return grid;
        }
        if width >= height {
            width = width.div_ceil(2)
        } else {
            height = height.div_ceil(2)
        }
    }
}
