//! A quantised weight times rows of floats: what is cut how, and which kernel does a piece.

use super::super::isa::{self, Isa};
use super::super::threads::{SendPtr, parallel_for};
use super::inputs::{Tile, Tiles};
use super::{Form, PANEL, QuantizedMatrix, kernel_portable};
#[cfg(target_arch = "x86_64")]
use super::{kernel_avx2, kernel_avx512};

/// Bytes of the weight that a task reads: enough of one stream for prefetching to pay.
const TASK_BYTES: usize = 32 << 10;
/// Rows that a task multiplies, in tiles.
const TASK_TILES: usize = 8;

/// One panel of a weight times one tile of inputs.
pub(super) struct Piece<'a> {
    pub(super) form: Form,
    pub(super) panel: &'a [u8],
    pub(super) tile: &'a Tile,
    /// Multiplies all results.
    pub(super) unit: f32,
    /// Of the panel's outputs.
    pub(super) bias: [f32; PANEL],
    /// Where row `i` of the tile goes: `to[i * stride..][..PANEL]`.
    pub(super) to: *mut f32,
    pub(super) stride: usize,
}

/// Computes one piece.
///
/// # Safety
/// The machine has the instructions that the kernel is for; the slices of the piece are as long as its form and rows say;
/// [`Piece::to`] may be written as described.
type Kernel = unsafe fn(&Piece<'_>);

/// The kernel of this thread's instruction set, and how many rows it takes at a time.
fn kernel(isa: Isa) -> (Kernel, usize) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 if isa::has_vnni() => (kernel_avx512::with_vnni, kernel_avx512::ROWS),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => (kernel_avx512::without_vnni, kernel_avx512::ROWS),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => (kernel_avx2::multiply, kernel_avx2::ROWS),
        _ => (kernel_portable::multiply, kernel_portable::ROWS),
    }
}

impl QuantizedMatrix {
    /// Computes `y = x W^T + bias`. Row `i` of `y` has the same bits whatever other rows there are.
    ///
    /// # Shapes
    /// `x: (rows, inputs)`, `bias: (outputs)` -> `y: (rows, outputs)`, all without gaps
    /// # Panics
    /// If a slice does not have as many elements as its shape.
    #[track_caller]
    pub fn multiply(&self, rows: usize, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        for (what, len, a, b) in [
            ("x", x.len(), rows, inputs),
            ("y", y.len(), rows, outputs),
            ("bias", bias.map_or(outputs, <[f32]>::len), 1, outputs),
        ] {
            assert!(
                len == a * b,
                "QuantizedMatrix: {what} has {len} elements where ({a}, {b}) is wanted"
            );
        }
        if inputs == 0 {
            for row in y.chunks_mut(outputs.max(1)) {
                match bias {
                    Some(bias) => row.copy_from_slice(bias),
                    None => row.fill(0.0),
                }
            }
            return;
        }
        if y.is_empty() {
            return;
        }
        let isa = isa::isa();
        let (kernel, tile_rows) = kernel(isa);
        let tiles = Tiles::cut(isa, inputs, x, self.form, tile_rows);
        let panels = outputs.div_ceil(PANEL);
        let task_panels = (TASK_BYTES / self.panel_bytes()).clamp(1, panels);
        let (wide, high) = (
            panels.div_ceil(task_panels),
            tiles.len().div_ceil(TASK_TILES),
        );
        let y = SendPtr::new(y.as_mut_ptr());
        parallel_for(wide * high, |task| {
            let (across, down) = (task % wide, task / wide);
            for t in down * TASK_TILES..tiles.len().min((down + 1) * TASK_TILES) {
                let to = y.get().wrapping_add(t * tile_rows * outputs);
                for p in across * task_panels..panels.min((across + 1) * task_panels) {
                    // SAFETY: each task has its own rows and columns of `y`.
                    unsafe { self.piece(p, &tiles[t], bias, to, kernel) };
                }
            }
        });
    }

    /// Panel `p` times a tile.
    ///
    /// # Safety
    /// `y` is `(rows of the tile, outputs)`, and nobody else writes the panel's columns of it.
    unsafe fn piece(
        &self,
        p: usize,
        tile: &Tile,
        bias: Option<&[f32]>,
        y: *mut f32,
        kernel: Kernel,
    ) {
        let first = p * PANEL;
        let columns = PANEL.min(self.outputs - first);
        let mut piece = Piece {
            form: self.form,
            panel: self.panel(p),
            tile,
            unit: self.unit,
            bias: [0.0; PANEL],
            to: y.wrapping_add(first),
            stride: self.outputs,
        };
        if let Some(bias) = bias {
            piece.bias[..columns].copy_from_slice(&bias[first..][..columns]);
        }
        if columns == PANEL {
            // SAFETY: the machine has the instructions, and the panel's columns lie in `y` whole.
            unsafe { kernel(&piece) };
            return;
        }
        let (to, stride) = (piece.to, piece.stride);
        let mut whole = vec![0.0_f32; tile.rows() * PANEL];
        (piece.to, piece.stride) = (whole.as_mut_ptr(), PANEL);
        // SAFETY: the machine has the instructions; then as many columns as there are in `y`.
        unsafe {
            kernel(&piece);
            for i in 0..tile.rows() {
                let from = whole.as_ptr().add(i * PANEL);
                std::ptr::copy_nonoverlapping(from, to.add(i * stride), columns);
            }
        }
    }
}
