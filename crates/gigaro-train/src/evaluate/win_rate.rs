//! How often one model's answers are preferred to another's, over the same prompts.

use std::fmt;

use serde_json::{Value, json};

use super::judge::Verdict;
use super::proportion::{Interval, Proportion};

/// How many samples a bootstrap draws: its ends are then sure to about a twentieth of the interval's width.
pub(super) const RESAMPLES: usize = 2_000;

/// Wins, ties and losses of the first of two models over paired answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WinRate {
    /// Prompts on which the first model's answer was preferred.
    pub wins: usize,
    /// Prompts without a preference.
    pub ties: usize,
    /// Prompts on which the second model's answer was preferred.
    pub losses: usize,
}

impl WinRate {
    /// The sum of verdicts, the model in question being the first.
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> WinRate {
        let mut all = WinRate::default();
        for verdict in verdicts {
            match verdict {
                Verdict::First => all.wins += 1,
                Verdict::Tie => all.ties += 1,
                Verdict::Second => all.losses += 1,
            }
        }
        all
    }

    /// All prompts.
    pub fn prompts(&self) -> usize {
        self.wins + self.ties + self.losses
    }

    /// The share of wins, ties counting half; one half if there are no prompts.
    pub fn rate(&self) -> f64 {
        if self.prompts() == 0 {
            return 0.5;
        }
        (self.wins as f64 + 0.5 * self.ties as f64) / self.prompts() as f64
    }

    /// The wins among the prompts that were decided; its [`Proportion::exact`] interval is the one of a sign test.
    pub fn decided(&self) -> Proportion {
        Proportion {
            hits: self.wins,
            of: self.wins + self.losses,
        }
    }

    /// Wilson's interval of the rate. Ties vary less than wins and losses do, so with many of them it is wider than need be.
    pub fn wilson(&self) -> Interval {
        Interval::wilson(self.rate(), self.prompts())
    }

    /// The percentile interval of 2,000 bootstrap samples of the prompts: the same for the same seed.
    pub fn bootstrap(&self, seed: u64) -> Interval {
        let won = |&place: &usize| {
            if place < self.wins {
                1.0
            } else if place < self.wins + self.ties {
                0.5
            } else {
                0.0
            }
        };
        let n = self.prompts();
        Interval::bootstrap(n, RESAMPLES, seed, |drawn| {
            drawn.iter().map(won).sum::<f64>() / n as f64
        })
    }

    /// For a program: the counts, the rate, and the bootstrap interval with that seed.
    pub fn json(&self, seed: u64) -> Value {
        let Interval { low, high } = self.bootstrap(seed);
        json!({
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "rate": self.rate(),
            "low": low,
            "high": high,
        })
    }
}

impl fmt::Display for WinRate {
    /// `62.5 % (50 won, 25 tied, 25 lost; 95 % interval 52.7 to 71.4 %)`, with Wilson's interval.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Interval { low, high } = self.wilson();
        write!(
            f,
            "{:.1} % ({} won, {} tied, {} lost; 95 % interval {:.1} to {:.1} %)",
            100.0 * self.rate(),
            self.wins,
            self.ties,
            self.losses,
            100.0 * low,
            100.0 * high
        )
    }
}

#[cfg(test)]
mod tests {
    use gigaro_tensor::Generator;

    use super::*;

    #[test]
    fn ties_count_half() {
        use Verdict::{First, Second, Tie};
        let rate = WinRate::of([First, Tie, Tie, Second, First, Tie, Tie, First]);
        assert_eq!((rate.wins, rate.ties, rate.losses), (3, 4, 1));
        assert_eq!(rate.rate(), 0.625);
        assert_eq!(rate.decided(), Proportion { hits: 3, of: 4 });
        let swapped = WinRate::of([Second, Tie, Tie, First, Second, Tie, Tie, Second]);
        assert_eq!(rate.rate() + swapped.rate(), 1.0);
        assert_eq!(WinRate::default().rate(), 0.5);
    }

    #[test]
    fn the_bootstrap_repeats_itself_and_agrees_with_theory() {
        let rate = WinRate {
            wins: 120,
            ties: 40,
            losses: 40,
        };
        let interval = rate.bootstrap(3);
        assert_eq!(interval, rate.bootstrap(3));
        // Of 1 x 120, 0.5 x 40, 0 x 40: mean 0.7, variance 0.16; 0.7 -+ 1.96 sqrt(0.16 / 200) = 0.6446 to 0.7554.
        assert!((interval.low - 0.6446).abs() < 0.008, "{interval:?}");
        assert!((interval.high - 0.7554).abs() < 0.008, "{interval:?}");
        let wilson = rate.wilson();
        assert!(wilson.low < interval.low && wilson.high > interval.high);
        let sure = WinRate {
            wins: 9,
            ..WinRate::default()
        };
        assert_eq!(
            sure.bootstrap(0),
            Interval {
                low: 1.0,
                high: 1.0
            }
        );
    }

    #[test]
    fn ninety_five_of_a_hundred_bootstrap_intervals_hold_the_truth() {
        let generator = Generator::new(1);
        // 50 % wins, 20 % ties, 30 % losses: the true rate is 0.6.
        let experiments = (0..300).map(|seed| {
            let verdicts = (0..100).map(|_| match generator.uniform() {
                u if u < 0.5 => Verdict::First,
                u if u < 0.7 => Verdict::Tie,
                _ => Verdict::Second,
            });
            WinRate::of(verdicts).bootstrap(seed).contains(0.6)
        });
        let covered = Proportion::count(experiments);
        // Percentile intervals of a hundred cases are a little narrow; three deviations of 300 experiments are 0.038.
        assert!((0.90..0.985).contains(&covered.share()), "{covered}");
    }

    #[test]
    fn a_win_rate_is_told_in_one_line() {
        let rate = WinRate {
            wins: 50,
            ties: 0,
            losses: 50,
        };
        assert_eq!(
            rate.to_string(),
            "50.0 % (50 won, 0 tied, 50 lost; 95 % interval 40.4 to 59.6 %)"
        );
        assert_eq!(rate.json(0)["ties"], 0);
    }
}
