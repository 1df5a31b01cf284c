//! A rehearsal while it plays: on a terminal a table that is drawn again in place, elsewhere one line per
//! change, so that a log of it can be read.

use std::collections::BTreeMap;

use super::style::{Style, Tone, status_tone, terminal_columns};
use super::table::{Cell, Table};
use super::text;
use crate::cli::output;
use crate::demo::play::Audience;
use crate::demo::view::{Board, Row};
use crate::world::env;

/// Width of the bar of progress.
const BAR: usize = 24;

/// How the board is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A terminal with this many rows, on which the cursor can be moved.
    Rows(usize),
    /// Anything else.
    Paper,
}

/// What standard output is.
#[must_use]
pub fn screen() -> Screen {
    let dumb = env::var("TERM").is_none_or(|term| term == "dumb");
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    match size {
        Ok(size) if env::stdout_is_terminal() && !dumb && terminal_columns().is_some() => {
            Screen::Rows(usize::from(size.ws_row))
        }
        _ => Screen::Paper,
    }
}

/// Writes the rehearsal to standard output.
pub struct Live {
    style: Style,
    screen: Screen,
    out: fn(&str),
    /// The board as it stands on the terminal.
    drawn: String,
    /// Status and holder of each task, as told last.
    told: BTreeMap<String, String>,
}

impl Live {
    /// Nothing is written yet.
    #[must_use]
    pub fn new(style: Style, screen: Screen) -> Self {
        // A terminal that went away is noticed when the summary is written.
        let out = |text: &str| drop(output::write(text));
        Live { style, screen, out, drawn: String::new(), told: BTreeMap::new() }
    }

    /// Leaves the last board where it is.
    pub fn end(&mut self) {
        self.drawn.clear();
    }

    /// Moves the cursor to where the board begins, and clears it away.
    fn back(&self) -> String {
        match self.drawn.lines().count() {
            0 => String::new(),
            lines => format!("\r\u{1b}[{lines}A\u{1b}[J"),
        }
    }

    /// Writes a line above the board.
    fn above(&mut self, line: &str) {
        (self.out)(&format!("{}{line}\n{}", self.back(), self.drawn));
    }

    fn redraw(&mut self, board: &Board) {
        let text = draw(board, self.style);
        if text != self.drawn {
            (self.out)(&format!("{}{text}", self.back()));
            self.drawn = text;
        }
    }

    fn tell(&mut self, board: &Board) {
        for row in &board.rows {
            let now = format!("{}  {}", row.status_word(), row.holder);
            if self.told.get(&row.id) == Some(&now) {
                continue;
            }
            let is_news = row.epoch > 0;
            self.told.insert(row.id.clone(), now);
            if is_news {
                let status = self.style.paint(status_tone(row.status), &format!("{:<11}", row.status_word()));
                let done = format!("{}/{}", board.done(), board.rows.len());
                let holder = text::line(&row.holder);
                (self.out)(&format!("    {:<12} {status} epoch {} {holder:<14} {done}\n", row.id, row.epoch));
            }
        }
    }
}

impl Audience for Live {
    fn scene(&mut self, title: &str) {
        let title = self.style.paint(Tone::Bold, &text::line(title));
        self.above(&format!("\n{title}"));
    }

    fn line(&mut self, line: &str) {
        let line = text::line(line);
        let width = self.style.columns.unwrap_or(usize::MAX).saturating_sub(4).max(20);
        self.above(text::wrap(&line, width, "  ").trim_end());
    }

    fn board(&mut self, board: &Board) {
        match self.screen {
            // A board that does not fit would scroll away from under the cursor.
            Screen::Rows(rows) if board.rows.len() + 4 < rows => self.redraw(board),
            _ => self.tell(board),
        }
    }
}

fn draw(board: &Board, style: Style) -> String {
    let mut table = Table::new(&["TASK", "STATUS", "EPOCH", "SESSION", "TITLE"], 4);
    board.rows.iter().for_each(|row| table.row(cells(row)));
    let (done, all) = (board.done(), board.rows.len().max(1));
    let full = BAR * done / all;
    let bar = format!("{}{}", style.paint(Tone::Green, &"█".repeat(full)), "░".repeat(BAR - full));
    format!("\n{}{bar} {done}/{all} done, {}s\n", table.render(style), board.seconds)
}

fn cells(row: &Row) -> Vec<Cell> {
    let epoch = if row.epoch == 0 { String::new() } else { row.epoch.to_string() };
    let epoch = if row.epoch > 1 { Cell::new(&epoch).tone(Tone::Yellow) } else { Cell::new(&epoch) };
    vec![
        row.id.as_str().into(),
        Cell::new(row.status_word()).tone(status_tone(row.status)),
        epoch,
        row.holder.as_str().into(),
        row.title.as_str().into(),
    ]
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::protocol::task::Status;

    thread_local! { static SEEN: RefCell<String> = const { RefCell::new(String::new()) }; }

    fn seen() -> String {
        SEEN.with(|seen| std::mem::take(&mut *seen.borrow_mut()))
    }

    fn live(screen: Screen) -> Live {
        let out = |text: &str| SEEN.with(|seen| seen.borrow_mut().push_str(text));
        Live { out, ..Live::new(Style::PLAIN, screen) }
    }

    fn board(status: Status, epoch: u64) -> Board {
        let row = Row { id: "a".into(), title: "Title".into(), status, holder: "w@ci".into(), epoch };
        Board { rows: vec![row], seconds: 3 }
    }

    #[test]
    fn a_terminal_shows_the_board_in_place_and_lines_above_it() {
        let mut live = live(Screen::Rows(40));
        live.board(&board(Status::InProgress, 2));
        let first = seen();
        assert!(
            first.starts_with("\nTASK") && first.contains("in_progress") && !first.contains('\u{1b}'),
            "{first}"
        );
        live.board(&board(Status::InProgress, 2));
        assert_eq!(seen(), "", "what is on the screen already is not drawn again");
        live.line("news");
        let lines = first.lines().count();
        assert_eq!(seen(), format!("\r\u{1b}[{lines}A\u{1b}[J  news\n{first}"));
    }

    #[test]
    fn paper_gets_one_line_per_change() {
        let mut live = live(Screen::Paper);
        live.board(&board(Status::Pending, 0));
        live.board(&board(Status::Done, 1));
        live.board(&board(Status::Done, 1));
        live.line("news");
        assert_eq!(seen(), "    a            done        epoch 1 w@ci           1/1\n  news\n");
    }

    #[test]
    fn a_board_that_does_not_fit_is_told_instead() {
        let mut live = live(Screen::Rows(5));
        live.board(&board(Status::Done, 1));
        assert!(!seen().contains("TASK"));
    }
}
