//! Taking time: the median over repeats, each long enough that the clock and a short disturbance do not count.

use std::time::Instant;

/// Least duration of one timed run, in seconds; shorter work is done several times in it.
const MIN_SECONDS: f64 = 0.3;

/// Seconds of one call of `work`: the median of `repeats` runs after three calls of warm-up.
pub(super) fn median_seconds(repeats: u16, mut work: impl FnMut()) -> f64 {
    work();
    work();
    let calls = (MIN_SECONDS / seconds(&mut work)).clamp(1.0, 1e9) as usize;
    let run = |_| seconds(|| (0..calls).for_each(|_| work())) / calls as f64;
    median((0..repeats).map(run).collect())
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64().max(1e-9)
}

/// The middle value; of an even number of values, the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) {
        (values[half - 1] + values[half]) / 2.0
    } else {
        values[half]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn sleeping_takes_as_long_as_it_says() {
        let nap = std::time::Duration::from_millis(150);
        let seconds = median_seconds(1, || std::thread::sleep(nap));
        assert!((0.15..0.3).contains(&seconds), "{seconds}");
    }
}
