//! The capacity page: what was measured, what was taken to be so, and what comes of both.

use std::path::Path;

use anyhow::Result;
use gigaro_serve::capacity::{Assumptions, Exchange, Fleet, LAUNCH_DAYS, Point, Replica};
use gigaro_train::quantity::{Bytes, Count};
use gigaro_train::report::{Cell, Chart, Figure, Report, Table};
use gigaro_train::resources::Machine;
use serde_json::json;

/// What the page is about.
pub(super) struct Matter<'a> {
    pub(super) model: &'a str,
    pub(super) dtype: &'a str,
    pub(super) exchange: Exchange,
    pub(super) assumptions: Assumptions,
    pub(super) points: &'a [Point],
    pub(super) replica: &'a Replica,
    pub(super) fleets: &'a [Fleet],
    pub(super) launch: &'a [Fleet],
}

/// Writes the page, one file without anything from elsewhere.
///
/// # Errors
/// If the file cannot be written.
pub(super) fn write(matter: &Matter<'_>, path: &Path) -> Result<()> {
    let Matter {
        model,
        dtype,
        exchange,
        assumptions,
        points,
        replica,
        fleets,
        launch,
    } = matter;
    let lead = format!(
        "{model} in {dtype}, {} tokens read and {} written for each message. One machine was measured; what several do is arithmetic.",
        exchange.prompt_tokens, exchange.reply_tokens
    );
    let mut page = Report::new("How many people it is enough for", lead);
    page.figures(figures(replica, launch));
    page.heading("Measured");
    page.chart(chart(
        "Tokens written a second, of all clients together",
        "tokens a second",
        points,
        |p| p.reply_tokens_per_s,
    ));
    page.chart(chart(
        "Time to the first token, which 95 of 100 do not exceed",
        "milliseconds",
        points,
        |p| p.first_token_p95_s * 1e3,
    ));
    page.table(measured(points));
    page.heading("What more people take");
    page.paragraph(format!(
        "Taken to be so: {} messages per user and day, {} times as many in the busiest hour, the first token within {} seconds, {} per hour and machine.",
        assumptions.messages_per_day, assumptions.peak_factor, assumptions.first_token_s, assumptions.price_per_hour
    ));
    let named = |fleet: &Fleet| Count(fleet.users).to_string();
    page.table(table(
        "Users a day",
        fleets.iter().map(|fleet| (named(fleet), fleet)),
    ));
    page.paragraph(format!(
        "ChatGPT's first {LAUNCH_DAYS} days, at the end of which a million had come (Sam Altman, 5 December 2022), if all came every day:"
    ));
    let days = launch.iter().enumerate();
    page.table(table(
        "Day",
        days.map(|(day, fleet)| (format!("{}: {}", day + 1, named(fleet)), fleet)),
    ));
    page.settings(
        "All numbers",
        json!({ "exchange": exchange, "assumptions": assumptions, "measured": points }),
    );
    page.machine(&Machine::here(), dtype);
    Ok(page.write(path)?)
}

fn figures(replica: &Replica, launch: &[Fleet]) -> Vec<Figure> {
    let figure = |name: &str, value: String, note: String| Figure {
        name: name.to_owned(),
        value,
        note,
    };
    let last = launch.last();
    vec![
        figure(
            "users a day of one machine",
            Count(replica.users_per_day.floor()).to_string(),
            format!("with {} requests at once", replica.point.clients),
        ),
        figure(
            "tokens a day of one machine",
            Count(replica.tokens_per_day).to_string(),
            "read and written".to_owned(),
        ),
        figure(
            "machines for a million users",
            last.map_or(String::new(), |fleet| fleet.replicas.to_string()),
            last.map_or(String::new(), |fleet| {
                format!("{:.2} a day", fleet.price_per_day)
            }),
        ),
    ]
}

fn chart(title: &str, unit: &str, points: &[Point], value: fn(&Point) -> f64) -> Chart {
    let curve = points.iter().map(|p| (p.clients as f64, value(p)));
    Chart::new(title, "clients", unit).curve("measured", curve)
}

fn measured(points: &[Point]) -> Table {
    let columns = [
        "Clients",
        "messages a second",
        "tokens read a second",
        "tokens written a second",
        "first token, 95 %",
        "per token",
    ];
    points.iter().fold(
        Table::new(
            "Clients who ask again as soon as they are answered",
            &columns,
        ),
        |table, p| {
            table.row([
                p.clients.to_string().into(),
                format!("{:.2}", p.exchanges_per_s).into(),
                format!("{:.0}", p.prompt_tokens_per_s).into(),
                format!("{:.0}", p.reply_tokens_per_s).into(),
                format!("{:.0} ms", p.first_token_p95_s * 1e3).into(),
                format!("{:.1} ms", p.between_tokens_s * 1e3).into(),
            ] as [Cell; 6])
        },
    )
}

fn table<'a>(what: &str, fleets: impl Iterator<Item = (String, &'a Fleet)>) -> Table {
    let columns = [what, "tokens a day", "machines", "memory", "price a day"];
    fleets.fold(
        Table::new("Machines as the measured one", &columns),
        |table, (name, fleet)| {
            table.row([
                name.into(),
                Count(fleet.tokens_per_day).to_string().into(),
                fleet.replicas.to_string().into(),
                Bytes(fleet.memory_bytes as u64).to_string().into(),
                format!("{:.2}", fleet.price_per_day).into(),
            ] as [Cell; 5])
        },
    )
}
