//! The report of a run: one HTML file that needs nothing else, for a person to look at.
//!
//! A [`Report`] is a title and a row of blocks (key figures, charts, tables, samples, settings) in
//! the order they were added; whoever ran the stages builds it, and [`Report::write`] makes the
//! file. Everything that comes from outside is escaped. Light and dark follow the reader's system.
//!
//! It is not a template engine and takes no HTML from callers. Read next: `chart.rs` for the
//! curves, `page.rs` for the HTML.

mod chart;
mod curve;
mod page;

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::quantity::{Bytes, Count, Seconds};
use crate::resources::Machine;

pub use chart::Chart;

/// The file's name in a run's folder.
pub const FILE_NAME: &str = "report.html";

/// A report under construction.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    lead: String,
    blocks: Vec<Block>,
}

#[derive(Clone, Debug)]
enum Block {
    Figures(Vec<Figure>),
    Heading(String),
    Paragraph(String),
    Chart(Chart),
    Table(Table),
    Samples(Vec<Sample>),
    SideBySide(Vec<SideBySide>),
    Settings(String, Value),
}

/// One number that matters, in a tile.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What it is: `held-out accuracy`.
    pub name: String,
    /// The number with its unit: `87.3 %`.
    pub value: String,
    /// What to compare it with: `12.0 % before fine-tuning`; may be empty.
    pub note: String,
}

/// What the model was given and what it wrote.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// What it was given.
    pub prompt: String,
    /// What it wrote.
    pub reply: String,
    /// The true answer, if there is one; the report marks replies that equal it.
    pub truth: Option<String>,
    /// Where it comes from: `step 500`, `arithmetic`; may be empty.
    pub label: String,
}

/// What several models wrote to the same prompt.
#[derive(Clone, Debug, Default)]
pub struct SideBySide {
    /// What they were given.
    pub prompt: String,
    /// Each model's name with its reply.
    pub replies: Vec<(String, String)>,
}

/// A table with a caption. The first column is text, the others are numbers, aligned right.
#[derive(Clone, Debug)]
pub struct Table {
    caption: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    has_total: bool,
}

/// One cell of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Text or a formatted number.
    Text(String),
    /// A share from 0 to 1, shown in percent with a bar.
    Share(f64),
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::Text(text.into())
    }
}

impl Table {
    /// A table without rows.
    pub fn new(caption: impl Into<String>, columns: &[&str]) -> Self {
        Table {
            caption: caption.into(),
            columns: columns.iter().map(|c| c.to_string()).collect(),
            rows: Vec::new(),
            has_total: false,
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not one cell per column.
    #[track_caller]
    pub fn row(mut self, cells: impl IntoIterator<Item = Cell>) -> Self {
        let cells: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(
            cells.len(),
            self.columns.len(),
            "table '{}': cells and columns differ",
            self.caption
        );
        self.rows.push(cells);
        self
    }

    /// Adds the last row, set apart: a sum or a mean of the others.
    ///
    /// # Panics
    /// If it has not one cell per column.
    #[track_caller]
    pub fn total(self, cells: impl IntoIterator<Item = Cell>) -> Self {
        Table {
            has_total: true,
            ..self.row(cells)
        }
    }
}

/// What one stage of a run cost. What was not measured is not in here.
#[derive(Clone, Debug)]
pub struct Cost {
    /// The stage: `pretraining`.
    pub stage: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens trained on or generated; 0 where the word makes no sense.
    pub tokens: u64,
    /// Floating-point operations, as the plan counts them; 0 if not counted.
    pub flops: f64,
}

impl Report {
    /// A report with its title and the sentence under it: what was run, on what, when.
    pub fn new(title: impl Into<String>, lead: impl Into<String>) -> Self {
        Report {
            title: title.into(),
            lead: lead.into(),
            blocks: Vec::new(),
        }
    }

    /// A row of key figures.
    pub fn figures(&mut self, figures: impl IntoIterator<Item = Figure>) -> &mut Self {
        self.push(Block::Figures(figures.into_iter().collect()))
    }

    /// Starts a section.
    pub fn heading(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Heading(text.into()))
    }

    /// A paragraph of plain text.
    pub fn paragraph(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Paragraph(text.into()))
    }

    /// A chart.
    pub fn chart(&mut self, chart: Chart) -> &mut Self {
        self.push(Block::Chart(chart))
    }

    /// A table.
    pub fn table(&mut self, table: Table) -> &mut Self {
        self.push(Block::Table(table))
    }

    /// What the model wrote.
    pub fn samples(&mut self, samples: impl IntoIterator<Item = Sample>) -> &mut Self {
        self.push(Block::Samples(samples.into_iter().collect()))
    }

    /// What several models wrote, prompt by prompt.
    pub fn side_by_side(&mut self, all: impl IntoIterator<Item = SideBySide>) -> &mut Self {
        self.push(Block::SideBySide(all.into_iter().collect()))
    }

    /// The settings of the run, folded away under `title`.
    pub fn settings(&mut self, title: impl Into<String>, settings: Value) -> &mut Self {
        self.push(Block::Settings(title.into(), settings))
    }

    /// The table of what the stages cost, with their sum.
    pub fn cost(&mut self, stages: &[Cost]) -> &mut Self {
        let known = |x: f64, text: String| if x > 0.0 { text } else { "–".into() };
        let row = |name: &str, seconds: f64, tokens: u64, flops: f64| -> [Cell; 5] {
            let (t, rate) = (tokens as f64, flops / seconds.max(1e-9));
            [
                name.into(),
                Seconds(seconds).to_string().into(),
                known(t, Count(t).to_string()).into(),
                known(flops, format!("{flops:.2e}")).into(),
                known(rate, format!("{:.0}", rate / 1e9)).into(),
            ]
        };
        let mut table = Table::new("", &["stage", "time", "tokens", "FLOPs", "GFLOP/s"]);
        for Cost {
            stage,
            seconds,
            tokens,
            flops,
        } in stages
        {
            table = table.row(row(stage, *seconds, *tokens, *flops));
        }
        if stages.len() > 1 {
            let seconds = stages.iter().map(|c| c.seconds).sum();
            let (tokens, flops) = (
                stages.iter().map(|c| c.tokens).sum(),
                stages.iter().map(|c| c.flops).sum::<f64>(),
            );
            // A rate over stages with and without counted work would mean nothing.
            let [name, time, tokens, flops, _] = row("all", seconds, tokens, flops);
            table = table.total([name, time, tokens, flops, "".into()]);
        }
        self.table(table)
    }

    /// The machine that it ran on, as a sentence.
    pub fn machine(&mut self, machine: &Machine, precision: &str) -> &mut Self {
        let memory = machine
            .memory_bytes
            .map(|b| format!(", {} of memory", Bytes(b)))
            .unwrap_or_default();
        let Machine {
            cpu,
            threads,
            system,
            ..
        } = machine;
        let plural = if *threads == 1 { "" } else { "s" };
        self.paragraph(format!("{cpu}, {threads} thread{plural}{memory}, {system}; computed in {precision}. Energy was not measured."))
    }

    fn push(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }

    /// The page as text.
    ///
    /// # Errors
    /// [`Error::Chart`] if a chart cannot be drawn.
    pub fn to_html(&self) -> Result<String> {
        page::render(self)
    }

    /// Writes the page, replacing an older one in one step.
    pub fn write(&self, path: &Path) -> Result<()> {
        let html = self.to_html()?;
        let beside = path.with_extension("html.tmp");
        std::fs::write(&beside, html).map_err(Error::io("write", &beside))?;
        std::fs::rename(&beside, path).map_err(Error::io("write", path))
    }
}
