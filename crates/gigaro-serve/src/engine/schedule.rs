//! What the next step reads of which text.
//!
//! Every reply under way gets its one token. What is unread of prompts shares a budget, so that a step stays short and a long prompt
//! delays nobody's next token by more than that (Agrawal et al. 2024, "Taming throughput-latency tradeoff in LLM inference with
//! Sarathi-Serve", OSDI, <https://arxiv.org/abs/2403.02310>). Prompts get equal shares and what short ones leave goes to long ones,
//! so that a short prompt is not stuck behind a long one either.

/// How prompts may be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cuts {
    /// Anywhere: the bits do not depend on it.
    Anywhere,
    /// At multiples of this many tokens of the prompt, one piece in a step: where the bits depend on how many tokens are read together,
    /// every reading of a prompt has to cut it alike.
    Multiples(usize),
}

/// A text as the schedule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// A reply: the token drawn last.
    Token,
    /// A prompt of which `read` tokens are read and `left`, at least one, are not.
    Prompt { read: usize, left: usize },
    /// Nothing in this step: another text is reading what it begins with.
    Nothing,
}

/// How many tokens of each text to read in this step; 0 for those that have to wait. At least one is not 0 if any text has something to
/// read.
pub(super) fn plan(texts: &[Unread], budget: usize, cuts: Cuts) -> Vec<usize> {
    let mut shares: Vec<usize> = texts
        .iter()
        .map(|text| usize::from(matches!(text, Unread::Token)))
        .collect();
    match cuts {
        Cuts::Anywhere => share_out(texts, budget.max(1), &mut shares),
        Cuts::Multiples(piece) => whole_pieces(texts, budget, piece, &mut shares),
    }
    shares
}

/// Equal shares; what one does not need goes to the others, and what cannot be divided to the first.
fn share_out(texts: &[Unread], budget: usize, shares: &mut [usize]) {
    let mut prompts: Vec<(usize, usize)> = Vec::new(); // left, index
    for (i, text) in texts.iter().enumerate() {
        if let Unread::Prompt { left, .. } = *text {
            prompts.push((left, i));
        }
    }
    // Shortest first, so that each takes its share of what is really left over.
    prompts.sort_unstable();
    let (mut budget, mut sharers) = (budget, prompts.len());
    for (left, i) in prompts {
        shares[i] = left.min(budget.div_ceil(sharers));
        budget -= shares[i];
        sharers -= 1;
    }
}

/// The next piece of as many prompts as the budget takes, in their order, but of one at least.
fn whole_pieces(texts: &[Unread], budget: usize, piece: usize, shares: &mut [usize]) {
    let mut taken = 0;
    for (i, text) in texts.iter().enumerate() {
        let Unread::Prompt { read, left } = *text else {
            continue;
        };
        let next = left.min(piece - read % piece);
        if taken == 0 || taken + next <= budget {
            shares[i] = next;
            taken += next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prompt(read: usize, left: usize) -> Unread {
        Unread::Prompt { read, left }
    }

    #[test]
    fn replies_go_on_whatever_prompts_there_are() {
        let texts = [Unread::Token, prompt(0, 1000), Unread::Token];
        assert_eq!(plan(&texts, 64, Cuts::Anywhere), [1, 64, 1]);
        assert_eq!(plan(&texts, 0, Cuts::Anywhere), [1, 1, 1]);
    }

    #[test]
    fn a_short_prompt_is_not_stuck_behind_a_long_one() {
        let texts = [prompt(0, 9000), prompt(5, 10), prompt(0, 9000)];
        assert_eq!(plan(&texts, 100, Cuts::Anywhere), [45, 10, 45]);
    }

    #[test]
    fn pieces_end_at_multiples_whoever_else_is_there() {
        let texts = [
            prompt(0, 100),
            Unread::Token,
            prompt(64, 10),
            prompt(70, 90),
        ];
        assert_eq!(plan(&texts, 74, Cuts::Multiples(64)), [64, 1, 10, 0]);
        assert_eq!(plan(&texts, 1, Cuts::Multiples(64)), [64, 1, 0, 0]);
        assert_eq!(plan(&texts[3..], 999, Cuts::Multiples(64)), [58]);
    }

    fn any_text() -> impl Strategy<Value = Unread> {
        prop_oneof![
            Just(Unread::Token),
            Just(Unread::Nothing),
            (0..300_usize, 1..900_usize).prop_map(|(read, left)| prompt(read, left)),
        ]
    }

    proptest! {
        #[test]
        fn every_step_goes_on_within_its_budget(
            texts in prop::collection::vec(any_text(), 1..20),
            budget in 0..500_usize,
            piece in 1..100_usize,
        ) {
            for cuts in [Cuts::Anywhere, Cuts::Multiples(piece)] {
                let shares = plan(&texts, budget, cuts);
                let mut of_prompts = 0;
                for (text, &share) in texts.iter().zip(&shares) {
                    match *text {
                        Unread::Token => prop_assert_eq!(share, 1),
                        Unread::Nothing => prop_assert_eq!(share, 0),
                        Unread::Prompt { read, left } => {
                            prop_assert!(share <= left);
                            of_prompts += share;
                            if cuts != Cuts::Anywhere && share > 0 {
                                let ends = (read + share) % piece == 0 || share == left;
                                prop_assert!(ends, "{} of {:?}", share, text);
                            }
                        }
                    }
                }
                let idle = texts.iter().all(|text| *text == Unread::Nothing);
                prop_assert!(idle || shares.iter().any(|&share| share > 0));
                let most = budget.max(if cuts == Cuts::Anywhere { 1 } else { piece });
                prop_assert!(of_prompts <= most, "{} of {}", of_prompts, most);
            }
        }
    }
}
