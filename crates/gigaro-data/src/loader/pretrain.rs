//! Shuffled windows out of one long sequence, for pretraining, and the same windows in order, for validation.

use super::permutation::{Permutation, mix};
use super::{Batch, LoaderState, PADDING_SEGMENT};
use crate::tokens::Tokens;
use crate::{Error, Result};

/// Deals windows of `seq_len + 1` tokens in random order.
///
/// An epoch cuts the tokens into windows that follow each other without gaps, each token being the target of one of them,
/// and deals every window once. The cut starts at another random offset in each epoch, so that a small text is not always
/// seen in the same pieces. Batches are always full: one that begins in an epoch may end in the next.
#[derive(Clone, Debug)]
pub struct PretrainLoader {
    tokens: Tokens,
    rows: usize,
    seq_len: usize,
    document_start: Option<u32>,
    state: LoaderState,
    order: Permutation,
}

impl PretrainLoader {
    /// A loader of batches of `rows` windows with `seq_len` inputs and as many targets.
    ///
    /// # Errors
    /// If there are fewer than `seq_len + 1` tokens.
    /// # Panics
    /// If `rows` or `seq_len` is zero.
    #[track_caller]
    pub fn new(tokens: Tokens, rows: usize, seq_len: usize, seed: u64) -> Result<PretrainLoader> {
        assert!(
            rows > 0 && seq_len > 0,
            "PretrainLoader: {rows} rows of {seq_len} tokens"
        );
        check_length(&tokens, seq_len)?;
        let state = LoaderState {
            seed,
            epoch: 0,
            row: 0,
            fingerprint: fingerprint(&tokens, seq_len),
        };
        let order = Permutation::new(window_count(&tokens, seq_len, seed, 0), seed, 0);
        Ok(PretrainLoader {
            tokens,
            rows,
            seq_len,
            document_start: None,
            state,
            order,
        })
    }

    /// Makes batches carry segments and positions: a document starts at each token `id`.
    pub fn with_document_start(mut self, id: u32) -> PretrainLoader {
        self.document_start = Some(id);
        self
    }

    /// The next batch. There always is one.
    pub fn next_batch(&mut self) -> Batch {
        let starts: Vec<u64> = (0..self.rows).map(|_| self.next_start()).collect();
        cut(&self.tokens, &starts, self.seq_len, self.document_start)
    }

    fn next_start(&mut self) -> u64 {
        if self.state.row == self.rows_in_epoch() {
            self.state.epoch += 1;
            self.state.row = 0;
            self.order = self.order_of(self.state.epoch);
        }
        let window = self.order.at(self.state.row);
        self.state.row += 1;
        offset(
            &self.tokens,
            self.seq_len,
            self.state.seed,
            self.state.epoch,
        ) + window * self.seq_len as u64
    }

    fn order_of(&self, epoch: u64) -> Permutation {
        let seed = self.state.seed;
        Permutation::new(
            window_count(&self.tokens, self.seq_len, seed, epoch),
            seed,
            epoch,
        )
    }

    /// The number of windows in the present epoch.
    pub fn rows_in_epoch(&self) -> u64 {
        window_count(
            &self.tokens,
            self.seq_len,
            self.state.seed,
            self.state.epoch,
        )
    }

    /// Rows per batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs per row.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// Where the loader is.
    pub fn state(&self) -> LoaderState {
        self.state
    }

    /// Goes to where `state` says. The number of rows per batch may differ from the run that made it.
    ///
    /// # Errors
    /// If the state belongs to other tokens or another sequence length.
    pub fn restore(&mut self, state: LoaderState) -> Result<()> {
        state.check(&self.state, |epoch| {
            window_count(&self.tokens, self.seq_len, state.seed, epoch)
        })?;
        self.state = state;
        self.order = self.order_of(state.epoch);
        Ok(())
    }
}

/// The windows of `seq_len + 1` tokens in order, in batches of `rows`; the last batch may have fewer rows. For validation:
/// the same batches at every call. At most `max_batches` of them, spread evenly over the tokens.
///
/// # Errors
/// If there are fewer than `seq_len + 1` tokens.
/// # Panics
/// If `rows` or `seq_len` is zero.
#[track_caller]
pub fn sequential_batches(
    tokens: &Tokens,
    rows: usize,
    seq_len: usize,
    max_batches: usize,
) -> Result<impl ExactSizeIterator<Item = Batch> + use<>> {
    assert!(
        rows > 0 && seq_len > 0,
        "sequential_batches: {rows} rows of {seq_len} tokens"
    );
    check_length(tokens, seq_len)?;
    let windows = (tokens.len() - 1) / seq_len as u64;
    let taken = windows.min((max_batches as u64).saturating_mul(rows as u64));
    let tokens = tokens.clone();
    Ok((0..taken.div_ceil(rows as u64) as usize).map(move |batch| {
        let first = (batch * rows) as u64;
        let last = (first + rows as u64).min(taken);
        // The i-th of `taken` windows, evenly spread over all; u128 keeps the product exact.
        let start = |i: u64| {
            (u128::from(i) * u128::from(windows) / u128::from(taken)) as u64 * seq_len as u64
        };
        let starts: Vec<u64> = (first..last).map(start).collect();
        cut(&tokens, &starts, seq_len, None)
    }))
}

fn check_length(tokens: &Tokens, seq_len: usize) -> Result<()> {
    let needed = seq_len as u64 + 1;
    if tokens.len() < needed {
        return Err(Error::TooShort {
            place: "the text".to_owned(),
            tokens: tokens.len(),
            needed,
        });
    }
    Ok(())
}

/// Where the first window of an epoch starts, so that at least one window fits.
fn offset(tokens: &Tokens, seq_len: usize, seed: u64, epoch: u64) -> u64 {
    let choices = (seq_len as u64).min(tokens.len() - seq_len as u64);
    mix(seed ^ mix(epoch)) % choices
}

fn window_count(tokens: &Tokens, seq_len: usize, seed: u64, epoch: u64) -> u64 {
    (tokens.len() - 1 - offset(tokens, seq_len, seed, epoch)) / seq_len as u64
}

/// The length, the row length and a sample of the tokens: enough to notice other data, and cheap on terabytes.
fn fingerprint(tokens: &Tokens, seq_len: usize) -> u64 {
    const SAMPLES: u64 = 64;
    let mut hash = mix(tokens.len() ^ mix(seq_len as u64));
    for i in 0..SAMPLES {
        let at = (u128::from(i) * u128::from(tokens.len()) / u128::from(SAMPLES)) as u64;
        let mut id = [0];
        tokens.copy_to(at, &mut id);
        hash = mix(hash ^ u64::from(id[0]));
    }
    hash
}

/// A batch of the windows that begin at `starts`.
fn cut(tokens: &Tokens, starts: &[u64], seq_len: usize, document_start: Option<u32>) -> Batch {
    let (rows, cols) = (starts.len(), seq_len);
    let mut batch = Batch {
        ids: Vec::with_capacity(rows * cols),
        targets: Vec::with_capacity(rows * cols),
        segments: document_start.map(|_| Vec::with_capacity(rows * cols)),
        positions: document_start.map(|_| Vec::with_capacity(rows * cols)),
        rows,
        cols,
    };
    let mut window = vec![0u32; cols + 1];
    for &start in starts {
        tokens.copy_to(start, &mut window);
        batch
            .ids
            .extend(window[..cols].iter().map(|&id| i64::from(id)));
        batch
            .targets
            .extend(window[1..].iter().map(|&id| i64::from(id)));
        if let (Some(segments), Some(positions), Some(start)) =
            (&mut batch.segments, &mut batch.positions, document_start)
        {
            let (mut segment, mut position) = (PADDING_SEGMENT, 0);
            for (i, &id) in window[..cols].iter().enumerate() {
                if i == 0 || id == start {
                    (segment, position) = (segment + 1, 0);
                }
                segments.push(segment);
                positions.push(position);
                position += 1;
            }
        }
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn counting(n: u32) -> Tokens {
        Tokens::from((0..n).collect::<Vec<u32>>())
    }

    proptest! {
        #[test]
        fn each_window_comes_once_per_epoch(n in 2u32..500, seq_len in 1usize..40, rows in 1usize..7, seed: u64) {
            prop_assume!(n as usize > seq_len);
            let mut loader = PretrainLoader::new(counting(n), rows, seq_len, seed).expect("enough tokens");
            let mut row_starts = Vec::new();
            let epochs: Vec<u64> = (0..3).map(|epoch| window_count(&loader.tokens, seq_len, seed, epoch)).collect();
            let total: u64 = epochs.iter().sum();
            while (row_starts.len() as u64) < total {
                let batch = loader.next_batch();
                for (ids, targets) in batch.ids.chunks(seq_len).zip(batch.targets.chunks(seq_len)) {
                    prop_assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1));
                    prop_assert!(ids.iter().zip(targets).all(|(id, target)| *target == id + 1));
                    row_starts.push(ids[0] as u64);
                }
            }
            let mut rest = &row_starts[..];
            for (epoch, &count) in epochs.iter().enumerate() {
                let (these, after) = rest.split_at(count as usize);
                rest = after;
                let first = offset(&loader.tokens, seq_len, seed, epoch as u64);
                let expected: BTreeSet<u64> = (0..count).map(|w| first + w * seq_len as u64).collect();
                prop_assert_eq!(these.iter().copied().collect::<BTreeSet<_>>(), expected);
            }
        }

        #[test]
        fn a_restored_loader_goes_on_where_the_other_was(
            n in 30u32..300, seq_len in 1usize..20, rows in 1usize..5, seed: u64, before in 0usize..60,
        ) {
            let mut loader = PretrainLoader::new(counting(n), rows, seq_len, seed).expect("enough tokens");
            for _ in 0..before {
                loader.next_batch();
            }
            let saved = serde_json::to_string(&loader.state()).expect("serialises");
            let mut resumed = PretrainLoader::new(counting(n), rows, seq_len, 0).expect("enough tokens");
            resumed.restore(serde_json::from_str(&saved).expect("reads")).expect("the same data");
            for _ in 0..30 {
                prop_assert_eq!(loader.next_batch(), resumed.next_batch());
            }
        }
    }

    #[test]
    fn the_rows_do_not_depend_on_how_many_make_a_batch() {
        let rows_of = |rows: usize| -> Vec<i64> {
            let mut loader =
                PretrainLoader::new(counting(1000), rows, 8, 5).expect("enough tokens");
            (0..24 / rows)
                .flat_map(|_| loader.next_batch().ids)
                .collect()
        };
        assert_eq!(rows_of(1), rows_of(6));
        assert_ne!(rows_of(1), (0..24 * 8).collect::<Vec<i64>>());
    }

    #[test]
    fn a_state_of_other_data_is_refused() {
        let state = PretrainLoader::new(counting(100), 2, 8, 5)
            .expect("enough tokens")
            .state();
        for (n, seq_len) in [(101, 8), (100, 9)] {
            let mut loader =
                PretrainLoader::new(counting(n), 2, seq_len, 5).expect("enough tokens");
            let error = loader.restore(state).expect_err("other data").to_string();
            assert!(error.contains("belongs to other data"), "{error}");
        }
        let mut loader = PretrainLoader::new(counting(100), 2, 8, 5).expect("enough tokens");
        let error = loader
            .restore(LoaderState { row: 99, ..state })
            .expect_err("beyond the end");
        assert!(error.to_string().contains("row 99 of "), "{error}");
    }

    #[test]
    fn too_little_text_is_refused() {
        let error = PretrainLoader::new(counting(8), 1, 8, 0)
            .expect_err("nine are needed")
            .to_string();
        assert_eq!(
            error,
            "the text has 8 tokens, and one example needs 9; give more text or a shorter sequence length"
        );
        PretrainLoader::new(counting(9), 1, 8, 0)
            .expect("just enough")
            .next_batch();
    }

    #[test]
    fn validation_windows_come_in_order() {
        let batches: Vec<Batch> = sequential_batches(&counting(36), 2, 5, usize::MAX)
            .expect("enough")
            .collect();
        assert_eq!(batches.len(), 4);
        assert_eq!(batches[3].rows, 1);
        let ids: Vec<i64> = batches.iter().flat_map(|batch| batch.ids.clone()).collect();
        assert_eq!(ids, (0..35).collect::<Vec<i64>>());
        let few: Vec<i64> = sequential_batches(&counting(101), 1, 5, 4)
            .expect("enough")
            .map(|batch| batch.ids[0])
            .collect();
        assert_eq!(few, [0, 25, 50, 75]);
    }

    #[test]
    fn segments_start_at_each_document() {
        let tokens = Tokens::from(vec![5, 6, 0, 7, 0, 8, 9]);
        let mut loader = PretrainLoader::new(tokens, 1, 6, 0)
            .expect("enough")
            .with_document_start(0);
        let batch = loader.next_batch();
        assert_eq!(batch.segments, Some(vec![0, 0, 1, 1, 2, 2]));
        assert_eq!(batch.positions, Some(vec![0, 1, 0, 1, 0, 1]));
        assert_eq!(batch.target_count(), 6);
    }
}
