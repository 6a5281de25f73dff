//! The HTML of a report. Every piece of text from outside goes through [`escape`].

use std::fmt::Write as _;

use serde_json::Value;

use super::chart::COLOURS;
use super::{Block, Cell, Chart, Figure, Report, Sample, SideBySide, Table};
use crate::error::Result;
use crate::quantity::Timestamp;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("hover.js");

/// Text made safe inside elements and quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Control characters are not allowed in HTML, escaped or not.
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

pub(super) fn render(report: &Report) -> Result<String> {
    let (title, lead) = (escape(&report.title), escape(&report.lead));
    let mut body = String::new();
    for block in &report.blocks {
        match block {
            Block::Figures(figures) => body.push_str(&figures_html(figures)),
            Block::Heading(text) => line(&mut body, format_args!("<h2>{}</h2>", escape(text))),
            Block::Paragraph(text) => line(&mut body, format_args!("<p>{}</p>", escape(text))),
            Block::Chart(chart) => body.push_str(&chart_html(chart)?),
            Block::Table(table) => body.push_str(&table_html(table)),
            Block::Samples(samples) => body.push_str(&samples_html(samples)),
            Block::SideBySide(all) => body.push_str(&side_by_side_html(all)),
            Block::Settings(title, settings) => body.push_str(&settings_html(title, settings)),
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let now = Timestamp::now();
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <main>\n<header>\n<h1>{title}</h1>\n<p class=\"lead\">{lead}</p>\n</header>\n{body}\
         <footer>gigaro {version}, {now}</footer>\n</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    ))
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}"); // writing to a String cannot fail
}

fn figures_html(figures: &[Figure]) -> String {
    let mut out = String::from("<dl class=\"figures\">\n");
    for Figure { name, value, note } in figures {
        let note = if note.is_empty() {
            String::new()
        } else {
            format!("<dd class=\"note\">{}</dd>", escape(note))
        };
        line(
            &mut out,
            format_args!(
                "<div><dt>{}</dt><dd class=\"value\">{}</dd>{note}</div>",
                escape(name),
                escape(value)
            ),
        );
    }
    out + "</dl>\n"
}

fn chart_html(chart: &Chart) -> Result<String> {
    let (title, y_name) = (escape(&chart.title), escape(&chart.y_name));
    let caption = format!(
        "<figcaption><strong>{title}</strong><span>{y_name}, by {}</span></figcaption>",
        escape(&chart.x_name)
    );
    if chart.is_empty() {
        return Ok(format!(
            "<figure class=\"chart\">{caption}<p class=\"nothing\">Nothing was measured.</p></figure>\n"
        ));
    }
    let mut out = format!("<figure class=\"chart\">\n{caption}\n");
    if chart.series.len() > 1 {
        out.push_str("<ul class=\"legend\">");
        for (i, series) in chart.series.iter().enumerate() {
            let _ = write!(
                out,
                "<li><i style=\"background:var(--c{})\"></i>{}</li>",
                i % COLOURS,
                escape(&series.name)
            );
        }
        out.push_str("</ul>\n");
    }
    for (class, size) in [("wide", (816, 300)), ("narrow", (360, 240))] {
        let (svg, data) = chart.draw(size)?;
        let data = escape(&data.to_string());
        line(
            &mut out,
            format_args!(
                "<div class=\"plot {class}\" role=\"img\" aria-label=\"{title}\" data-chart=\"{data}\">{svg}</div>"
            ),
        );
    }
    Ok(out + "</figure>\n")
}

fn table_html(table: &Table) -> String {
    let mut out = String::from("<div class=\"scroll\"><table>\n");
    if !table.caption.is_empty() {
        line(
            &mut out,
            format_args!("<caption>{}</caption>", escape(&table.caption)),
        );
    }
    let head: String = table
        .columns
        .iter()
        .map(|c| format!("<th scope=\"col\">{}</th>", escape(c)))
        .collect();
    line(
        &mut out,
        format_args!("<thead><tr>{head}</tr></thead>\n<tbody>"),
    );
    for (i, row) in table.rows.iter().enumerate() {
        let cells: String = row
            .iter()
            .enumerate()
            .map(|(i, cell)| cell_html(i == 0, cell))
            .collect();
        let class = if table.has_total && i + 1 == table.rows.len() {
            " class=\"total\""
        } else {
            ""
        };
        line(&mut out, format_args!("<tr{class}>{cells}</tr>"));
    }
    out + "</tbody>\n</table></div>\n"
}

fn cell_html(is_name: bool, cell: &Cell) -> String {
    match cell {
        Cell::Text(text) if is_name => format!("<th scope=\"row\">{}</th>", escape(text)),
        Cell::Text(text) => format!("<td>{}</td>", escape(text)),
        Cell::Share(share) if share.is_finite() => {
            let percent = share.clamp(0.0, 1.0) * 100.0;
            format!(
                "<td class=\"share\"><span class=\"bar\"><i style=\"width:{percent:.1}%\"></i></span><b>{percent:.1} %</b></td>"
            )
        }
        Cell::Share(_) => "<td>–</td>".into(),
    }
}

fn samples_html(samples: &[Sample]) -> String {
    let mut out = String::from("<div class=\"samples\">\n");
    for Sample {
        prompt,
        reply,
        truth,
        label,
    } in samples
    {
        let mut note = escape(label);
        let mut class = "";
        if let Some(truth) = truth {
            let right = truth.trim() == reply.trim();
            class = if right { " right" } else { " wrong" };
            let separator = if note.is_empty() { "" } else { " · " };
            note += &match right {
                true => format!("{separator}<b>right</b>"),
                false => format!("{separator}<b>wrong</b>, true answer: {}", escape(truth)),
            };
        }
        let note = if note.is_empty() {
            String::new()
        } else {
            format!("<p class=\"note\">{note}</p>")
        };
        line(
            &mut out,
            format_args!(
                "<article class=\"sample{class}\"><p class=\"prompt\">{}</p><p class=\"reply\">{}</p>{note}</article>",
                escape(prompt),
                escape(reply)
            ),
        );
    }
    out + "</div>\n"
}

fn side_by_side_html(all: &[SideBySide]) -> String {
    let mut out = String::from("<div class=\"samples\">\n");
    for SideBySide { prompt, replies } in all {
        let replies: String = replies
            .iter()
            .map(|(name, reply)| {
                let (name, reply) = (escape(name), escape(reply));
                format!("<div><dt>{name}</dt><dd>{reply}</dd></div>")
            })
            .collect();
        line(
            &mut out,
            format_args!(
                "<article class=\"sample\"><p class=\"prompt\">{}</p><dl>{replies}</dl></article>",
                escape(prompt)
            ),
        );
    }
    out + "</div>\n"
}

fn settings_html(title: &str, settings: &Value) -> String {
    let text = serde_json::to_string_pretty(settings).unwrap_or_default();
    format!(
        "<details><summary>{}</summary>\n<pre>{}</pre>\n</details>\n",
        escape(title),
        escape(&text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn full(text: &str) -> String {
        let mut report = Report::new(text, text);
        report
            .figures([Figure {
                name: text.into(),
                value: text.into(),
                note: text.into(),
            }])
            .heading(text)
            .paragraph(text)
            .chart(
                Chart::new(text, text, text)
                    .curve(text, [(0.0, 1.0), (1.0, 2.0)])
                    .curve(text, []),
            )
            .chart(Chart::new(text, text, text))
            .table(
                Table::new(text, &[text, text])
                    .row([text.into(), Cell::Share(0.5)])
                    .row([text.into(), Cell::Share(f64::NAN)]),
            )
            .samples([Sample {
                prompt: text.into(),
                reply: text.into(),
                truth: Some("x".into()),
                label: text.into(),
            }])
            .settings(text, json!({ text: text }))
            .cost(&[super::super::Cost {
                stage: text.into(),
                seconds: 1.0,
                tokens: 0,
                flops: 0.0,
            }]);
        report.to_html().unwrap()
    }

    #[test]
    fn nothing_from_outside_becomes_markup() {
        let hostile =
            "</script><script>alert(1)</script><img src=x onerror='a' \"b\">&\u{0}\u{1b}[2J";
        let (evil, tame) = (full(hostile), full("tame"));
        for mark in [
            "<script",
            "</script",
            "<img",
            "onerror='",
            "\u{0}",
            "\u{1b}",
        ] {
            assert_eq!(
                evil.matches(mark).count(),
                tame.matches(mark).count(),
                "{mark}"
            );
        }
        assert_eq!(evil.matches('<').count(), tame.matches('<').count());
    }

    #[test]
    fn the_page_asks_nobody_for_anything() {
        let page = full("tame").replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "src=", "@import", "url(", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn every_element_is_closed() {
        let page = full("a < b").replace(STYLE, "").replace(SCRIPT, "");
        let mut open = Vec::new();
        for piece in page.split('<').skip(1) {
            let tag = piece.split('>').next().unwrap_or_default();
            let name = tag
                .trim_start_matches('/')
                .split([' ', '/'])
                .next()
                .unwrap_or_default();
            match tag {
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "at <{tag}>"),
                _ if tag.ends_with('/') || tag.starts_with('!') || name == "meta" => {}
                _ => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    #[test]
    fn a_right_answer_is_marked_right() {
        let sample = |reply: &str| {
            samples_html(&[Sample {
                reply: reply.into(),
                truth: Some("Paris".into()),
                ..Sample::default()
            }])
        };
        assert!(sample(" Paris\n").contains("sample right"));
        assert!(sample("Rome").contains("true answer: Paris"));
    }
}
