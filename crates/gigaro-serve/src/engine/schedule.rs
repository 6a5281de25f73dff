//! What the next step reads of which text.
//!
//! Every reply under way gets its one token. What is unread of prompts shares a budget, so that a step stays short and a long prompt
//! delays nobody's next token by more than that (Agrawal et al. 2024, "Taming throughput-latency tradeoff in LLM inference with
//! Sarathi-Serve", OSDI, <https://arxiv.org/abs/2403.02310>). Prompts get equal shares and what short ones leave goes to long ones,
//! so that a short prompt is not stuck behind a long one either.

/// A text as the schedule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// A reply: the token drawn last.
    Token,
    /// A prompt of which `left` tokens, at least one, are not read.
    Prompt { left: usize },
    /// Nothing in this step: another text is reading what it begins with.
    Nothing,
}

/// How many tokens of each text to read in this step; 0 for those that have to wait. At least one is not 0 if any text has something to
/// read.
pub(super) fn plan(texts: &[Unread], budget: usize) -> Vec<usize> {
    let mut shares: Vec<usize> = texts
        .iter()
        .map(|text| usize::from(matches!(text, Unread::Token)))
        .collect();
    share_out(texts, budget.max(1), &mut shares);
    shares
}

/// Equal shares; what one does not need goes to the others, and what cannot be divided to the first.
fn share_out(texts: &[Unread], budget: usize, shares: &mut [usize]) {
    let mut prompts: Vec<(usize, usize)> = Vec::new(); // left, index
    for (i, text) in texts.iter().enumerate() {
        if let Unread::Prompt { left } = *text {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prompt(left: usize) -> Unread {
        Unread::Prompt { left }
    }

    #[test]
    fn replies_go_on_whatever_prompts_there_are() {
        let texts = [Unread::Token, prompt(1000), Unread::Token];
        assert_eq!(plan(&texts, 64), [1, 64, 1]);
        assert_eq!(plan(&texts, 0), [1, 1, 1]);
    }

    #[test]
    fn a_short_prompt_is_not_stuck_behind_a_long_one() {
        let texts = [prompt(9000), prompt(10), prompt(9000)];
        assert_eq!(plan(&texts, 100), [45, 10, 45]);
    }

    fn any_text() -> impl Strategy<Value = Unread> {
        prop_oneof![
            Just(Unread::Token),
            Just(Unread::Nothing),
            (1..900_usize).prop_map(prompt),
        ]
    }

    proptest! {
        #[test]
        fn every_step_goes_on_within_its_budget(
            texts in prop::collection::vec(any_text(), 1..20),
            budget in 0..500_usize,
        ) {
            let shares = plan(&texts, budget);
            let mut of_prompts = 0;
            for (text, &share) in texts.iter().zip(&shares) {
                match *text {
                    Unread::Token => prop_assert_eq!(share, 1),
                    Unread::Nothing => prop_assert_eq!(share, 0),
                    Unread::Prompt { left } => {
                        prop_assert!(share <= left);
                        of_prompts += share;
                    }
                }
            }
            let idle = texts.iter().all(|text| *text == Unread::Nothing);
            prop_assert!(idle || shares.iter().any(|&share| share > 0));
            prop_assert!(of_prompts <= budget.max(1), "{} of {}", of_prompts, budget);
        }
    }
}
