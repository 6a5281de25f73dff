//! Shares with their uncertainty: Wilson's interval, the exact one, and percentiles of a bootstrap.

use std::fmt;

use gigaro_tensor::Generator;
use serde_json::{Value, json};

/// The normal quantile of 97.5 %, which has no closed form: `scipy.stats.norm.ppf(0.975)`.
const Z: f64 = 1.959_963_984_540_054;
/// What an interval of 95 % leaves out at either end.
const TAIL: f64 = 0.025;

/// A range that holds the true value in 95 % of experiments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the value lies inside.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Wilson's interval (1927) of a share of `n` cases: never outside 0 to 1, and good for few cases and for shares near
    /// the ends, where the usual plus-or-minus fails. Without cases everything is possible: 0 to 1.
    pub(super) fn wilson(share: f64, n: usize) -> Interval {
        if n == 0 {
            return Interval {
                low: 0.0,
                high: 1.0,
            };
        }
        let n = n as f64;
        let (shrink, z2) = (1.0 + Z * Z / n, Z * Z);
        let centre = (share + z2 / (2.0 * n)) / shrink;
        let half = Z * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt() / shrink;
        // At a share of 0 or 1 the end is 0 or 1 but for rounding.
        Interval {
            low: (centre - half).max(0.0),
            high: (centre + half).min(1.0),
        }
    }

    /// The percentile interval of a bootstrap (Efron 1979): the statistic of `resamples` samples of `n` cases, drawn with
    /// replacement from the cases, between its 2.5th and its 97.5th percentile.
    ///
    /// `statistic` gets the places of the drawn cases. Without cases everything is possible: 0 to 1.
    pub(super) fn bootstrap(
        n: usize,
        resamples: usize,
        seed: u64,
        mut statistic: impl FnMut(&[usize]) -> f64,
    ) -> Interval {
        if n == 0 {
            return Interval::wilson(0.0, 0);
        }
        let generator = Generator::new(seed);
        let mut drawn = vec![0; n];
        let mut values: Vec<f64> = (0..resamples)
            .map(|_| {
                for place in &mut drawn {
                    *place = generator.below(n as u64) as usize;
                }
                statistic(&drawn)
            })
            .collect();
        values.sort_by(f64::total_cmp);
        Interval {
            low: percentile(&values, TAIL),
            high: percentile(&values, 1.0 - TAIL),
        }
    }
}

/// The value below which a share `q` of the sorted values lies, interpolated as `numpy.percentile` does.
fn percentile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

/// How many cases of how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proportion {
    /// The cases that count.
    pub hits: usize,
    /// All cases.
    pub of: usize,
}

impl Proportion {
    /// The share of the cases for which `hit` holds.
    pub fn count(cases: impl IntoIterator<Item = bool>) -> Proportion {
        let mut all = Proportion::default();
        for hit in cases {
            all.add(hit);
        }
        all
    }

    /// Counts one case.
    pub fn add(&mut self, hit: bool) {
        self.hits += usize::from(hit);
        self.of += 1;
    }

    /// The share, 0 if there are no cases.
    pub fn share(self) -> f64 {
        self.hits as f64 / self.of.max(1) as f64
    }

    /// Wilson's interval, the one to report.
    pub fn wilson(self) -> Interval {
        Interval::wilson(self.share(), self.of)
    }

    /// The exact interval (Clopper and Pearson 1934): never too narrow, often a little too wide.
    pub fn exact(self) -> Interval {
        let Proportion { hits, of } = self;
        let choose = LogBinomials::new(of);
        let low = if hits == 0 {
            0.0
        } else {
            solve(|p| choose.tail(p, hits..of + 1) < TAIL)
        };
        let high = if hits == of {
            1.0
        } else {
            solve(|p| choose.tail(p, 0..hits + 1) > TAIL)
        };
        Interval { low, high }
    }

    /// For a program: hits, cases, share, and Wilson's interval.
    pub fn json(self) -> Value {
        let Interval { low, high } = self.wilson();
        json!({ "hits": self.hits, "of": self.of, "share": self.share(), "low": low, "high": high })
    }
}

impl fmt::Display for Proportion {
    /// `81.2 % (130 of 160; 95 % interval 74.5 to 86.5 %)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.of == 0 {
            return write!(f, "none asked");
        }
        let Interval { low, high } = self.wilson();
        write!(
            f,
            "{:.1} % ({} of {}; 95 % interval {:.1} to {:.1} %)",
            100.0 * self.share(),
            self.hits,
            self.of,
            100.0 * low,
            100.0 * high
        )
    }
}

/// The probability up to which `holds` holds, from 0 on.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The logarithms of the binomial coefficients of one number of cases.
struct LogBinomials(Vec<f64>);

impl LogBinomials {
    fn new(n: usize) -> LogBinomials {
        let mut logs = vec![0.0; n + 1];
        for k in 1..=n {
            logs[k] = logs[k - 1] + ((n - k + 1) as f64 / k as f64).ln();
        }
        LogBinomials(logs)
    }

    /// The probability that the number of hits lies in the range, each case being one with probability `p`.
    fn tail(&self, p: f64, hits: std::ops::Range<usize>) -> f64 {
        let n = self.0.len() - 1;
        let (hit, miss) = (p.ln(), (-p).ln_1p());
        hits.map(|k| (self.0[k] + k as f64 * hit + (n - k) as f64 * miss).exp())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(interval: Interval, low: f64, high: f64) {
        assert!(
            (interval.low - low).abs() < 1e-9 && (interval.high - high).abs() < 1e-9,
            "{interval:?} instead of {low} to {high}"
        );
    }

    // From scipy 1.17.1: r = stats.binomtest(hits, of).proportion_ci(method="wilson"), and method="exact".
    #[test]
    fn intervals_are_those_of_scipy() {
        for (hits, of, wilson, exact) in [
            (0, 10, (0.0, 0.277_532_799_863), (0.0, 0.308_497_107_819)),
            (
                1,
                10,
                (0.017_876_213_095, 0.404_150_026_795),
                (0.002_528_578_544, 0.445_016_117_028),
            ),
            (
                130,
                160,
                (0.744_960_396_848, 0.865_385_731_170),
                (0.743_280_517_823, 0.869_774_191_167),
            ),
            (10, 10, (0.722_467_200_137, 1.0), (0.691_502_892_181, 1.0)),
            (
                499,
                1000,
                (0.468_073_488_751, 0.529_934_164_766),
                (0.467_552_186_254, 0.530_453_716_662),
            ),
        ] {
            let share = Proportion { hits, of };
            close(share.wilson(), wilson.0, wilson.1);
            close(share.exact(), exact.0, exact.1);
        }
    }

    #[test]
    fn no_cases_say_nothing() {
        let none = Proportion::default();
        assert_eq!(none.share(), 0.0);
        close(none.wilson(), 0.0, 1.0);
        close(none.exact(), 0.0, 1.0);
        assert_eq!(none.to_string(), "none asked");
    }

    /// The share of 4,000 experiments whose interval holds the truth.
    fn coverage(n: usize, truth: f64, of: impl Fn(Proportion) -> Interval) -> f64 {
        let generator = Generator::new(5);
        let experiments = (0..4_000).map(|_| {
            let counted = Proportion::count((0..n).map(|_| generator.uniform() < truth));
            of(counted).contains(truth)
        });
        Proportion::count(experiments).share()
    }

    #[test]
    fn ninety_five_of_a_hundred_intervals_hold_the_truth() {
        for (n, truth) in [(40, 0.1), (40, 0.5), (150, 0.8)] {
            let wilson = coverage(n, truth, Proportion::wilson);
            // Coverage goes up and down with n, since hits are whole numbers.
            assert!((0.93..0.98).contains(&wilson), "{n} {truth}: {wilson}");
        }
        let exact = coverage(40, 0.5, Proportion::exact);
        assert!(exact >= 0.945, "{exact}");
    }

    #[test]
    fn a_share_is_told_with_its_interval() {
        let share = Proportion { hits: 50, of: 100 };
        assert_eq!(
            share.to_string(),
            "50.0 % (50 of 100; 95 % interval 40.4 to 59.6 %)"
        );
        assert_eq!(share.json()["share"], 0.5);
    }
}
