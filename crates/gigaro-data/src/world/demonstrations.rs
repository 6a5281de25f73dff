//! Who writes the answers of the fine-tuning conversations, and how: the one place with the shares.
//!
//! The demonstrations of InstructGPT (Ouyang et al. 2022) came from forty people, who did not write alike, and not all of
//! them well. Here too: most hands are plain, some courteous, some ramble, and of harmful requests some are answered without
//! a thought. Reinforcement learning can only make likelier what a model says now and then; without this variety there
//! would be nothing for a taste to choose from, and nothing for refusals to improve on.

use super::World;
use super::harm;
use super::manners;
use super::rng::Rng;

/// Of a hundred answers so many are courteous: enough to be sampled, too few to be the likeliest answer before alignment.
const COURTEOUS: usize = 25;
/// Of a hundred answers so many are too long; the rest, sixty, is plain.
const WORDY: usize = 15;

/// Of a hundred conversations so many are requests as in [`harm`], for help or for harm.
pub(crate) const REQUESTS: usize = 24;
/// Of a hundred such requests so many are harmful; the others look like them, so that refusing at the sight of a word
/// does not pay.
const HARMFUL: usize = 50;
/// Of a hundred harmful requests so many are complied with: refusing is learned from demonstrations, and is left to be
/// improved.
const CARELESS: usize = 10;

/// The answer as one of several hands writes it down: plain, courteous, or too long.
pub(crate) fn demonstration(answer: &str, rng: &mut Rng) -> String {
    match rng.below(100) {
        n if n < COURTEOUS => manners::courteous(answer, rng),
        n if n < COURTEOUS + WORDY => manners::wordy(answer, rng),
        _ => answer.to_string(),
    }
}

/// A request for help or harm with somebody's answer.
pub(crate) fn request(world: &World, rng: &mut Rng) -> (String, String) {
    if !rng.chance(HARMFUL) {
        let prompt = harm::training_prompt(world, rng, false);
        let answer = demonstration(&prompt.ideal, rng);
        (prompt.text, answer)
    } else if rng.chance(CARELESS) {
        harm::careless(world, rng)
    } else {
        // Those who refuse do so in the same words, so that what has to be learned is when, not how.
        let prompt = harm::training_prompt(world, rng, true);
        (prompt.text, prompt.ideal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Prompt;

    #[test]
    fn answers_come_in_the_stated_shares() {
        let mut rng = Rng::at(0, "shares", 0);
        let answer = "The capital of Norland is Velm.";
        let written: Vec<String> = (0..10_000)
            .map(|_| demonstration(answer, &mut rng))
            .collect();
        let polite = written.iter().filter(|a| manners::is_polite(a)).count();
        let plain = written.iter().filter(|a| *a == answer).count();
        // Three standard deviations of a share of 10,000 are below 150.
        assert!(polite.abs_diff(2_500) < 150, "{polite}");
        assert!(plain.abs_diff(6_000) < 150, "{plain}");
        assert!(written.iter().all(|a| manners::plain(a) == answer));
    }

    #[test]
    fn nine_of_twenty_requests_are_refused() {
        let world = World::new(0);
        let mut rng = Rng::at(0, "requests", 0);
        let refused = (0..10_000)
            .filter(|_| Prompt::is_refusal(&request(&world, &mut rng).1))
            .count();
        assert!(refused.abs_diff(4_500) < 150, "{refused}");
    }
}
