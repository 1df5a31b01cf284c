//! Colours, and when to use them.

use crate::protocol::task::Status;
use crate::world::env;

/// When output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// Whether a stream is to be coloured.
    #[must_use]
    pub fn colours(self, is_terminal: bool) -> bool {
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                let dumb = env::var("TERM").is_some_and(|term| term == "dumb");
                is_terminal && !dumb && env::var("NO_COLOR").is_none()
            }
        }
    }
}

/// A colour or weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Headings.
    Bold,
    /// What matters least.
    Dim,
    /// Failures.
    Red,
    /// Success.
    Green,
    /// What waits for somebody.
    Yellow,
    /// What moves.
    Blue,
    /// Names.
    Cyan,
    /// What a person has to look at.
    Magenta,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Red => "31",
            Tone::Green => "32",
            Tone::Yellow => "33",
            Tone::Blue => "34",
            Tone::Cyan => "36",
            Tone::Magenta => "35",
        }
    }
}

/// How one stream is written: with or without colour, and how wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to colour.
    pub colour: bool,
    /// Columns of the terminal; `None` when it is none, and nothing is cut.
    pub columns: Option<usize>,
}

impl Style {
    /// Without colours, of any width.
    pub const PLAIN: Style = Style { colour: false, columns: None };

    /// The text in a tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if self.colour { format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code()) } else { text.to_owned() }
    }

    /// Columns to wrap prose at: those of the terminal, at most 100.
    #[must_use]
    pub fn prose(self) -> usize {
        self.columns.unwrap_or(100).min(100)
    }
}

/// The tone of a status.
#[must_use]
pub fn status_tone(status: Status) -> Tone {
    match status {
        Status::Pending => Tone::Cyan,
        Status::InProgress => Tone::Blue,
        Status::InReview => Tone::Magenta,
        Status::Done => Tone::Green,
        Status::Failed => Tone::Red,
        Status::Blocked => Tone::Yellow,
        Status::Cancelled => Tone::Dim,
    }
}

/// Columns of the terminal behind standard output: `COLUMNS`, else what the terminal says.
#[must_use]
pub fn terminal_columns() -> Option<usize> {
    if !env::stdout_is_terminal() {
        return None;
    }
    let named = env::var("COLUMNS").and_then(|text| text.parse().ok());
    let told = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    named.or_else(told).filter(|columns| *columns >= 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paint_adds_escapes_only_where_colour_is_wanted() {
        let colour = Style { colour: true, columns: None };
        assert_eq!(colour.paint(Tone::Red, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Style::PLAIN.paint(Tone::Red, "x"), "x");
    }

    #[test]
    fn an_explicit_choice_wins_over_the_stream() {
        assert!(ColorChoice::Always.colours(false));
        assert!(!ColorChoice::Never.colours(true));
        assert!(!ColorChoice::Auto.colours(false));
    }
}
