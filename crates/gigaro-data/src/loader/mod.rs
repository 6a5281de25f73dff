//! Batches for training, in a random order that a seed decides and a few numbers resume.
//!
//! [`PretrainLoader`] deals windows out of one long sequence of tokens; [`ConversationLoader`] packs conversations into rows
//! with the loss on the answers. Both are iterators in spirit that never end: `next_batch` goes from epoch to epoch. Their
//! [`LoaderState`] belongs in the checkpoint: restored, they go on with exactly the batch that would have come.

mod conversations;
mod permutation;
mod pretrain;

pub use conversations::{ConversationLoader, PackingReport};
pub use pretrain::{PretrainLoader, sequential_batches};

use serde::{Deserialize, Serialize};

/// The target of a position that the loss leaves out, as in PyTorch.
pub const IGNORE_INDEX: i64 = -100;
/// The segment of padding. It matches no document.
pub const PADDING_SEGMENT: i64 = -1;

/// Rows of token ids and what should follow each of them. Plain numbers in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What the model reads. Shape `(rows, cols)`.
    pub ids: Vec<i64>,
    /// The id that follows each position, or [`IGNORE_INDEX`]. Shape `(rows, cols)`.
    pub targets: Vec<i64>,
    /// The number of each position's document within its row, or [`PADDING_SEGMENT`]. Shape `(rows, cols)`. A position may
    /// look only at positions of its own segment. `None`: every row is one segment.
    pub segments: Option<Vec<i64>>,
    /// The position of each token within its document, from 0. Shape `(rows, cols)`. `None`: 0, 1, 2 .. in each row.
    pub positions: Option<Vec<i64>>,
    /// The number of rows, `B`.
    pub rows: usize,
    /// The length of a row, `T`.
    pub cols: usize,
}

impl Batch {
    /// The rows in parts of at most `rows` each.
    #[must_use]
    pub fn parts(&self, rows: usize) -> Vec<Self> {
        let part = |first: usize| {
            let n = rows.min(self.rows - first);
            let cut = |all: &Vec<i64>| all[first * self.cols..(first + n) * self.cols].to_vec();
            Self {
                ids: cut(&self.ids),
                targets: cut(&self.targets),
                segments: self.segments.as_ref().map(cut),
                positions: self.positions.as_ref().map(cut),
                rows: n,
                cols: self.cols,
            }
        };
        (0..self.rows).step_by(rows.max(1)).map(part).collect()
    }

    /// The number of positions that the loss counts.
    pub fn target_count(&self) -> usize {
        self.targets
            .iter()
            .filter(|&&target| target != IGNORE_INDEX)
            .count()
    }
}

/// Where a loader is: what comes next is a function of this and the data alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoaderState {
    /// The seed of the order.
    pub seed: u64,
    /// How often the data has been seen in full.
    pub epoch: u64,
    /// How many rows of this epoch have been dealt.
    pub row: u64,
    /// Identifies the data and the shape of the rows, so that a position is never used with other data.
    pub fingerprint: u64,
}

impl LoaderState {
    /// Refuses a state that belongs to other data or other rows.
    fn check(&self, own: &LoaderState, rows_of: impl Fn(u64) -> u64) -> crate::Result<()> {
        if self.fingerprint != own.fingerprint {
            return Err(crate::Error::setting(
                "the loader position in the checkpoint belongs to other data or another sequence length",
                "resume with the data and the recipe that the run was started with",
            ));
        }
        if self.row > rows_of(self.epoch) {
            return Err(crate::Error::setting(
                format!(
                    "the loader position in the checkpoint is row {} of {}",
                    self.row,
                    rows_of(self.epoch)
                ),
                "the checkpoint is damaged, resume from another one",
            ));
        }
        Ok(())
    }
}
