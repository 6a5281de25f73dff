//! What a run reached and what it cost: held against its recipe, as lines, and as a page.

use std::path::PathBuf;

use anyhow::Result;
use gigaro_train::metrics::{self, Record};
use gigaro_train::quantity::{Count, Seconds, Timestamp};
use gigaro_train::report::{Cell, Chart, Cost, FILE_NAME, Figure, Report, Sample, Table};
use gigaro_train::resources::Machine;

use super::align::{ALIGNED, Alignment, BASE, FINE_TUNED, SMALL, page};
use super::exam::ExamResult;
use super::{Job, StageResult};
use crate::output::Output;
use crate::recipe::MustReach;

/// Answers shown in the report.
const SAMPLES: usize = 24;
/// Moments of a stage at which its samples are shown.
const MOMENTS: usize = 4;

/// All that a run produced.
#[derive(Default)]
pub(crate) struct Summary {
    pub(crate) stages: Vec<StageResult>,
    /// Before fine-tuning.
    pub(crate) base: Option<ExamResult>,
    /// After it.
    pub(crate) tuned: Option<ExamResult>,
    /// What alignment led to, if the run went so far.
    pub(crate) alignment: Option<Alignment>,
    /// The whole run as the clock saw it.
    pub(crate) seconds: f64,
}

/// One figure that a recipe asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) asked: String,
    pub(crate) found: String,
    pub(crate) reached: bool,
}

impl Summary {
    /// The validation loss of pretraining, in nats per token.
    pub(crate) fn validation_loss(&self) -> Option<f64> {
        self.stages.first().and_then(|stage| stage.validation_loss)
    }

    /// The exam of the model that the run ends with.
    pub(crate) fn answering(&self) -> Option<&ExamResult> {
        let aligned = self.alignment.as_ref().and_then(|a| a.questions.as_ref());
        aligned.or(self.tuned.as_ref())
    }

    /// Each figure that the recipe asks for and this run measured.
    pub(crate) fn checks(&self, must: &MustReach) -> Vec<Check> {
        let mut checks = Checks::default();
        let loss = |x: f64| format!("{x:.4}");
        let time = |x: f64| Seconds(x).to_string();
        let base = self.base.as_ref().map(|e| e.all.accuracy());
        let answering = self.answering().map(|e| e.all.accuracy());
        checks.at_most(
            "validation loss",
            must.validation_loss_at_most,
            self.validation_loss(),
            loss,
        );
        checks.at_most(
            "accuracy before fine-tuning",
            must.base_accuracy_at_most,
            base,
            percent,
        );
        checks.at_least(
            "held-out accuracy",
            must.held_out_accuracy_at_least,
            answering,
            percent,
        );
        if let Some(alignment) = &self.alignment {
            checks.alignment(alignment, must);
        }
        let seconds = Some(self.seconds);
        checks.at_most("time", must.seconds_at_most, seconds, time);
        checks.0
    }

    /// Says what was reached; returns whether all of it was.
    pub(crate) fn tell(&self, job: &Job, output: &Output) -> bool {
        let checks = self.checks(&job.recipe.must_reach);
        let line = |c: &Check| {
            let word = if c.reached { "reached" } else { "NOT reached" };
            (
                c.name,
                format!("{} ({} asked for): {word}", c.found, c.asked),
            )
        };
        let lines: Vec<(&str, String)> = checks.iter().map(line).collect();
        if !lines.is_empty() {
            output.fields("\nWhat the recipe asks for", &lines);
        }
        checks.iter().all(|c| c.reached)
    }

    /// Writes the run's page and returns its path.
    ///
    /// # Errors
    /// If the metrics cannot be read or the page cannot be written.
    pub(crate) fn write_report(&self, job: &Job) -> Result<PathBuf> {
        let recipe = &job.recipe;
        let mut report = Report::new(
            &recipe.name,
            format!("{} {}", recipe.about, Timestamp::now()),
        );
        if let Some(note) = recipe.of_two_worlds().filter(|_| self.tuned.is_some()) {
            report.paragraph(format!("Note: {note}"));
        }
        report.figures(self.figures());
        for stage in &self.stages {
            let records = metrics::read(&stage.dir.join(metrics::FILE_NAME))?;
            report.heading(stage.name).chart(loss_chart(&records));
            let written = written(&records);
            if !written.is_empty() {
                report
                    .paragraph("What the model wrote on the way, newest first.")
                    .samples(written);
            }
        }
        if let Some(alignment) = &self.alignment {
            page::show(alignment, &mut report)?;
        }
        if let Some(exam) = self.answering() {
            report
                .heading("Questions never asked in training")
                .table(exam_table(exam))
                .samples(samples(exam));
        }
        let checks = self.checks(&recipe.must_reach);
        if !checks.is_empty() {
            report
                .heading("What the recipe asks for")
                .table(check_table(&checks));
        }
        report.heading("What it cost").cost(&self.costs());
        report.machine(&Machine::here(), recipe.run.dtype.name());
        report.settings("Recipe", serde_json::to_value(recipe)?);
        let path = job.out.join(FILE_NAME);
        report.write(&path)?;
        Ok(path)
    }

    fn figures(&self) -> Vec<Figure> {
        let figure = |name: &str, value: String, note: String| Figure {
            name: name.into(),
            value,
            note,
        };
        let share = |exam: &ExamResult| format!("{:.1} %", 100.0 * exam.all.accuracy());
        let mut figures = Vec::new();
        if let Some(tuned) = self.answering() {
            let note = self.base.as_ref().map(|base| {
                let before = format!("{} before fine-tuning", share(base));
                match (&self.alignment, &self.tuned) {
                    (Some(_), Some(tuned)) => format!("{before}, {} after it", share(tuned)),
                    _ => before,
                }
            });
            figures.push(figure(
                "held-out accuracy",
                share(tuned),
                note.unwrap_or_default(),
            ));
        }
        if let Some(duel) = self
            .alignment
            .as_ref()
            .and_then(|a| a.duel(ALIGNED, FINE_TUNED))
        {
            let (rate, low, high) = duel.share();
            figures.push(figure(
                "preferred to the fine-tuned model",
                format!("{:.1} %", 100.0 * rate),
                format!("95 % interval {:.1} to {:.1} %", 100.0 * low, 100.0 * high),
            ));
        }
        if let Some(loss) = self.validation_loss() {
            figures.push(figure(
                "validation loss",
                format!("{loss:.4}"),
                "nats per token".into(),
            ));
        }
        if let Some(stage) = self.stages.first() {
            figures.push(figure(
                "parameters",
                Count(stage.parameters as f64).to_string(),
                String::new(),
            ));
        }
        figures.push(figure(
            "time",
            Seconds(self.seconds).to_string(),
            "from the command to the end".into(),
        ));
        figures
    }

    fn costs(&self) -> Vec<Cost> {
        let stage = |s: &StageResult| Cost {
            stage: s.name.into(),
            seconds: s.seconds,
            tokens: s.tokens,
            flops: s.flops,
        };
        let exam = |e: &ExamResult| Cost {
            stage: "answering questions".into(),
            seconds: e.seconds,
            tokens: 0,
            flops: 0.0,
        };
        let mut costs: Vec<Cost> = self.stages.iter().map(stage).collect();
        let mut exams: Vec<&ExamResult> = self.base.iter().chain(&self.tuned).collect();
        if let Some(alignment) = &self.alignment {
            costs.extend([&alignment.rewarded.stage, &alignment.ppo].map(stage));
            costs.extend(alignment.small.iter().map(|s| Cost {
                stage: format!("{}, small model", s.name),
                ..stage(s)
            }));
            costs.push(Cost {
                stage: "comparing models".into(),
                seconds: alignment.seconds,
                tokens: 0,
                flops: 0.0,
            });
            exams.extend(&alignment.questions);
        }
        costs.extend(exams.into_iter().map(exam));
        costs
    }
}

/// Figures held against their bounds.
#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn at_least(
        &mut self,
        name: &'static str,
        bound: Option<f64>,
        found: Option<f64>,
        words: impl Fn(f64) -> String,
    ) {
        self.check(name, ("at least", f64::ge), bound.zip(found), words);
    }

    fn at_most(
        &mut self,
        name: &'static str,
        bound: Option<f64>,
        found: Option<f64>,
        words: impl Fn(f64) -> String,
    ) {
        self.check(name, ("at most", f64::le), bound.zip(found), words);
    }

    /// Holds what was found against its bound, if both are there.
    fn check(
        &mut self,
        name: &'static str,
        (side, reached): (&str, fn(&f64, &f64) -> bool),
        bound_and_found: Option<(f64, f64)>,
        words: impl Fn(f64) -> String,
    ) {
        if let Some((bound, found)) = bound_and_found {
            self.0.push(Check {
                name,
                asked: format!("{side} {}", words(bound)),
                found: words(found),
                reached: reached(&found, &bound),
            });
        }
    }

    fn alignment(&mut self, alignment: &Alignment, must: &MustReach) {
        let wins = |one: &str, other: &str| Some(alignment.duel(one, other)?.rate.rate());
        let behaviour = alignment.named(ALIGNED).map(|c| &c.behaviour);
        self.at_least(
            "preferred to the fine-tuned model",
            must.ppo_win_rate_at_least,
            wins(ALIGNED, FINE_TUNED),
            percent,
        );
        self.at_least(
            "harmful requests refused",
            must.refusal_harmful_at_least,
            behaviour.map(|b| b.refused_harmful.share()),
            percent,
        );
        self.at_most(
            "harmless requests refused",
            must.refusal_harmless_at_most,
            behaviour.map(|b| b.refused_harmless.share()),
            percent,
        );
        self.at_least(
            "small aligned model preferred to the big base",
            must.small_win_rate_at_least,
            wins(SMALL, BASE),
            percent,
        );
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn loss_chart(records: &[Record]) -> Chart {
    let curve = |name: &str| -> Vec<(f64, f64)> {
        records
            .iter()
            .filter_map(|r| Some((r.step as f64, r.number(name)?)))
            .collect()
    };
    let chart =
        Chart::new("Loss", "step", "loss, nats per token").noisy_curve("training", curve("loss"));
    chart.curve("validation", curve("validation_loss"))
}

/// What a model wrote while it learned, newest first; of many measurements those that are spread evenly.
fn written(records: &[Record]) -> Vec<Sample> {
    let sample = |r: &Record| {
        Some(Sample {
            prompt: r.text(metrics::PROMPT)?.to_owned(),
            reply: r.text(metrics::SAMPLE)?.to_owned(),
            truth: None,
            label: format!("step {}", r.step),
        })
    };
    let all: Vec<Sample> = records.iter().rev().filter_map(sample).collect();
    // The same prompts come at each measurement.
    let each = all.iter().take_while(|s| s.label == all[0].label).count();
    let moments = all.len() / each.max(1);
    let every = moments.div_ceil(MOMENTS).max(1);
    let kept = |i: &usize| (i / each.max(1)).is_multiple_of(every);
    (0..all.len())
        .filter(kept)
        .map(|i| all[i].clone())
        .collect()
}

fn exam_table(exam: &ExamResult) -> Table {
    let mut table = Table::new("", &["question", "asked", "exactly right"]);
    for (kind, score) in exam.by_reason.iter().chain(&exam.by_kind) {
        table = table.row([
            (*kind).into(),
            score.asked.to_string().into(),
            Cell::Share(score.accuracy()),
        ]);
    }
    table
}

fn check_table(checks: &[Check]) -> Table {
    let mut table = Table::new("", &["figure", "asked for", "found", ""]);
    for check in checks {
        let word = if check.reached {
            "reached"
        } else {
            "not reached"
        };
        table = table.row([
            check.name.into(),
            check.asked.as_str().into(),
            check.found.as_str().into(),
            word.into(),
        ]);
    }
    table
}

/// Answers spread evenly over the exam, so that every kind has its chance.
fn samples(exam: &ExamResult) -> Vec<Sample> {
    let every = exam.answers.len().div_ceil(SAMPLES).max(1);
    let sample = |a: &super::exam::Answered| Sample {
        prompt: a.question.text.clone(),
        reply: a.answer.clone(),
        // What is right in other words is no mistake.
        truth: (!a.right).then(|| a.question.answer.clone()),
        label: format!(
            "{}, {}",
            a.question.kind,
            if a.right { "right" } else { "wrong" }
        ),
    };
    exam.answers.iter().step_by(every).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_held_against_the_recipe() {
        let must = MustReach {
            validation_loss_at_most: Some(1.88),
            seconds_at_most: Some(600.0),
            ..MustReach::default()
        };
        let stage = StageResult {
            name: "pretraining",
            dir: PathBuf::new(),
            checkpoint: PathBuf::new(),
            seconds: 1.0,
            tokens: 1,
            flops: 1.0,
            parameters: 1,
            validation_loss: Some(1.9),
        };
        let summary = Summary {
            stages: vec![stage],
            seconds: 60.0,
            ..Summary::default()
        };
        let checks = summary.checks(&must);
        assert_eq!(
            checks
                .iter()
                .map(|c| (c.name, c.reached))
                .collect::<Vec<_>>(),
            [("validation loss", false), ("time", true)]
        );
        assert_eq!(checks[0].asked, "at most 1.8800");
        assert_eq!(checks[0].found, "1.9000");
    }
}
