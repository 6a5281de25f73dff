//! Rows packed with conversations, for fine-tuning with the loss on the answers.
//!
//! Conversations are short and of every length; a row each would be mostly padding. So several share a row, each a segment
//! of its own with positions from 0, and a model that attends within segments computes for each exactly what it would
//! compute for it alone. The packing of an epoch is a function of seed and epoch, hence the position is two numbers.

use super::permutation::{Permutation, mix};
use super::{Batch, IGNORE_INDEX, LoaderState, PADDING_SEGMENT};
use crate::chat::Rendered;
use crate::{Error, Result};

/// Rows that may wait for a conversation that fills them. More waste less padding, and more search.
const OPEN_ROWS: usize = 64;

/// What packing made of the conversations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackingReport {
    /// Conversations that are trained on.
    pub conversations: usize,
    /// Those of them whose end did not fit a row and was cut off.
    pub truncated: usize,
    /// Conversations left out because no word of an answer lies within a row's length.
    pub dropped: usize,
    /// Rows of the first epoch.
    pub rows: u64,
    /// The part of those rows' positions that is padding, `0.0..1.0`.
    pub padding: f64,
}

/// Deals rows packed with conversations in random order.
#[derive(Clone, Debug)]
pub struct ConversationLoader {
    examples: Vec<Rendered>,
    rows: usize,
    seq_len: usize,
    padding_id: u32,
    state: LoaderState,
    plan: Plan,
    report: PackingReport,
}

impl ConversationLoader {
    /// A loader of batches of `rows` rows of `seq_len` positions. Padding is filled with `padding_id`, which no target and
    /// no other segment ever sees.
    ///
    /// # Errors
    /// If no conversation has a word of an answer within `seq_len + 1` tokens.
    /// # Panics
    /// If `rows` or `seq_len` is zero, or a conversation's loss mask is not as long as its ids.
    #[track_caller]
    pub fn new(
        conversations: Vec<Rendered>,
        rows: usize,
        seq_len: usize,
        padding_id: u32,
        seed: u64,
    ) -> Result<ConversationLoader> {
        assert!(
            rows > 0 && seq_len > 0,
            "ConversationLoader: {rows} rows of {seq_len} tokens"
        );
        let given = conversations.len();
        let mut truncated = 0;
        let mut examples = Vec::with_capacity(given);
        for mut example in conversations {
            assert_eq!(
                example.ids.len(),
                example.loss.len(),
                "ConversationLoader: ids and loss mask differ in length"
            );
            let too_long = example.ids.len() > seq_len + 1;
            example.ids.truncate(seq_len + 1);
            example.loss.truncate(seq_len + 1);
            // The first token is nobody's target.
            if example.loss.iter().skip(1).any(|&loss| loss) {
                truncated += usize::from(too_long);
                examples.push(example);
            }
        }
        if examples.is_empty() {
            return Err(Error::setting(
                format!(
                    "none of {given} conversations has an answer within the first {} tokens",
                    seq_len + 1
                ),
                "give conversations with answers or a longer sequence length",
            ));
        }
        let state = LoaderState {
            seed,
            epoch: 0,
            row: 0,
            fingerprint: fingerprint(&examples, seq_len),
        };
        let plan = Plan::new(&examples, seq_len, seed, 0);
        let used: usize = examples.iter().map(width).sum();
        let report = PackingReport {
            conversations: examples.len(),
            truncated,
            dropped: given - examples.len(),
            rows: plan.len(),
            padding: 1.0 - used as f64 / (plan.len() as f64 * seq_len as f64),
        };
        Ok(ConversationLoader {
            examples,
            rows,
            seq_len,
            padding_id,
            state,
            plan,
            report,
        })
    }

    /// The next batch. There always is one.
    pub fn next_batch(&mut self) -> Batch {
        let mut batch = self.empty();
        for _ in 0..self.rows {
            if self.state.row == self.plan.len() {
                self.state.epoch += 1;
                self.state.row = 0;
                self.plan = Plan::new(
                    &self.examples,
                    self.seq_len,
                    self.state.seed,
                    self.state.epoch,
                );
            }
            self.fill_row(&mut batch, self.plan.row(self.state.row));
            self.state.row += 1;
        }
        batch
    }

    /// Every conversation once, in an order that depends on the seed alone; the last batch may have fewer rows. For
    /// validation: the same batches at every call, whatever has been dealt.
    pub fn all_batches(&self) -> impl Iterator<Item = Batch> + '_ {
        let plan = Plan::new(&self.examples, self.seq_len, self.state.seed, 0);
        let rows = self.rows as u64;
        (0..plan.len().div_ceil(rows)).map(move |at| {
            let mut batch = self.empty();
            for row in at * rows..plan.len().min((at + 1) * rows) {
                self.fill_row(&mut batch, plan.row(row));
            }
            batch
        })
    }

    fn empty(&self) -> Batch {
        Batch {
            ids: Vec::with_capacity(self.rows * self.seq_len),
            targets: Vec::with_capacity(self.rows * self.seq_len),
            segments: Some(Vec::with_capacity(self.rows * self.seq_len)),
            positions: Some(Vec::with_capacity(self.rows * self.seq_len)),
            rows: 0,
            cols: self.seq_len,
        }
    }

    fn fill_row(&self, batch: &mut Batch, members: &[u32]) {
        let (Some(segments), Some(positions)) = (&mut batch.segments, &mut batch.positions) else {
            unreachable!("batches of conversations have segments");
        };
        for (segment, &member) in members.iter().enumerate() {
            let Rendered { ids, loss } = &self.examples[member as usize];
            for at in 0..ids.len() - 1 {
                batch.ids.push(i64::from(ids[at]));
                batch.targets.push(if loss[at + 1] {
                    i64::from(ids[at + 1])
                } else {
                    IGNORE_INDEX
                });
                segments.push(segment as i64);
                positions.push(at as i64);
            }
        }
        batch.rows += 1;
        let full = batch.rows * self.seq_len;
        batch.ids.resize(full, i64::from(self.padding_id));
        batch.targets.resize(full, IGNORE_INDEX);
        segments.resize(full, PADDING_SEGMENT);
        positions.resize(full, 0);
    }

    /// What packing made of the conversations.
    pub fn report(&self) -> PackingReport {
        self.report
    }

    /// The number of rows in the present epoch.
    pub fn rows_in_epoch(&self) -> u64 {
        self.plan.len()
    }

    /// Rows per batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Positions per row.
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
    /// If the state belongs to other conversations or another sequence length.
    pub fn restore(&mut self, state: LoaderState) -> Result<()> {
        state.check(&self.state, |_| u64::MAX)?;
        let plan = Plan::new(&self.examples, self.seq_len, state.seed, state.epoch);
        state.check(&self.state, |_| plan.len())?;
        (self.state, self.plan) = (state, plan);
        Ok(())
    }
}

/// Positions that a conversation takes: its last token is only a target.
fn width(example: &Rendered) -> usize {
    example.ids.len() - 1
}

/// Which conversations make up each row of one epoch.
#[derive(Clone, Debug)]
struct Plan {
    members: Vec<u32>,
    /// `ends[row]` is the end of the row in `members`.
    ends: Vec<u32>,
}

impl Plan {
    /// Deals the conversations out in random order, each into the open row that it fills best.
    fn new(examples: &[Rendered], seq_len: usize, seed: u64, epoch: u64) -> Plan {
        struct Open {
            members: Vec<u32>,
            left: usize,
        }
        let order = Permutation::new(examples.len() as u64, seed, epoch);
        let mut plan = Plan {
            members: Vec::with_capacity(examples.len()),
            ends: Vec::new(),
        };
        let mut open: Vec<Open> = Vec::new();
        for i in 0..examples.len() as u64 {
            let example = order.at(i);
            let width = width(&examples[example as usize]);
            let fitting = open.iter().enumerate().filter(|(_, row)| row.left >= width);
            let at = match fitting.min_by_key(|(_, row)| row.left) {
                Some((at, _)) => at,
                None => {
                    if open.len() == OPEN_ROWS {
                        let fullest = (0..open.len()).min_by_key(|&at| open[at].left).unwrap_or(0);
                        plan.close(&open.remove(fullest).members);
                    }
                    open.push(Open {
                        members: Vec::new(),
                        left: seq_len,
                    });
                    open.len() - 1
                }
            };
            open[at].members.push(example as u32);
            open[at].left -= width;
            if open[at].left == 0 {
                plan.close(&open.remove(at).members);
            }
        }
        open.iter().for_each(|row| plan.close(&row.members));
        plan
    }

    fn close(&mut self, members: &[u32]) {
        self.members.extend_from_slice(members);
        self.ends.push(self.members.len() as u32);
    }

    fn len(&self) -> u64 {
        self.ends.len() as u64
    }

    fn row(&self, row: u64) -> &[u32] {
        let row = row as usize;
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.members[start as usize..self.ends[row] as usize]
    }
}

fn fingerprint(examples: &[Rendered], seq_len: usize) -> u64 {
    let mut hash = mix(seq_len as u64 ^ mix(examples.len() as u64));
    for Rendered { ids, loss } in examples {
        hash = mix(hash ^ ids.len() as u64);
        for (&id, &loss) in ids.iter().zip(loss) {
            hash = mix(hash ^ (u64::from(id) << 1 | u64::from(loss)));
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Conversations of the given lengths, each of one number, the second half of it the answer.
    fn conversations(lengths: &[usize]) -> Vec<Rendered> {
        let make = |(number, &len): (usize, &usize)| Rendered {
            ids: vec![number as u32 + 1; len],
            loss: (0..len).map(|i| i >= len / 2).collect(),
        };
        lengths.iter().enumerate().map(make).collect()
    }

    fn loader(lengths: &[usize], rows: usize, seq_len: usize, seed: u64) -> ConversationLoader {
        ConversationLoader::new(conversations(lengths), rows, seq_len, 0, seed)
            .expect("conversations with answers")
    }

    proptest! {
        #[test]
        fn each_conversation_comes_once_per_epoch(
            lengths in prop::collection::vec(2usize..30, 1..120), rows in 1usize..5, seed: u64,
        ) {
            let loader = loader(&lengths, rows, 32, seed);
            let mut seen = vec![0; lengths.len() + 1];
            for batch in loader.all_batches() {
                prop_assert_eq!(batch.ids.len(), batch.rows * batch.cols);
                for &id in &batch.ids {
                    seen[id as usize] += 1;
                }
                let segments = batch.segments.as_ref().expect("segments");
                for (at, &segment) in segments.iter().enumerate() {
                    prop_assert_eq!(segment == PADDING_SEGMENT, batch.ids[at] == 0);
                    prop_assert!(batch.targets[at] == IGNORE_INDEX || batch.targets[at] == batch.ids[at]);
                }
            }
            for (number, len) in lengths.iter().enumerate() {
                prop_assert_eq!(seen[number + 1], len - 1);
            }
        }

        #[test]
        fn a_restored_loader_goes_on_where_the_other_was(
            lengths in prop::collection::vec(2usize..30, 1..80), rows in 1usize..5, seed: u64, before in 0usize..40,
        ) {
            let mut first = loader(&lengths, rows, 32, seed);
            for _ in 0..before {
                first.next_batch();
            }
            let mut second = loader(&lengths, rows, 32, seed ^ 1);
            second.restore(first.state()).expect("the same conversations");
            for _ in 0..20 {
                prop_assert_eq!(first.next_batch(), second.next_batch());
            }
        }
    }

    #[test]
    fn a_row_holds_inputs_targets_segments_and_positions() {
        let batch = loader(&[3, 4], 1, 7, 0).next_batch();
        let (one, two) = (vec![1, 1], vec![2, 2, 2]);
        let first_is_one = batch.ids[0] == 1;
        let ids = if first_is_one {
            [one, two].concat()
        } else {
            [two, one].concat()
        };
        assert_eq!(batch.ids[..5], ids);
        assert_eq!(batch.ids[5..], [0, 0]);
        let x = IGNORE_INDEX;
        // Of three tokens the last two are learnt, of four the last two.
        let targets = if first_is_one {
            [1, 1, x, 2, 2, x, x]
        } else {
            [x, 2, 2, 1, 1, x, x]
        };
        assert_eq!(batch.targets, targets);
        let segments = if first_is_one {
            [0, 0, 1, 1, 1, -1, -1]
        } else {
            [0, 0, 0, 1, 1, -1, -1]
        };
        assert_eq!(batch.segments, Some(segments.to_vec()));
        let positions = if first_is_one {
            [0, 1, 0, 1, 2, 0, 0]
        } else {
            [0, 1, 2, 0, 1, 0, 0]
        };
        assert_eq!(batch.positions, Some(positions.to_vec()));
    }

    #[test]
    fn packing_wastes_little() {
        let lengths: Vec<usize> = (0..2000).map(|i| 5 + mix(i) as usize % 60).collect();
        let report = loader(&lengths, 8, 256, 3).report();
        assert!(report.padding < 0.02, "{report:?}");
        assert_eq!(
            (report.conversations, report.truncated, report.dropped),
            (2000, 0, 0)
        );
    }

    #[test]
    fn long_conversations_are_cut_and_those_without_an_answer_left_out() {
        let report = loader(&[10, 14, 40], 1, 12, 0).report();
        assert_eq!(
            (report.conversations, report.truncated, report.dropped),
            (2, 1, 1)
        );
        let error = ConversationLoader::new(conversations(&[40]), 1, 12, 0, 0)
            .expect_err("none fits")
            .to_string();
        assert!(
            error.starts_with("none of 1 conversations has an answer within the first 13 tokens"),
            "{error}"
        );
        assert!(ConversationLoader::new(Vec::new(), 1, 12, 0, 0).is_err());
    }

    #[test]
    fn a_state_of_other_conversations_is_refused() {
        let state = loader(&[10, 12], 1, 12, 0).state();
        assert!(loader(&[10, 11], 1, 12, 0).restore(state).is_err());
        assert!(
            loader(&[10, 12], 1, 12, 0)
                .restore(LoaderState { row: 50, ..state })
                .is_err()
        );
    }
}
