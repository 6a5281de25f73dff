//! Which row of the cache a new text gets, and how much of it is there already.
//!
//! A row keeps its text when the reply has ended. A new text that begins like one that a row holds goes on from there: in that row
//! itself, or in another one to which the beginning is copied, where the row is in use or its text is worth keeping. Only texts of the
//! same scope count: those of the same weights, since others have other keys and values, and of the same user, so that nobody can find
//! out by the time to his first token what others have asked.

use std::sync::Arc;

/// Fewer tokens than this are read again rather than looked after.
const WORTH_KEEPING: usize = 16;

/// Which texts may go on from each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// The weights that wrote them.
    pub(super) variant: u64,
    /// Whose they are.
    pub(super) owner: Arc<str>,
}

/// What is in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// The scope of its text; `None` for a row that was never used.
    pub(super) scope: Option<Scope>,
    /// The tokens whose keys and values it holds.
    pub(super) tokens: Vec<u32>,
    /// How many of them, from the first, another text may go on from.
    pub(super) reusable: usize,
    /// Whether a text is being written in it.
    pub(super) busy: bool,
    /// Pages that its text may come to hold, while it is being written.
    pub(super) reserved: usize,
    /// A number that grows with each use.
    pub(super) used: u64,
}

impl Row {
    /// Its text is over, and stays for others to go on from.
    pub(super) fn free(&mut self) {
        self.busy = false;
        self.reserved = 0;
    }
}

/// Where a new text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) row: usize,
    /// The row that holds the beginning, which may be `row` itself.
    pub(super) from: usize,
    /// Tokens of the beginning.
    pub(super) kept: usize,
}

/// A place for a text of `scope` that begins with `prompt`; `None` if all rows are busy. The last token of the prompt is always read again, because its logits are needed.
pub(super) fn place(rows: &[Row], scope: &Scope, prompt: &[u32]) -> Option<Place> {
    let free = |skip: Option<usize>| {
        let free = rows.iter().enumerate();
        let free = free.filter(|(i, row)| !row.busy && Some(*i) != skip);
        free.min_by_key(|(_, row)| row.used).map(|(i, _)| i)
    };
    let oldest = free(None)?;
    let best = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.scope.as_ref() == Some(scope))
        .map(|(i, row)| (common(row, prompt), i))
        .max_by_key(|&(kept, i)| (kept, !rows[i].busy))
        .filter(|&(kept, _)| kept >= WORTH_KEEPING);
    let Some((kept, from)) = best else {
        return Some(Place {
            row: oldest,
            from: oldest,
            kept: 0,
        });
    };
    // A text that goes on stays where it is; one that only begins alike leaves the other its row.
    let goes_on = !rows[from].busy && 2 * kept >= rows[from].tokens.len();
    let row = match free(Some(from)) {
        Some(other) if !goes_on => other,
        _ if !rows[from].busy => from,
        other => other?,
    };
    Some(Place { row, from, kept })
}

fn common(row: &Row, prompt: &[u32]) -> usize {
    common_beginning(&row.tokens[..row.reusable.min(row.tokens.len())], prompt)
}

/// Tokens that a new text with this prompt need not read if `held` are there.
fn common_beginning(held: &[u32], prompt: &[u32]) -> usize {
    let all_but_last = &prompt[..prompt.len().saturating_sub(1)];
    let same = held.iter().zip(all_but_last).take_while(|(a, b)| a == b);
    same.count()
}

/// A beginning that another text is just reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Following {
    /// The other text's row.
    pub(super) row: usize,
    /// Its [`Row::used`], by which another text in the same row would be known.
    pub(super) used: u64,
    /// Tokens of the beginning.
    pub(super) common: usize,
}

/// Which of the prompts that are being read a new text should wait for, rather than read the same tokens beside it: several replies to
/// one prompt come together. `reading` are rows with the whole prompts that go into them; `kept` is what the new text has already.
pub(super) fn follow<'a>(
    rows: &[Row],
    reading: impl Iterator<Item = (usize, &'a [u32])>,
    scope: &Scope,
    prompt: &[u32],
    kept: usize,
) -> Option<Following> {
    reading
        .filter(|&(row, _)| rows[row].scope.as_ref() == Some(scope))
        .map(|(row, theirs)| Following {
            row,
            used: rows[row].used,
            common: common_beginning(theirs, prompt),
        })
        .max_by_key(|following| following.common)
        .filter(|following| following.common >= kept + WORTH_KEEPING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(owner: &str) -> Scope {
        Scope {
            variant: 1,
            owner: owner.into(),
        }
    }

    fn row(owner: &str, tokens: std::ops::Range<u32>, busy: bool, used: u64) -> Row {
        Row {
            scope: Some(scope(owner)),
            reusable: tokens.len(),
            tokens: tokens.collect(),
            busy,
            reserved: 0,
            used,
        }
    }

    fn prompt(begin: std::ops::Range<u32>, rest: usize) -> Vec<u32> {
        begin.chain(std::iter::repeat_n(999, rest)).collect()
    }

    fn place_of(rows: &[Row], prompt: &[u32]) -> Option<(usize, usize, usize)> {
        place(rows, &scope("a"), prompt).map(|p| (p.row, p.from, p.kept))
    }

    #[test]
    fn a_conversation_goes_on_in_its_own_row() {
        let rows = [row("a", 0..0, false, 0), row("a", 0..50, false, 7)];
        assert_eq!(place_of(&rows, &prompt(0..50, 9)), Some((1, 1, 50)));
    }

    #[test]
    fn a_text_that_only_begins_alike_leaves_the_other_its_row() {
        let rows = [row("a", 0..90, false, 7), row("a", 500..900, false, 3)];
        assert_eq!(place_of(&rows, &prompt(0..20, 9)), Some((1, 0, 20)));
        // Unless there is no other.
        assert_eq!(place_of(&rows[..1], &prompt(0..20, 9)), Some((0, 0, 20)));
    }

    #[test]
    fn a_text_under_way_is_copied_and_never_moved_into() {
        let rows = [row("a", 0..60, true, 9), row("b", 0..60, false, 1)];
        assert_eq!(place_of(&rows, &prompt(0..60, 4)), Some((1, 0, 60)));
        assert_eq!(place_of(&rows[..1], &prompt(0..60, 4)), None);
    }

    #[test]
    fn nobody_goes_on_from_the_text_of_another_scope() {
        let rows = [row("b", 0..60, false, 1), row("a", 700..760, false, 5)];
        assert_eq!(place_of(&rows, &prompt(0..60, 4)), Some((0, 0, 0)));
    }

    #[test]
    fn nobody_goes_on_from_what_other_weights_have_written() {
        let rows = [row("a", 0..60, false, 1)];
        let mut other = scope("a");
        other.variant = 2;
        let place = place(&rows, &other, &prompt(0..60, 4)).expect("a row is free");
        assert_eq!(place.kept, 0);
        let read = prompt(0..60, 9);
        let reading = [(0, &read[..])].into_iter();
        assert_eq!(follow(&rows, reading, &other, &prompt(0..60, 4), 0), None);
    }

    #[test]
    fn the_last_token_is_read_again_and_a_short_beginning_too() {
        let rows = [row("a", 0..60, false, 1)];
        assert_eq!(place_of(&rows, &prompt(0..60, 0)), Some((0, 0, 59)));
        assert_eq!(place_of(&rows, &prompt(0..15, 9)), Some((0, 0, 0)));
        assert_eq!(place_of(&rows, &[]), Some((0, 0, 0)));
    }

    #[test]
    fn replies_to_one_prompt_wait_for_the_first_to_read_it() {
        let rows = [row("a", 0..7, true, 3), row("b", 0..90, true, 4)];
        let long: Vec<u32> = (0..90).collect();
        let follow = |owner: &str, prompt: &[u32], kept| {
            let reading = [(0, &long[..]), (1, &long[..])].into_iter();
            follow(&rows, reading, &scope(owner), prompt, kept)
        };
        let expected = Following {
            row: 0,
            used: 3,
            common: 89,
        };
        assert_eq!(follow("a", &long, 7), Some(expected));
        assert_eq!(follow("a", &long, 80), None, "little is left to gain");
        assert_eq!(follow("a", &prompt(0..5, 90), 0), None);
        assert_eq!(follow("c", &long, 0), None);
    }

    #[test]
    fn only_what_may_be_reused_is() {
        let mut rows = [row("a", 0..200, false, 1)];
        rows[0].reusable = 150;
        let found = place(&rows, &scope("a"), &prompt(0..190, 4));
        assert_eq!(found.map(|p| p.kept), Some(150));
    }
}
