//! Reward against distance: where optimising a learned reward stops helping and starts to be exploited.
//!
//! As a policy moves away from where it started (KL divergence), the score it is trained on, the *proxy*, keeps rising,
//! while the true score, the *gold*, rises, peaks and falls (Gao, Schulman and Hilton 2022, "Scaling laws for reward model
//! overoptimization"). The small world has a true score, so both can be drawn, and the peak be read off.

use crate::report::Chart;

/// A policy at some stage of its training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The update after which it was measured.
    pub step: u64,
    /// Its mean KL divergence from the policy that training started from, in nats per answer.
    pub kl: f64,
    /// The mean score by the reward model that it is trained on.
    pub proxy: f64,
    /// The mean true score.
    pub gold: f64,
}

impl Point {
    /// The square root of the divergence, in which both scores are smooth near the start. An estimate of the divergence may
    /// be a little below zero, where it counts as zero.
    pub fn distance(&self) -> f64 {
        self.kl.max(0.0).sqrt()
    }
}

/// Points of one run, by rising divergence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frontier {
    points: Vec<Point>,
}

/// Gao, Schulman and Hilton's law for reinforcement learning: gold gained at distance `d` is `d (alpha - beta ln d)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoldFit {
    /// How fast gold rises at first.
    pub alpha: f64,
    /// How fast exploitation sets in.
    pub beta: f64,
}

impl GoldFit {
    /// The gold gained at a distance.
    pub fn at(&self, distance: f64) -> f64 {
        if distance <= 0.0 {
            return 0.0;
        }
        distance * (self.alpha - self.beta * distance.ln())
    }

    /// The distance of most gold, `exp(alpha / beta - 1)`; none if nothing is exploited.
    pub fn peak(&self) -> Option<f64> {
        (self.beta > 0.0).then(|| (self.alpha / self.beta - 1.0).exp())
    }
}

impl Frontier {
    /// The frontier of these points, in any order.
    pub fn of(points: impl IntoIterator<Item = Point>) -> Frontier {
        let mut points: Vec<Point> = points.into_iter().collect();
        points.sort_by(|a, b| a.kl.total_cmp(&b.kl).then(a.step.cmp(&b.step)));
        Frontier { points }
    }

    /// The points by rising divergence.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The point of the highest gold score: the policy to keep. Of several the nearest to the start.
    pub fn best(&self) -> Option<Point> {
        let better = |best: Point, p: &Point| if p.gold > best.gold { *p } else { best };
        let first = *self.points.first()?;
        Some(self.points.iter().fold(first, better))
    }

    /// The gold that was lost again between the best point and the farthest: 0 unless the proxy was exploited.
    pub fn lost(&self) -> f64 {
        match (self.best(), self.points.last()) {
            (Some(best), Some(last)) => best.gold - last.gold,
            _ => 0.0,
        }
    }

    /// The law that fits the gold gained over the nearest point best, by least squares; none for fewer than three points
    /// at different distances away from the start.
    pub fn fit(&self) -> Option<GoldFit> {
        let start = self.points.first()?;
        let away = || self.points.iter().filter(|p| p.distance() > 0.0);
        let mut distances: Vec<f64> = away().map(Point::distance).collect();
        distances.dedup();
        if distances.len() < 3 {
            return None;
        }
        // gold = alpha u + beta v with u = d, v = -d ln d: the normal equations of two unknowns
        let [mut uu, mut uv, mut vv, mut ug, mut vg] = [0.0; 5];
        for point in away() {
            let (u, gold) = (point.distance(), point.gold - start.gold);
            let v = -u * u.ln();
            uu += u * u;
            uv += u * v;
            vv += v * v;
            ug += u * gold;
            vg += v * gold;
        }
        let determinant = uu * vv - uv * uv;
        Some(GoldFit {
            alpha: (vv * ug - uv * vg) / determinant,
            beta: (uu * vg - uv * ug) / determinant,
        })
    }

    /// Both scores, as gained over the nearest point, against the distance.
    pub fn chart(&self) -> Chart {
        let chart = Chart::new(
            "True and learned reward",
            "distance from the start, square root of KL in nats",
            "score gained",
        );
        let start = self.points.first().copied();
        let curve = |score: fn(&Point) -> f64| -> Vec<(f64, f64)> {
            let gained = |p: &Point| score(p) - start.as_ref().map_or(0.0, score);
            let point = |p: &Point| (p.distance(), gained(p));
            self.points.iter().map(point).collect()
        };
        chart
            .curve("reward model (proxy)", curve(|p| p.proxy))
            .curve("truth (gold)", curve(|p| p.gold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law() -> GoldFit {
        GoldFit {
            alpha: 1.2,
            beta: 0.7,
        }
    }

    /// A run that follows the law, last point first.
    fn run() -> Frontier {
        Frontier::of((0..40).rev().map(|step| {
            let distance = f64::from(step) * 0.1;
            Point {
                step: step as u64,
                kl: distance * distance,
                proxy: -1.0 + distance,
                gold: 3.0 + law().at(distance),
            }
        }))
    }

    #[test]
    fn gold_peaks_where_the_law_says() {
        let frontier = run();
        let peak = law().peak().expect("beta is positive");
        let best = frontier.best().expect("there are points");
        assert!((best.distance() - peak).abs() <= 0.05, "{best:?}, {peak}");
        assert!(frontier.lost() > 0.1);
        let last = frontier.points().last().expect("there are points");
        assert_eq!(last.step, 39);
        assert_eq!(frontier.lost(), best.gold - last.gold);
    }

    #[test]
    fn the_fit_finds_the_law_of_a_run() {
        let fit = run().fit().expect("enough points");
        assert!(
            (fit.alpha - 1.2).abs() < 1e-9 && (fit.beta - 0.7).abs() < 1e-9,
            "{fit:?}"
        );
        assert_eq!(Frontier::default().fit(), None);
        assert_eq!(Frontier::of(run().points()[..3].to_vec()).fit(), None);
    }

    #[test]
    fn a_run_that_only_improves_has_lost_nothing() {
        let rising = Frontier::of(run().points()[..15].to_vec());
        assert_eq!(rising.lost(), 0.0);
        assert_eq!(Frontier::default().lost(), 0.0);
        assert_eq!(Frontier::default().best(), None);
        let odd = Point {
            kl: -0.01,
            ..run().points()[0]
        };
        assert_eq!(odd.distance(), 0.0);
    }

    #[test]
    fn the_chart_can_be_drawn() {
        use crate::report::Report;
        let mut report = Report::new("Reward", "Proxy and gold.");
        report.chart(run().chart());
        let page = report.to_html().expect("a chart of finite points");
        assert!(page.contains("truth (gold)") && page.contains("reward model (proxy)"));
    }
}
