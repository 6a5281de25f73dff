//! What the terminal shows while somebody ranks: the prompt, the answers side by side or stacked, and what can be pressed.

use gigaro_data::chat::{Message, Role};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Paragraph, Wrap};

use super::session::Session;

/// Narrower columns are hard to read; answers are stacked then.
const MIN_COLUMN: u16 = 36;
const PLACES: [&str; 9] = [
    "best", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th",
];
const KEYS: &str = "1-9 rank  = level  Enter save  s skip  f flag  u undo  ? help  q quit";

const HELP: [&str; 12] = [
    "1 to 9      name the answers from best to worst",
    "=           the next one is level with the one before; before any number, all are level",
    "Backspace   take the last key back",
    "Enter       save; answers you did not name share the last place",
    "s           skip this item",
    "f           flag this item, so that somebody looks at it again",
    "u           take your last label back",
    "Up, Down    move through long answers",
    "PgUp, PgDn  move through a long prompt",
    "q           quit; everything saved is kept",
    "",
    "Answers come in a random order, and what wrote them is hidden. Any key goes back.",
];

/// Draws one moment of a session.
pub(super) fn draw(frame: &mut Frame<'_>, session: &Session) {
    let [top, middle, bottom] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(2),
    ])
    .areas(frame.area());
    draw_top(frame, top, session);
    if session.help {
        let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(*line)).collect();
        let help = Paragraph::new(lines).wrap(Wrap { trim: false });
        frame.render_widget(help.block(Block::bordered().title(" Help ")), middle);
    } else if session.task.is_some() {
        draw_task(frame, middle, session);
    } else {
        let done =
            "Nothing is left to rank. Thank you. Press u to take your last label back, q to quit.";
        frame.render_widget(Paragraph::new(done).wrap(Wrap { trim: true }), middle);
    }
    draw_bottom(frame, bottom, session);
}

fn draw_top(frame: &mut Frame<'_>, area: Rect, session: &Session) {
    let progress = session.progress;
    let lines = vec![
        Line::from(vec![
            Span::from(plain(&session.labeller)).bold(),
            Span::from(format!(
                "   {} ranked, {} skipped, {} to go",
                progress.ranked, progress.skipped, progress.open
            )),
        ]),
        Line::from(session.agreement.as_str()).dim(),
    ];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_bottom(frame: &mut Frame<'_>, area: Rect, session: &Session) {
    let mut order = if session.task.is_some() {
        session.ranker.words()
    } else {
        String::new()
    };
    if !session.notice.is_empty() {
        order.clone_from(&session.notice);
    }
    let mut first = vec![Span::from(order).bold()];
    if session.flag {
        first.push("   flagged".fg(Color::Yellow));
    }
    let lines = vec![Line::from(first), Line::from(KEYS).dim()];
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_task(frame: &mut Frame<'_>, area: Rect, session: &Session) {
    let Some(task) = &session.task else {
        return;
    };
    let prompt = prompt_text(&task.prompt);
    // The prompt gets what it needs, up to a third of the screen.
    let wanted = wrapped_lines(&prompt, area.width.saturating_sub(2)).saturating_add(2);
    let height = wanted.min((area.height / 3).max(4));
    let [above, below] =
        Layout::vertical([Constraint::Length(height), Constraint::Min(1)]).areas(area);
    draw_pane(
        frame,
        above,
        " Prompt ".to_owned(),
        prompt,
        session.prompt_from,
        Style::new(),
    );

    let count = task.answers.len() as u16;
    let side_by_side = below.width / count.max(1) >= MIN_COLUMN;
    let parts = vec![Constraint::Fill(1); task.answers.len()];
    let panes = if side_by_side {
        Layout::horizontal(parts).split(below)
    } else {
        Layout::vertical(parts).split(below)
    };
    for (i, (answer, pane)) in task.answers.iter().zip(panes.iter()).enumerate() {
        let place = session.ranker.place_of(i);
        let title = match place.and_then(|place| PLACES.get(place)) {
            Some(name) => format!(" {}: {name} ", i + 1),
            None => format!(" {} ", i + 1),
        };
        let style = if place.is_some() {
            Style::new().fg(Color::Cyan)
        } else {
            Style::new()
        };
        draw_pane(
            frame,
            *pane,
            title,
            text(answer),
            session.answers_from,
            style,
        );
    }
}

/// A framed text moved up by `from` lines, as far as there is something to see, with a mark where more follows.
fn draw_pane(
    frame: &mut Frame<'_>,
    area: Rect,
    title: String,
    text: Text<'_>,
    from: u16,
    style: Style,
) {
    let inside = area.height.saturating_sub(2);
    let lines = wrapped_lines(&text, area.width.saturating_sub(2));
    let from = from.min(lines.saturating_sub(inside));
    let mut block = Block::bordered()
        .border_style(style)
        .title(Span::from(title).style(style.add_modifier(Modifier::BOLD)));
    if lines > from.saturating_add(inside) {
        block = block.title_bottom(Line::from(" more below ").right_aligned().dim());
    }
    let pane = Paragraph::new(text)
        .wrap(Wrap { trim: false })
        .scroll((from, 0));
    frame.render_widget(pane.block(block), area);
}

fn prompt_text(messages: &[Message]) -> Text<'static> {
    let mut lines = Vec::new();
    for message in messages {
        let name = match message.role {
            Role::System => "Instructions",
            Role::User => "User",
            Role::Assistant => "Assistant",
        };
        // A single question needs no name.
        if messages.len() > 1 {
            lines.push(Line::from(name).dim());
        }
        lines.extend(text(&message.content).lines);
    }
    Text::from(lines)
}

fn text(words: &str) -> Text<'static> {
    Text::from(plain(words.trim_end()))
}

/// Foreign text as a terminal can show it: no control characters, which could move the cursor, and none that turn the direction
/// of what follows.
fn plain(words: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    words
        .replace("\r\n", "\n")
        .replace('\t', "    ")
        .chars()
        .filter(|&c| c == '\n' || !(c.is_control() || turns(c)))
        .collect()
}

/// The lines a text takes at a width, as the pane breaks them.
fn wrapped_lines(text: &Text<'_>, width: u16) -> u16 {
    let pane = Paragraph::new(text.clone()).wrap(Wrap { trim: false });
    u16::try_from(pane.line_count(width.max(1))).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use gigaro_data::preferences::store::{Settings, Store};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;

    fn session() -> (tempfile::TempDir, Session) {
        let folder = tempfile::tempdir().expect("a folder");
        let items = folder.path().join("items.jsonl");
        std::fs::write(
            &items,
            "{\"prompt\": \"Why?\", \"answers\": [\"first\\u001b[31m\", \"second\"], \"sources\": [\"big-model\", \"small-model\"]}\n",
        )
        .expect("written");
        let settings = Settings {
            seed: 1,
            shared_percent: 100,
        };
        let mut store = Store::open_or_create(folder.path().join("l.db"), settings).expect("made");
        store.import(&items).expect("imported");
        (folder, Session::new(store, "ann").expect("begins"))
    }

    fn shown(session: &Session, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        terminal.draw(|frame| draw(frame, session)).expect("drawn");
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect();
        (0..height).map(row).collect()
    }

    #[test]
    fn the_end_of_a_long_text_can_be_reached_at_every_width() {
        let words = |n: usize| {
            (0..n)
                .map(|i| "w".repeat(1 + i * 7 % 13))
                .collect::<Vec<_>>()
        };
        let long = format!("{} END", words(60).join(" "));
        for width in 8..40 {
            let mut terminal = Terminal::new(TestBackend::new(width, 6)).expect("a screen");
            let pane = |frame: &mut Frame<'_>| {
                let text = Text::from(long.as_str());
                draw_pane(
                    frame,
                    frame.area(),
                    String::new(),
                    text,
                    u16::MAX,
                    Style::new(),
                );
            };
            terminal.draw(pane).expect("drawn");
            let buffer = terminal.backend().buffer();
            let cells = buffer.content().iter().map(|cell| cell.symbol());
            assert!(cells.collect::<String>().contains("END"), "width {width}");
        }
    }

    fn press(session: &mut Session, keys: &str) {
        for key in keys.chars() {
            let code = if key == '\n' {
                KeyCode::Enter
            } else {
                KeyCode::Char(key)
            };
            let stays = session
                .press(KeyEvent::new(code, KeyModifiers::NONE))
                .expect("kept");
            assert!(stays);
        }
    }

    fn line_of(lines: &[String], word: &str) -> usize {
        lines
            .iter()
            .position(|line| line.contains(word))
            .unwrap_or_else(|| panic!("{word} in\n{}", lines.join("\n")))
    }

    #[test]
    fn answers_stand_side_by_side_if_there_is_room_and_stacked_otherwise() {
        let (_folder, session) = session();
        let wide = shown(&session, 100, 24);
        assert_eq!(line_of(&wide, "first"), line_of(&wide, "second"));
        let narrow = shown(&session, 50, 24);
        assert_ne!(line_of(&narrow, "first"), line_of(&narrow, "second"));
        for tiny in [(1, 1), (10, 3), (20, 6)] {
            assert_eq!(shown(&session, tiny.0, tiny.1).len(), usize::from(tiny.1));
        }
    }

    #[test]
    fn sources_and_control_characters_are_not_shown() {
        let (_folder, session) = session();
        let all = shown(&session, 100, 24).join("\n");
        assert!(!all.contains("model") && !all.contains('\u{1b}'), "{all}");
        assert_eq!(plain("a\tb\u{202E}c\u{7}"), "a    bc");
    }

    #[test]
    fn keys_rank_flag_save_and_undo() {
        let (_folder, mut session) = session();
        press(&mut session, "\n");
        assert!(
            shown(&session, 100, 24)
                .join("\n")
                .contains("First press the number")
        );
        press(&mut session, "2f");
        let lines = shown(&session, 100, 24);
        line_of(&lines, "2: best");
        line_of(&lines, "flagged");
        press(&mut session, "\n");
        line_of(&shown(&session, 100, 24), "Nothing is left to rank");
        assert_eq!(session.progress.ranked, 1);
        press(&mut session, "u");
        assert_eq!(session.progress.ranked, 0);
        line_of(&shown(&session, 100, 24), "Your last label is taken back");
        press(&mut session, "?");
        line_of(&shown(&session, 100, 24), "Backspace");
        press(&mut session, "xs");
        assert_eq!(session.progress.skipped, 1);
        let quit = session.press(KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(!quit.expect("leaves"));
    }
}
