//! The product of a panel and a tile in plain loops, for machines without wide integer products.

use super::super::isa::{self, vectorized};
use super::product::Piece;
use super::{PANEL, VECTOR, value};
use half::f16;

/// Rows of a tile.
pub(super) const ROWS: usize = 4;

/// See [`Kernel`](super::product).
///
/// # Safety
/// As there.
pub(super) unsafe fn multiply(piece: &Piece<'_>) {
    body(isa::isa(), piece);
}

vectorized! {
    fn body(piece: &Piece<'_>) {
        let (form, tile) = (piece.form, piece.tile);
        let mut totals = [[0.0_f32; PANEL]; ROWS];
        let groups = piece.panel.chunks_exact(form.group_bytes());
        for (g, bytes) in groups.enumerate() {
            let (vectors, numbers) = bytes.split_at(form.vectors() * VECTOR);
            let number = |i: usize| f16::from_le_bytes([numbers[2 * i], numbers[2 * i + 1]]).to_f32();
            let scales: [f32; PANEL] = std::array::from_fn(number);
            let minima: [f32; PANEL] =
                std::array::from_fn(|o| if form.minima { number(PANEL + o) } else { 0.0 });
            for (i, totals) in totals.iter_mut().enumerate().take(tile.rows()) {
                let at = g * tile.rows() + i;
                let x = &tile.values[at * form.group..][..form.group];
                let mut sums = [tile.starts[at]; PANEL];
                for (k, &x) in x.iter().enumerate() {
                    for (o, sum) in sums.iter_mut().enumerate() {
                        *sum += i32::from(value(form, vectors, o, k)) * i32::from(x);
                    }
                }
                for (o, total) in totals.iter_mut().enumerate() {
                    *total += sums[o] as f32 * scales[o] + tile.sums[at] * minima[o];
                }
            }
        }
        for (i, totals) in totals.iter().enumerate().take(tile.rows()) {
            let scale = tile.scales[i] * piece.unit;
            for (o, total) in totals.iter().enumerate() {
                // SAFETY: the piece says where its rows go.
                unsafe { *piece.to.add(i * piece.stride + o) = total * scale + piece.bias[o] };
            }
        }
    }
}
