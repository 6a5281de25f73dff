//! The win rate that would have been, had both models' answers been of equal length.
//!
//! Judges, people among them, like long answers, and optimisation finds that out. After AlpacaEval 2 (Dubois, Galambosi, Liang
//! and Hashimoto 2024, "Length-controlled AlpacaEval"): a logistic regression explains each preference by the model and by
//! `tanh(difference in length / its standard deviation)`; the rate at a difference of zero is reported. The paper's third term,
//! the difficulty of each instruction, is fitted over many models and left out here.

use super::judge::Verdict;
use super::proportion::Interval;
use super::win_rate::RESAMPLES;

/// One comparison with the lengths of the two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Which answer was preferred.
    pub verdict: Verdict,
    /// The length of the first answer, in words or tokens.
    pub first_length: usize,
    /// The length of the second, in the same unit.
    pub second_length: usize,
}

/// A win rate of the first model without the effect of length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LengthControlled {
    /// The rate at equal lengths; one half if nothing was compared.
    pub rate: f64,
    /// Its bootstrap interval.
    pub interval: Interval,
    /// How much the longer answer is favoured, in log odds between answers of equal length and one much longer; about 0
    /// if length plays no part.
    pub length_effect: f64,
}

/// The strength of the prior that keeps the fit finite where one model always wins: that of a hundredth of a comparison.
const RIDGE: f64 = 0.01;

impl LengthControlled {
    /// The length-controlled rate of the first model, its interval drawn with the seed.
    pub fn of(compared: &[Compared], seed: u64) -> LengthControlled {
        let cases = cases(compared);
        let all: Vec<usize> = (0..cases.len()).collect();
        let [model, length_effect] = fit(&cases, &all);
        let interval = Interval::bootstrap(cases.len(), RESAMPLES, seed, |drawn| {
            sigmoid(fit(&cases, drawn)[0])
        });
        LengthControlled {
            rate: sigmoid(model),
            interval,
            length_effect,
        }
    }
}

/// What the regression sees of a comparison: the squashed difference in length, and the preference from 0 to 1.
struct Case {
    length: f64,
    preferred: f64,
}

fn cases(compared: &[Compared]) -> Vec<Case> {
    let difference = |c: &Compared| c.first_length as f64 - c.second_length as f64;
    let n = compared.len().max(1) as f64;
    let mean = compared.iter().map(difference).sum::<f64>() / n;
    let square = |c: &Compared| (difference(c) - mean).powi(2);
    let deviation = (compared.iter().map(square).sum::<f64>() / n).sqrt();
    let case = |c: &Compared| Case {
        // If all differences are the same, nothing can be told about length.
        length: if deviation > 0.0 {
            (difference(c) / deviation).tanh()
        } else {
            0.0
        },
        preferred: match c.verdict {
            Verdict::First => 1.0,
            Verdict::Tie => 0.5,
            Verdict::Second => 0.0,
        },
    };
    compared.iter().map(case).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The weights of model and length that make the preferences of the drawn cases likeliest, by Newton's method.
fn fit(cases: &[Case], drawn: &[usize]) -> [f64; 2] {
    let mut weights = [0.0, 0.0];
    let mut loss = loss_of(cases, drawn, weights);
    for _ in 0..50 {
        let step = newton_step(cases, drawn, weights);
        // Where wins and losses can be told apart by length alone, a full step may jump too far.
        let mut scale = 1.0;
        let better = loop {
            let candidate = [weights[0] - scale * step[0], weights[1] - scale * step[1]];
            let value = loss_of(cases, drawn, candidate);
            if value < loss {
                break Some((candidate, value));
            }
            scale *= 0.5;
            if scale < 1e-6 {
                break None;
            }
        };
        let Some((candidate, value)) = better else {
            break; // as low as numbers can tell
        };
        let gained = loss - value;
        (weights, loss) = (candidate, value);
        if gained < 1e-12 * (1.0 + loss) {
            break;
        }
    }
    weights
}

/// The negative log likelihood of the preferences, with the prior.
fn loss_of(cases: &[Case], drawn: &[usize], [model, length]: [f64; 2]) -> f64 {
    let of_case = |&i: &usize| {
        let x = model + length * cases[i].length;
        // ln(1 + e^x) - y x, without overflow
        x.max(0.0) + (-x.abs()).exp().ln_1p() - cases[i].preferred * x
    };
    drawn.iter().map(of_case).sum::<f64>() + 0.5 * RIDGE * (model * model + length * length)
}

/// The inverse Hessian times the gradient of the loss.
fn newton_step(cases: &[Case], drawn: &[usize], [model, length]: [f64; 2]) -> [f64; 2] {
    let mut gradient = [RIDGE * model, RIDGE * length];
    let [mut a, mut b, mut c] = [RIDGE, 0.0, RIDGE]; // the Hessian (a b; b c)
    for case in drawn.iter().map(|&i| &cases[i]) {
        let p = sigmoid(model + length * case.length);
        let (error, spread) = (p - case.preferred, p * (1.0 - p));
        gradient[0] += error;
        gradient[1] += error * case.length;
        a += spread;
        b += spread * case.length;
        c += spread * case.length * case.length;
    }
    let determinant = a * c - b * b;
    [
        (c * gradient[0] - b * gradient[1]) / determinant,
        (a * gradient[1] - b * gradient[0]) / determinant,
    ]
}

#[cfg(test)]
mod tests {
    use gigaro_tensor::Generator;

    use super::super::WinRate;
    use super::*;

    /// Comparisons by a judge who sees quality worth `model` log odds and length worth `taste`; the first model writes
    /// `more` words more than the second on average, of 20 either way.
    fn judged(n: usize, model: f64, taste: f64, more: f64, seed: u64) -> Vec<Compared> {
        let generator = Generator::new(seed);
        (0..n)
            .map(|_| {
                let difference = (more + 20.0 * generator.normal_pair().0).round();
                let x = model + taste * (difference / 20.0).tanh();
                let verdict = if generator.uniform() < sigmoid(x) {
                    Verdict::First
                } else {
                    Verdict::Second
                };
                Compared {
                    verdict,
                    first_length: (100.0 + difference).max(0.0) as usize,
                    second_length: 100,
                }
            })
            .collect()
    }

    #[test]
    fn a_pure_preference_for_length_is_taken_out() {
        let compared = judged(3_000, 0.0, 2.0, 15.0, 1);
        let raw = WinRate::of(compared.iter().map(|c| c.verdict));
        let controlled = LengthControlled::of(&compared, 0);
        assert!(raw.rate() > 0.65, "{raw}");
        assert!((controlled.rate - 0.5).abs() < 0.035, "{controlled:?}");
        assert!(controlled.interval.contains(0.5), "{controlled:?}");
        assert!(
            (controlled.length_effect - 2.0).abs() < 0.35,
            "{controlled:?}"
        );
        assert_eq!(controlled, LengthControlled::of(&compared, 0));
    }

    #[test]
    fn a_better_model_stays_better_whatever_its_length() {
        // Log odds of 1 are a rate of 73.1 %; the better model writes less, which costs it wins with this judge.
        let compared = judged(3_000, 1.0, 2.0, -15.0, 2);
        let raw = WinRate::of(compared.iter().map(|c| c.verdict));
        let controlled = LengthControlled::of(&compared, 0);
        assert!(raw.rate() < 0.6, "{raw}");
        assert!((controlled.rate - 0.731).abs() < 0.035, "{controlled:?}");
    }

    #[test]
    fn without_differences_in_length_the_rate_is_the_raw_one() {
        let case = |verdict| Compared {
            verdict,
            first_length: 9,
            second_length: 9,
        };
        let mut compared = vec![case(Verdict::First); 60];
        compared.extend([case(Verdict::Tie); 20]);
        compared.extend([case(Verdict::Second); 20]);
        let controlled = LengthControlled::of(&compared, 0);
        assert!((controlled.rate - 0.7).abs() < 1e-3, "{controlled:?}");
        assert_eq!(controlled.length_effect, 0.0);
        let always = LengthControlled::of(&compared[..60], 0);
        assert!(always.rate > 0.99 && always.rate < 1.0, "{always:?}");
        assert_eq!(LengthControlled::of(&[], 0).rate, 0.5);
    }

    // scipy 1.17.1: x = np.tanh(d / d.std()); optimize.minimize(lambda w: np.sum(np.logaddexp(0, w[0] + w[1] * x)
    // - y * (w[0] + w[1] * x)) + 0.005 * (w @ w), [0, 0], method="BFGS", options=dict(gtol=1e-10)).x
    #[test]
    fn the_fit_is_that_of_scipy() {
        use Verdict::{First, Second, Tie};
        let differences = [-4, 10, 3, 0, -7, 12, 5, -2];
        let verdicts = [Second, First, First, Tie, First, Second, First, Second];
        let compared: Vec<Compared> = differences
            .into_iter()
            .zip(verdicts)
            .map(|(difference, verdict)| Compared {
                verdict,
                first_length: (20 + difference) as usize,
                second_length: 20,
            })
            .collect();
        let fitted = LengthControlled::of(&compared, 0);
        assert!((fitted.rate - 0.539_730_271).abs() < 1e-6, "{fitted:?}");
        assert!(
            (fitted.length_effect - 0.611_711_86).abs() < 1e-5,
            "{fitted:?}"
        );
    }
}
