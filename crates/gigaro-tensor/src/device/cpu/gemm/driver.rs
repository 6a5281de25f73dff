//! How a product of floats is cut into work for the micro-kernels.
//!
//! Large products run in two phases: both operands are packed, in parallel, then tiles of `C` of about
//! 112 by 256 are computed, in parallel, each through all of `k`. A product with few rows, where each
//! column of `B` is used only a few times, packs the columns of one tile just before use instead, so that
//! `B` streams through the cache once.
//!
//! Neither choice, nor any block size but the one along `k`, has an influence on the bits of the result.

use super::kernels::{Kernels, Tile};
use super::pack::{Kind, Packer, Piece, Source, Widen};
use super::split::Split;
use super::{Compute, Data, DataMut, Shape};
use crate::device::cpu::scratch::Scratch;
use crate::device::cpu::threads::parallel_for;
use half::{bf16, f16};
use std::ops::Range;

/// Units of `k` in a block: 14 rows of it fill most of the first-level cache. Part of what fixes the bits of
/// the result.
const BLOCK_UNITS: usize = 512;
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
    ptr: *mut u8,
    kind: Kind,
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
struct Product {
    m: usize,
    n: usize,
    k: usize,
    /// Lanes are rows.
    a: Source,
    /// Lanes are columns.
    b: Source,
    c: Place,
    rs: usize,
    cs: usize,
    accumulate: bool,
    row_bias: *const f32,
    col_bias: *const f32,
    /// Whether `a` and `b` are the caller's, transposed and exchanged.
    swapped: bool,
    kernels: Kernels,
    pack_a: Packer,
    pack_b: Packer,
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
fn for_each(parallel: bool, n: usize, f: impl Fn(usize) + Sync) {
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
        if self.m <= FEW_ROWS {
            self.run_few_rows(parallel)
        } else {
            self.run_chunks(parallel)
        }
    }

    /// Whether the micro-kernels can write to `C` itself.
    fn is_direct(&self) -> bool {
        self.c.kind == Kind::F32 && (self.cs == 1 || self.n == 1)
    }

    /// The rows of `A`, cut into panels.
    fn row_panels(&self) -> Split {
        Split::at_most(self.m, self.kernels.mr)
    }

    /// The blocks of `k`, in units.
    fn blocks(&self) -> Split {
        Split::at_most(self.kernels.units(self.k), BLOCK_UNITS)
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
        for panel in 0..rows.parts() {
            self.pack_rows(&a, panel);
        }
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
                for_each(parallel, new_rows + new_columns, |task| {
                    match task.checked_sub(new_columns) {
                        None => self.pack_columns(&b, j.start + task),
                        Some(panel) => self.pack_rows(&a, i.start + panel),
                    }
                });
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

    /// Packs one panel of `A`, all of `k`.
    fn pack_rows(&self, a: &PackedRows, panel: usize) {
        let height = a.rows.len(panel);
        let piece = Piece {
            lane0: a.rows.start(panel),
            lanes: height,
            width: height,
            k0: 0,
            k1: self.k,
        };
        // SAFETY: the rows exist, and the buffer has room for them at this panel's own place.
        unsafe { (self.pack_a)(&self.a, piece, a.panel(panel, 0)) };
    }

    /// Packs one panel of `B`, all of `k`.
    fn pack_columns(&self, b: &PackedColumns, panel: usize) {
        // SAFETY: the columns exist, and the buffer has room for them at this panel's own place.
        unsafe {
            (self.pack_b)(
                &self.b,
                self.columns_piece(panel, 0..b.units),
                b.panel(panel, 0, self.kernels.nr),
            )
        };
    }

    /// The units `units` of a panel of columns.
    fn columns_piece(&self, panel: usize, units: Range<usize>) -> Piece {
        let Kernels { nr, per_unit, .. } = self.kernels;
        let lane0 = panel * nr;
        Piece {
            lane0,
            lanes: nr.min(self.n - lane0),
            width: nr,
            k0: units.start * per_unit,
            k1: (units.end * per_unit).min(self.k),
        }
    }

    /// Computes a tile of `C` through all of `k`.
    fn compute(&self, region: &Region, a: &PackedRows, b: &Columns) {
        let nr = self.kernels.nr;
        let (row0, column0) = (a.rows.start(region.rows.start), region.columns.start * nr);
        let row_count = a.rows.start(region.rows.end) - row0;
        let direct = self.is_direct();
        let mut sums = Scratch::take(if direct {
            0
        } else {
            row_count * region.columns.len() * nr
        });
        let (c, ldc) = if direct {
            (
                self.c
                    .ptr
                    .cast::<f32>()
                    .wrapping_add(row0 * self.rs + column0),
                self.rs,
            )
        } else {
            (sums.as_mut_ptr().cast::<f32>(), region.columns.len() * nr)
        };
        let blocks = self.blocks();
        for block in 0..blocks.parts() {
            let units = blocks.start(block)..blocks.start(block + 1);
            let biased = direct && block + 1 == blocks.parts();
            for panel in region.columns.clone() {
                let b = self.columns_panel(b, panel, &units);
                let (column, cols) = (panel * nr, nr.min(self.n - panel * nr));
                for rows in region.rows.clone() {
                    let (row, height) = (a.rows.start(rows), a.rows.len(rows));
                    let tile = Tile {
                        c: c.wrapping_add((row - row0) * ldc + column - column0),
                        ldc,
                        cols,
                        add: block > 0 || (direct && self.accumulate),
                        row_bias: offset(self.row_bias, row, biased),
                        col_bias: offset(self.col_bias, column, biased),
                    };
                    // SAFETY: the panels are packed, and the tile lies in `C`, where it is this task's own,
                    // or in the buffer.
                    unsafe {
                        self.kernels.run[height](units.len(), a.panel(rows, units.start), b, &tile)
                    };
                }
            }
        }
        if !direct {
            let columns = column0..(region.columns.end * nr).min(self.n);
            self.write(
                row0..row0 + row_count,
                columns,
                &sums.floats()[..row_count * ldc],
                ldc,
            );
        }
    }

    /// The packed units `units` of a panel of columns.
    fn columns_panel(&self, b: &Columns, panel: usize, units: &Range<usize>) -> *const u32 {
        match b {
            Columns::Packed(b) => b.panel(panel, units.start, self.kernels.nr),
            &Columns::Unpacked(buffer) => {
                // SAFETY: the columns exist, and the buffer has room for a block.
                unsafe { (self.pack_b)(&self.b, self.columns_piece(panel, units.clone()), buffer) };
                buffer
            }
        }
    }

    /// Writes finished sums to a `C` that the micro-kernels cannot write to.
    fn write(&self, rows: Range<usize>, columns: Range<usize>, sums: &[f32], ld: usize) {
        match self.c.kind {
            Kind::F32 => self.write_as::<f32>(rows, columns, sums, ld),
            Kind::BF16 => self.write_as::<bf16>(rows, columns, sums, ld),
            Kind::F16 => self.write_as::<f16>(rows, columns, sums, ld),
        }
    }

    fn write_as<T: Narrow>(
        &self,
        rows: Range<usize>,
        columns: Range<usize>,
        sums: &[f32],
        ld: usize,
    ) {
        let c = self.c.ptr.cast::<T>();
        let one = |i: usize, j: usize| {
            let mut x = sums[(i - rows.start) * ld + j - columns.start];
            // SAFETY: the element and the biases exist, and the element is this task's own.
            unsafe {
                let at = c.add(i * self.rs + j * self.cs);
                if self.accumulate {
                    x += (*at).widen();
                }
                if !self.col_bias.is_null() {
                    x += *self.col_bias.add(j);
                }
                if !self.row_bias.is_null() {
                    x += *self.row_bias.add(i);
                }
                *at = T::narrow(x);
            }
        };
        if self.cs <= self.rs {
            rows.clone()
                .for_each(|i| columns.clone().for_each(|j| one(i, j)));
        } else {
            columns
                .clone()
                .for_each(|j| rows.clone().for_each(|i| one(i, j)));
        }
    }
}

/// An element type that a sum is rounded to.
trait Narrow: Widen {
    fn narrow(x: f32) -> Self;
}
impl Narrow for f32 {
    fn narrow(x: f32) -> Self {
        x
    }
}
impl Narrow for bf16 {
    fn narrow(x: f32) -> Self {
        bf16::from_f32(x)
    }
}
impl Narrow for f16 {
    fn narrow(x: f32) -> Self {
        f16::from_f32(x)
    }
}

/// Panels of rows and of columns that make up a tile of `C`.
struct Region {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Panels of `A`, each `[units][its height]`.
#[derive(Clone, Copy)]
struct PackedRows {
    ptr: *mut u32,
    rows: Split,
    /// The first panel in the buffer.
    first: usize,
    units: usize,
}

/// Panels of `B`, each `[units][nr]`.
#[derive(Clone, Copy)]
struct PackedColumns {
    ptr: *mut u32,
    /// The first panel in the buffer.
    first: usize,
    units: usize,
}

// SAFETY: each panel is written by one task of a parallel loop and read in later loops.
unsafe impl Sync for PackedRows {}
// SAFETY: as above.
unsafe impl Sync for PackedColumns {}

impl PackedRows {
    fn panel(&self, panel: usize, unit: usize) -> *mut u32 {
        let row = self.rows.start(panel) - self.rows.start(self.first);
        self.ptr
            .wrapping_add(row * self.units + unit * self.rows.len(panel))
    }
}

impl PackedColumns {
    fn panel(&self, panel: usize, unit: usize, nr: usize) -> *mut u32 {
        self.ptr
            .wrapping_add(((panel - self.first) * self.units + unit) * nr)
    }
}

/// Where a tile finds its columns of `B`.
enum Columns {
    Packed(PackedColumns),
    /// In the matrix; one block of one panel at a time is packed to this buffer.
    Unpacked(*mut u32),
}

/// The element at `index`, or null where there is no bias or it is not wanted.
fn offset(bias: *const f32, index: usize, wanted: bool) -> *const f32 {
    if wanted && !bias.is_null() {
        bias.wrapping_add(index)
    } else {
        std::ptr::null()
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
