//! Curves as inline SVG, drawn by plotters and coloured by the page's style sheet.
//!
//! plotters knows only fixed colours, so each role (text, grid, first curve ..) is drawn in a
//! colour of its own that nothing else uses, and those are replaced by CSS variables afterwards:
//! one drawing serves the light and the dark page. It also rounds to whole pixels, so everything is
//! drawn four times as large and scaled down by the SVG's viewBox.
//!
//! What is drawn (thinning, smoothing, ticks) is in `curve.rs`.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde_json::json;

use super::curve::{linear_ticks, log_ticks, short_count, smoothed, thinned, tick};
use crate::error::{Error, Result};

/// A chart of one or more curves over a common axis, such as steps.
#[derive(Clone, Debug)]
pub struct Chart {
    pub(super) title: String,
    pub(super) x_name: String,
    pub(super) y_name: String,
    pub(super) series: Vec<Series>,
    log_y: bool,
}

/// One curve.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Finite points, sorted by x.
    points: Vec<(f64, f64)>,
    /// The running mean of a noisy curve, drawn over the faint points.
    mean: Option<Vec<(f64, f64)>>,
}

/// How many colours the style sheet has for curves.
pub(super) const COLOURS: usize = 6;
/// The finest step of a drawing is one part in this of a pixel.
const SCALE: u32 = 4;

type DrawResult<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Chart {
    /// A chart without curves. `y_name` carries the unit: `loss in nats per token`.
    pub fn new(
        title: impl Into<String>,
        x_name: impl Into<String>,
        y_name: impl Into<String>,
    ) -> Self {
        Chart {
            title: title.into(),
            x_name: x_name.into(),
            y_name: y_name.into(),
            series: Vec::new(),
            log_y: false,
        }
    }

    /// Adds a curve through points; those that are not finite are left out.
    pub fn curve(
        self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.add(name.into(), points.into_iter().collect(), false)
    }

    /// Adds a noisy curve, such as the loss of each step: drawn faintly, with its running mean.
    pub fn noisy_curve(
        self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.add(name.into(), points.into_iter().collect(), true)
    }

    /// Makes the vertical axis logarithmic, so that a loss that starts high does not flatten the
    /// rest. Without effect if any value is not positive.
    pub fn log_y(mut self) -> Self {
        self.log_y = true;
        self
    }

    fn add(mut self, name: String, mut points: Vec<(f64, f64)>, noisy: bool) -> Self {
        points.retain(|(x, y)| x.is_finite() && y.is_finite());
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mean = noisy.then(|| thinned(&smoothed(&points)));
        self.series.push(Series {
            name,
            points: thinned(&points),
            mean,
        });
        self
    }

    /// Whether there is nothing to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.series.iter().all(|s| s.points.is_empty())
    }

    /// The drawing for a place of `size` pixels, and what the page's script needs to read values off it.
    pub(super) fn draw(&self, size: (u32, u32)) -> Result<(String, serde_json::Value)> {
        let mut svg = String::new();
        let frame = self.draw_into(&mut svg, size).map_err(|e| Error::Chart {
            chart: self.title.clone(),
            why: e.to_string(),
        })?;
        let round = |v: f64| format!("{v:.4e}").parse::<f64>().unwrap_or(v);
        let values = |s: &Series| -> Vec<[f64; 2]> {
            s.mean
                .as_ref()
                .unwrap_or(&s.points)
                .iter()
                .map(|(x, y)| [round(*x), round(*y)])
                .collect()
        };
        let series: Vec<_> = self
            .series
            .iter()
            .map(|s| json!({"name": s.name, "points": values(s)}))
            .collect();
        Ok((
            themed(&svg),
            json!({"x": self.x_name, "range": frame, "series": series}),
        ))
    }

    /// Draws and returns the plot's frame: `[left, right, x at left, x at right, top, bottom]`.
    fn draw_into(&self, svg: &mut String, size: (u32, u32)) -> DrawResult<[f64; 6]> {
        let is_log = self.log_y && self.all_points().all(|p| p.1 > 0.0);
        let height = move |y: f64| if is_log { y.ln() } else { y };
        let (x_low, x_high) = range(self.all_points().map(|p| p.0), 0.0);
        let (y_low, y_high) = range(self.all_points().map(|p| height(p.1)), 0.06);
        let y_ticks = if is_log {
            let ticks = log_ticks(y_low.exp(), y_high.exp());
            ticks.into_iter().map(height).collect()
        } else {
            linear_ticks(y_low, y_high, 6)
        };
        let x_ticks = linear_ticks(x_low, x_high, if size.0 > 500 { 8 } else { 4 });
        let label = |f: &f64| tick(if is_log { f.exp() } else { *f });

        let root =
            SVGBackend::with_string(svg, (size.0 * SCALE, size.1 * SCALE)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(6 * SCALE)
            .margin_right(16 * SCALE)
            .x_label_area_size(26 * SCALE)
            .y_label_area_size(46 * SCALE)
            .build_cartesian_2d(
                Axis::new(x_low..x_high, x_ticks),
                Axis::new(y_low..y_high, y_ticks),
            )?;
        let text = || ("sans-serif", 12 * SCALE).into_font().color(&role(TEXT));
        let mut mesh = chart.configure_mesh();
        mesh.disable_x_mesh()
            .bold_line_style(role(GRID).stroke_width(SCALE))
            .light_line_style(TRANSPARENT)
            .axis_style(role(GRID).stroke_width(SCALE))
            .x_labels(1000) // all ticks of the axis
            .y_labels(1000)
            .set_all_tick_mark_size(4 * SCALE)
            .x_label_style(text().pos(Pos::new(HPos::Center, VPos::Top)))
            .y_label_style(text())
            .x_label_formatter(&|x| short_count(*x))
            .y_label_formatter(&label)
            .draw()?;
        for (i, series) in self.series.iter().enumerate() {
            let colour = role(CURVE + (i % COLOURS) as u8);
            series.draw_into(&mut chart, colour, height)?;
        }
        let (px, py) = chart.plotting_area().get_pixel_range();
        root.present()?;
        drop(chart);
        drop(root);
        Ok([
            f64::from(px.start),
            f64::from(px.end),
            x_low,
            x_high,
            f64::from(py.start),
            f64::from(py.end),
        ])
    }

    fn all_points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(|s| s.points.iter().copied())
    }
}

impl Series {
    fn draw_into(
        &self,
        chart: &mut ChartContext<'_, SVGBackend<'_>, Cartesian2d<Axis, Axis>>,
        colour: RGBColor,
        height: impl Fn(f64) -> f64,
    ) -> DrawResult<()> {
        let line = |points: &[(f64, f64)], style: ShapeStyle| {
            let at = |p: &(f64, f64)| (p.0, height(p.1));
            LineSeries::new(points.iter().map(at).collect::<Vec<_>>(), style)
        };
        if let Some(mean) = &self.mean {
            chart.draw_series(line(&self.points, colour.mix(0.35).stroke_width(SCALE)))?;
            chart.draw_series(line(mean, colour.stroke_width(2 * SCALE)))?;
            return Ok(());
        }
        chart.draw_series(line(&self.points, colour.stroke_width(2 * SCALE)))?;
        // A few measured points are worth seeing as such.
        if self.points.len() <= 24 {
            let dot =
                |p: &(f64, f64)| Circle::new((p.0, height(p.1)), 3 * SCALE as i32, colour.filled());
            chart.draw_series(self.points.iter().map(dot))?;
        }
        Ok(())
    }
}

/// An axis with ticks of our own choice: those of plotters are never found on an axis of extreme length.
struct Axis {
    range: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(range: Range<f64>, ticks: Vec<f64>) -> Self {
        let range = range.into();
        Self { range, ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

/// The range of values, padded by a share of it, never empty.
fn range(values: impl Iterator<Item = f64>, pad: f64) -> (f64, f64) {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    let spread = high - low;
    if spread > 0.0 && spread.is_finite() {
        return (low - pad * spread, high + pad * spread);
    }
    let middle = if low.is_finite() { low } else { 0.5 };
    let half = middle.abs().max(1.0) * 0.5;
    (middle - half, middle + half)
}

const TEXT: u8 = 1;
const GRID: u8 = 2;
const CURVE: u8 = 16;

/// The stand-in colour of a role: `#0103xx` occurs nowhere else.
fn role(n: u8) -> RGBColor {
    RGBColor(1, 3, n)
}

/// Replaces the stand-in colours by CSS variables and lets the page decide the size.
fn themed(svg: &str) -> String {
    let mut out = svg
        // Inside HTML the namespace goes without saying.
        .replace(" xmlns=\"http://www.w3.org/2000/svg\"", "")
        .replace(&format!("\"#0103{TEXT:02X}\""), "\"var(--muted)\"")
        .replace(&format!("\"#0103{GRID:02X}\""), "\"var(--line)\"");
    for i in 0..COLOURS {
        out = out.replace(
            &format!("\"#0103{:02X}\"", usize::from(CURVE) + i),
            &format!("\"var(--c{i})\""),
        );
    }
    // `<svg width="3264" height="1200" viewBox=..`: the viewBox alone scales.
    match (out.find(" width="), out.find(" viewBox=")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &out[..from], &out[to..]),
        _ => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_variables_and_the_size_is_free() {
        let chart = Chart::new("loss", "step", "nats")
            .curve("a", [(0.0, 3.0), (1.0, 2.0)])
            .noisy_curve("b", [(0.0, 1.0), (1.0, 1.5)]);
        let (svg, data) = chart.draw((760, 280)).unwrap();
        assert!(svg.starts_with("<svg viewBox="), "{}", &svg[..80]);
        for variable in ["--muted", "--line", "--c0", "--c1"] {
            assert!(svg.contains(variable), "{variable} in {svg}");
        }
        assert!(!svg.contains("#0103"), "{svg}");
        assert_eq!(data["series"][0]["points"][1], json!([1.0, 2.0]));
    }

    #[test]
    fn odd_points_draw_without_a_panic() {
        for points in [
            vec![],
            vec![(1.0, 2.0)],
            vec![(0.0, f64::NAN), (1.0, f64::INFINITY)],
            vec![(1.0, 5.0), (1.0, 5.0)],
            vec![(-1e300, 1e300), (1e300, -1e300)],
            vec![(-f64::MAX, f64::MAX), (f64::MAX, -f64::MAX)],
            vec![(0.0, 1e-12), (1.0, 2e-12)],
            vec![(0.0, 1e-300), (1.0, 1e300)],
            vec![(0.0, 0.0), (1.0, 1.0)],
        ] {
            let chart = Chart::new("x", "x", "y")
                .curve("a", points.clone())
                .noisy_curve("b", points);
            chart.draw((300, 200)).unwrap();
            chart.log_y().draw((300, 200)).unwrap();
        }
    }

    #[test]
    fn a_logarithmic_axis_names_the_values_themselves() {
        let chart = Chart::new("x", "x", "y")
            .curve("a", [(0.0, 9.0), (1.0, 1.2)])
            .log_y();
        let (svg, data) = chart.draw((760, 280)).unwrap();
        for value in ["\n2\n", "\n5\n"] {
            assert!(svg.contains(value), "{value:?} in {svg}");
        }
        assert_eq!(data["series"][0]["points"][0], json!([0.0, 9.0]));
    }
}
