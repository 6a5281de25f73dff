//! Triangular masks.

use crate::{DType, Device, Tensor};

/// True where `column - row <= diagonal`, `(rows, columns)`.
fn lower(rows: usize, columns: usize, diagonal: isize, device: Device) -> Tensor {
    let row = Tensor::arange(0.0, rows as f64, 1.0, DType::I64, device).unsqueeze(1);
    let column = Tensor::arange(0.0, columns as f64, 1.0, DType::I64, device);
    column.le(&(row + diagonal as f64))
}

impl Tensor {
    /// The lower triangle of the last two dims, zeros above; `diagonal` moves the border to the
    /// right.
    ///
    /// # Panics
    /// If there are fewer than two dims.
    #[must_use]
    #[track_caller]
    pub fn tril(&self, diagonal: isize) -> Self {
        let mask = lower(self.size(-2), self.size(-1), diagonal, self.device());
        self.masked_fill(&mask.logical_not(), 0.0)
    }

    /// The upper triangle of the last two dims, zeros below; `diagonal` moves the border to the
    /// right.
    ///
    /// # Panics
    /// If there are fewer than two dims.
    #[must_use]
    #[track_caller]
    pub fn triu(&self, diagonal: isize) -> Self {
        self.masked_fill(
            &lower(self.size(-2), self.size(-1), diagonal - 1, self.device()),
            0.0,
        )
    }
}
