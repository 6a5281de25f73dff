//! How far two labellers, or a labeller and a reward model, judge alike.
//!
//! A reward model cannot be expected to agree with a labeller more than labellers do with each other: in InstructGPT (Ouyang et
//! al. 2022) 72.6 % for the training labellers. Beside the share stands Cohen's kappa (1960), which leaves out what two
//! judges would share by chance.

use super::judge::Verdict;
use super::proportion::Proportion;

/// The agreement of two judges over the same pairs of answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The pairs on which they gave the same verdict.
    pub same: Proportion,
    /// Cohen's kappa: 1 for agreement on every pair, 0 for as much as by chance, below 0 for less. It is 0 where both always
    /// say the same thing, which tells nothing about either.
    pub kappa: f64,
}

impl Agreement {
    /// The agreement of two lists of verdicts, one for each pair of answers.
    ///
    /// # Panics
    /// If the lists are of different length.
    #[track_caller]
    pub fn of(one: &[Verdict], other: &[Verdict]) -> Agreement {
        assert_eq!(
            one.len(),
            other.len(),
            "agreement is about the same pairs of answers"
        );
        let same = Proportion::count(one.iter().zip(other).map(|(a, b)| a == b));
        let n = one.len().max(1) as f64;
        let share =
            |list: &[Verdict], verdict| list.iter().filter(|v| **v == verdict).count() as f64 / n;
        let by_chance: f64 = [Verdict::First, Verdict::Tie, Verdict::Second]
            .into_iter()
            .map(|verdict| share(one, verdict) * share(other, verdict))
            .sum();
        let kappa = if by_chance < 1.0 && same.of > 0 {
            (same.share() - by_chance) / (1.0 - by_chance)
        } else {
            0.0
        };
        Agreement { same, kappa }
    }
}

#[cfg(test)]
mod tests {
    use gigaro_data::world::{Labeller, World};

    use super::super::{Judge, TruthJudge};
    use super::*;

    // By hand: same 5 / 6, by chance (3 x 2 + 1 x 1 + 2 x 3) / 36 = 13 / 36, and (30 - 13) / (36 - 13) = 17 / 23.
    #[test]
    fn kappa_is_what_is_shared_beyond_chance() {
        use Verdict::{First, Second, Tie};
        let one = [First, First, Tie, Second, Second, First];
        let other = [First, Second, Tie, Second, Second, First];
        let agreement = Agreement::of(&one, &other);
        assert_eq!(agreement.same, Proportion { hits: 5, of: 6 });
        assert!(
            (agreement.kappa - 17.0 / 23.0).abs() < 1e-12,
            "{agreement:?}"
        );
        assert_eq!(Agreement::of(&one, &one).kappa, 1.0);
        assert_eq!(Agreement::of(&[Tie; 4], &[Tie; 4]).kappa, 0.0);
        assert_eq!(Agreement::of(&[], &[]).kappa, 0.0);
        let opposite = one.map(Verdict::swapped);
        assert!(Agreement::of(&one, &opposite).kappa < 0.0);
    }

    #[test]
    fn labellers_with_errors_of_their_own_agree_less_than_one_with_itself() {
        let prompts = World::new(0).alignment_exam(600);
        let verdicts = |seed| -> Vec<Verdict> {
            let mut judge = TruthJudge(Labeller::truth().with_noise(0.2, seed));
            let polite = |ideal: &str| format!("{ideal} I hope that helps.");
            prompts
                .iter()
                .map(|p| judge.compare(p, &polite(&p.ideal), &p.ideal))
                .map(|verdict| verdict.expect("never fails").expect("a verdict"))
                .collect()
        };
        let between = Agreement::of(&verdicts(1), &verdicts(2));
        assert!((0.55..0.75).contains(&between.same.share()), "{between:?}");
        assert_eq!(Agreement::of(&verdicts(1), &verdicts(1)).kappa, 1.0);
    }
}
