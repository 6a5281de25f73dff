//! What a chart draws of its points, and the words on its axes.

use crate::quantity::Count;

/// Curves have at most this many points: more than pixels would only make the file large.
pub(super) const MAX_POINTS: usize = 400;

/// Averages neighbours until at most `MAX_POINTS` are left; the last point stays exact.
pub(super) fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let size = points.len().div_ceil(MAX_POINTS - 1);
    let mut out: Vec<_> = points.chunks(size).map(mean).collect();
    out.extend(points.last());
    out
}

/// The running mean of a noisy curve over a twenty-fifth of its length, centred on each point.
///
/// Near the ends the window shrinks on both sides alike, so a slope is never pulled to one side.
pub(super) fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let n = points.len();
    let reach = n / 50;
    let mut sums = vec![0.0; n + 1]; // sums[i] = y of the first i points
    for (i, p) in points.iter().enumerate() {
        sums[i + 1] = sums[i] + p.1;
    }
    let at = |i: usize| {
        let half = reach.min(i).min(n - 1 - i);
        (
            points[i].0,
            (sums[i + half + 1] - sums[i - half]) / (2 * half + 1) as f64,
        )
    };
    (0..n).map(at).filter(|p| p.1.is_finite()).collect()
}

fn mean(chunk: &[(f64, f64)]) -> (f64, f64) {
    let n = chunk.len() as f64;
    chunk
        .iter()
        .fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n))
}

/// Round values on a logarithmic axis from `low` to `high`: up to ten of 1-1.5-2-3-5-7, or of
/// 1-2-5, or powers of ten, whichever fits.
pub(super) fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    // Zero and infinity, too, are ends of an axis whose margin reaches beyond what numbers can say.
    let (least, most) = (f64::MIN_POSITIVE.log10(), f64::MAX.log10());
    let from = low.log10().max(least).floor() as i32;
    let to = high.log10().min(most).ceil() as i32;
    let all = |steps: &[f64], stride: usize| -> Vec<f64> {
        let decades = (from..=to).step_by(stride);
        let values = decades.flat_map(|e| steps.iter().map(move |m| m * 10f64.powi(e)));
        values.filter(|v| (low..=high).contains(v)).collect()
    };
    let sparse = ((to - from) as usize).div_ceil(8).max(1);
    [
        all(&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], 1),
        all(&[1.0, 2.0, 5.0], 1),
    ]
    .into_iter()
    .find(|ticks| ticks.len() <= 10)
    .unwrap_or_else(|| all(&[1.0], sparse))
}

/// Round values evenly spaced from `low` to `high`, about `count` of them: steps of 1, 2 or 5 times a power of ten.
pub(super) fn linear_ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let rough = (high - low) / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|m| m * power);
    let step = steps.into_iter().find(|&s| s >= rough).unwrap_or(rough);
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    if !(first.is_finite() && last - first <= 2.0 * count as f64) {
        return Vec::new(); // an axis too short or too long for numbers to tell apart
    }
    let ticks = (0..=(last - first).max(0.0) as usize).map(|i| (first + i as f64) * step);
    ticks.filter(|t| (low..=high).contains(t)).collect()
}

/// A value on the y axis: as few digits as tell the ticks apart at chart size.
pub(super) fn tick(y: f64) -> String {
    match y.abs() {
        0.0 => "0".into(),
        a if a >= 1e4 => short_count(y),
        a if a < 0.0095 => format!("{y:.1e}").replace(".0e", "e"),
        _ => {
            let text = format!("{y:.2}");
            text.trim_end_matches('0').trim_end_matches('.').into()
        }
    }
}

/// A count on an axis, without zeros that say nothing: `500`, `1.5k`, `2k`.
pub(super) fn short_count(x: f64) -> String {
    let text = Count(x).to_string();
    let suffix = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let number = &text[..text.len() - suffix.len()];
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few_on_any_axis() {
        assert_eq!(
            linear_ticks(0.0, 100.0, 5),
            [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
        );
        assert_eq!(linear_ticks(1.1, 4.2, 3), [2.0, 4.0]);
        for (low, high) in [
            (-1e300, 1e300),
            (1e-300, 2e-300),
            (0.0, f64::MAX),
            (1.0, 1.0 + 1e-15),
        ] {
            let ticks = linear_ticks(low, high, 6);
            assert!(ticks.len() <= 13 && ticks.iter().all(|t| (low..=high).contains(t)));
        }
    }

    #[test]
    fn long_curves_are_thinned_and_keep_their_end() {
        let points: Vec<_> = (0..100_000)
            .map(|i| (f64::from(i), f64::from(i % 7)))
            .collect();
        let thin = thinned(&points);
        assert!(
            thin.len() <= MAX_POINTS && thin.last() == points.last(),
            "{}",
            thin.len()
        );
    }

    #[test]
    fn smoothing_keeps_a_straight_line_and_calms_noise() {
        let line: Vec<_> = (0..500)
            .map(|i| (f64::from(i), 3.0 - 0.001 * f64::from(i)))
            .collect();
        assert!(
            smoothed(&line)
                .iter()
                .zip(&line)
                .all(|(a, b)| (a.1 - b.1).abs() < 1e-9)
        );
        let noise: Vec<_> = (0..500).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        assert!(
            smoothed(&noise)[50..450]
                .iter()
                .all(|p| (p.1 - 0.5).abs() < 0.06)
        );
        assert_eq!(smoothed(&[]), []);
    }

    #[test]
    fn axis_words_are_short() {
        for (y, text) in [
            (0.0, "0"),
            (2.5, "2.5"),
            (-0.001, "-1e-3"),
            (3.5e-4, "3.5e-4"),
            (12_000.0, "12k"),
            (1.25, "1.25"),
            (1e-300, "1e-300"),
        ] {
            assert_eq!(tick(y), text);
        }
        for (x, text) in [
            (0.0, "0"),
            (500.0, "500"),
            (1500.0, "1.5k"),
            (2000.0, "2k"),
            (1e6, "1M"),
            (120_000.0, "120k"),
        ] {
            assert_eq!(short_count(x), text);
        }
    }

    #[test]
    fn logarithmic_ticks_are_few_and_round() {
        assert_eq!(log_ticks(1.1, 10.5), [1.5, 2.0, 3.0, 5.0, 7.0, 10.0]);
        assert_eq!(log_ticks(0.5, 500.0).len(), 10);
        assert_eq!(log_ticks(0.5, 600.0).len(), 10);
        assert!(log_ticks(1e-300, 1e300).len() <= 10);
        assert!((2..=10).contains(&log_ticks(0.0, f64::INFINITY).len()));
        for decades in 1..=150 {
            let ticks = log_ticks(10f64.powi(-decades), 10f64.powi(decades));
            assert!((2..=10).contains(&ticks.len()), "{decades}: {ticks:?}");
        }
    }
}
