//! Ranking in the terminal: one task after another, each key and what it does.
//!
//! What is kept is in the store before the next task is shown, so leaving at any moment loses at most the task on the screen.

use std::time::Instant;

use anyhow::{Context, Result};
use gigaro_data::preferences::store::{Progress, Store, Task, Verdict};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::ranker::Ranker;
use super::screen;

/// Lines that a page key moves.
const PAGE: u16 = 5;

/// One labeller at work.
#[derive(Debug)]
pub(super) struct Session {
    store: Store,
    pub(super) labeller: String,
    pub(super) task: Option<Task>,
    pub(super) ranker: Ranker,
    pub(super) flag: bool,
    pub(super) progress: Progress,
    pub(super) agreement: String,
    /// What the last key could not do, or did.
    pub(super) notice: String,
    pub(super) help: bool,
    /// Lines by which the answers and the prompt are moved up.
    pub(super) answers_from: u16,
    pub(super) prompt_from: u16,
    since: Instant,
}

/// Takes over the terminal until the labeller leaves.
///
/// # Errors
/// If the terminal cannot be used, or the store cannot be read or written; the terminal is put back first.
pub(super) fn run(store: Store, labeller: &str) -> Result<Progress> {
    let mut session = Session::new(store, labeller)?;
    let mut terminal = ratatui::try_init().context("cannot take over this terminal")?;
    let done = work(&mut terminal, &mut session);
    ratatui::try_restore().context("cannot put the terminal back; the command `reset` does")?;
    done.map(|()| session.progress)
}

fn work(terminal: &mut DefaultTerminal, session: &mut Session) -> Result<()> {
    loop {
        terminal.draw(|frame| screen::draw(frame, session))?;
        // Some terminals also tell when a key is let go.
        if let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
            && !session.press(key)?
        {
            return Ok(());
        }
    }
}

impl Session {
    pub(super) fn new(store: Store, labeller: &str) -> Result<Self> {
        let mut session = Self {
            store,
            labeller: labeller.to_owned(),
            task: None,
            ranker: Ranker::new(0),
            flag: false,
            progress: Progress::default(),
            agreement: String::new(),
            notice: String::new(),
            help: false,
            answers_from: 0,
            prompt_from: 0,
            since: Instant::now(),
        };
        session.go_on()?;
        Ok(session)
    }

    /// Does what a key asks for; false when the labeller leaves.
    pub(super) fn press(&mut self, key: KeyEvent) -> Result<bool> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return Ok(key.code != KeyCode::Char('c'));
        }
        self.notice.clear();
        if self.help {
            self.help = false;
            return Ok(true);
        }
        match key.code {
            KeyCode::Char('q') => return Ok(false),
            KeyCode::Char('?') => self.help = true,
            KeyCode::Char('u') => self.undo()?,
            KeyCode::Down => self.answers_from = self.answers_from.saturating_add(1),
            KeyCode::Up => self.answers_from = self.answers_from.saturating_sub(1),
            KeyCode::PageDown => self.prompt_from = self.prompt_from.saturating_add(PAGE),
            KeyCode::PageUp => self.prompt_from = self.prompt_from.saturating_sub(PAGE),
            other if self.task.is_some() => self.judge(other)?,
            _ => {}
        }
        Ok(true)
    }

    /// Keys that need a task.
    fn judge(&mut self, key: KeyCode) -> Result<()> {
        match key {
            KeyCode::Char(digit @ '1'..='9') => self.ranker.press(digit as usize - '1' as usize),
            KeyCode::Char('=') => self.ranker.toggle_level(),
            KeyCode::Backspace => self.ranker.back(),
            KeyCode::Char('f') => self.flag = !self.flag,
            KeyCode::Char('s') => self.keep(None)?,
            KeyCode::Enter => match self.ranker.ranks() {
                Some(ranks) => self.keep(Some(ranks))?,
                None => {
                    self.notice =
                        "First press the number of the best answer, or = if all are level.".into();
                }
            },
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, ranks: Option<Vec<u32>>) -> Result<()> {
        if let Some(task) = &self.task {
            let verdict = Verdict {
                ranks,
                flag: self.flag,
                seconds: self.since.elapsed().as_secs_f64(),
            };
            self.store.label(&self.labeller, task.item, &verdict)?;
        }
        self.go_on()
    }

    fn undo(&mut self) -> Result<()> {
        match self.store.undo(&self.labeller)? {
            Some(item) => {
                let task = self.store.task(&self.labeller, item)?;
                self.show(Some(task))?;
                self.notice = "Your last label is taken back.".into();
            }
            None => self.notice = "There is no label of yours to take back.".into(),
        }
        Ok(())
    }

    fn go_on(&mut self) -> Result<()> {
        let task = self.store.next(&self.labeller)?;
        self.show(task)
    }

    fn show(&mut self, task: Option<Task>) -> Result<()> {
        self.ranker = Ranker::new(task.as_ref().map_or(0, |task| task.answers.len()));
        self.task = task;
        self.flag = false;
        (self.answers_from, self.prompt_from) = (0, 0);
        self.since = Instant::now();
        self.progress = self.store.progress(&self.labeller)?;
        self.agreement = self.store.agreement()?.sentence();
        Ok(())
    }
}
