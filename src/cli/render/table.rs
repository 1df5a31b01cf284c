//! Aligned tables: one row per line, columns as wide as their widest cell, one column that gives way.

use super::style::{Style, Tone};
use super::text;

/// One cell.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A cell; the text is made fit for a terminal.
    #[must_use]
    pub fn new(content: &str) -> Self {
        Cell { text: text::line(content), tone: None }
    }

    /// The same in a tone.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = Some(tone);
        self
    }
}

impl From<&str> for Cell {
    fn from(content: &str) -> Self {
        Cell::new(content)
    }
}

impl From<String> for Cell {
    fn from(content: String) -> Self {
        Cell::new(&content)
    }
}

/// Rows under headings.
#[derive(Debug)]
pub struct Table {
    heads: Vec<&'static str>,
    gives_way: usize,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table; the column number `gives_way` is cut where the terminal is too narrow.
    #[must_use]
    pub fn new(heads: &[&'static str], gives_way: usize) -> Self {
        Table { heads: heads.to_vec(), gives_way, rows: Vec::new() }
    }

    /// Adds a row with one cell per heading.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.heads.len(), "a row has one cell per heading");
        self.rows.push(cells);
    }

    /// The table as text; columns in which every cell is empty are left out.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let widths = self.widths(style.columns);
        let heads: Vec<Cell> = self.heads.iter().map(|head| Cell::new(head).tone(Tone::Bold)).collect();
        std::iter::once(&heads).chain(&self.rows).map(|row| render_row(row, &widths, style)).collect()
    }

    /// Width of each column, 0 where it is left out.
    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let widest = |at: usize| self.rows.iter().map(|row| text::width(&row[at].text)).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..self.heads.len())
            .map(|at| if widest(at) == 0 { 0 } else { widest(at).max(text::width(self.heads[at])) })
            .collect();
        let total: usize = widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum();
        if let Some(excess) = columns.and_then(|columns| (total.saturating_sub(2)).checked_sub(columns)) {
            let wide = &mut widths[self.gives_way];
            *wide = wide.saturating_sub(excess).max((*wide).min(12));
        }
        widths
    }
}

fn render_row(row: &[Cell], widths: &[usize], style: Style) -> String {
    let shown: Vec<(&Cell, usize)> = row.iter().zip(widths.iter().copied()).filter(|(_, w)| *w > 0).collect();
    let last = shown.iter().rposition(|(cell, _)| !cell.text.is_empty()).unwrap_or(0);
    let mut line = String::new();
    for (at, (cell, width)) in shown.iter().enumerate().take(last + 1) {
        let content = text::cut(&cell.text, *width);
        let padding = if at == last { 0 } else { width + 2 - text::width(&content).min(*width) };
        line.push_str(&cell.tone.map_or_else(|| content.clone(), |tone| style.paint(tone, &content)));
        line.push_str(&" ".repeat(padding));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["ID", "TITLE", "OWNER", "DUE"], 1);
        table.row(vec!["A-1".into(), "한국어 제목 that is rather long".into(), "jq".into(), "".into()]);
        table.row(vec!["B-22".into(), "\u{1b}[31mshort".into(), "".into(), "".into()]);
        table
    }

    #[test]
    fn columns_align_and_empty_ones_are_left_out() {
        assert_eq!(
            sample().render(Style::PLAIN),
            "ID    TITLE                            OWNER\n\
             A-1   한국어 제목 that is rather long  jq\n\
             B-22  short\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let narrow = sample().render(Style { colour: false, columns: Some(30) });
        assert!(narrow.lines().all(|line| text::width(line) <= 30), "{narrow}");
        assert!(narrow.contains('…'));
    }
}
