//! Text from files made fit for a terminal: no escapes, no control or bidirectional characters, cut and
//! wrapped by the columns that it takes there.
//!
//! Task files come from other machines. A title may hold an escape sequence that rewrites the screen or a
//! character that reorders the line, so nothing from a file is printed without passing through here.

/// One line: everything invisible is dropped, line breaks and tabs become spaces.
#[must_use]
pub fn line(text: &str) -> String {
    let kept: String = visible(text).map(|c| if matches!(c, '\n' | '\t') { ' ' } else { c }).collect();
    kept.trim().to_owned()
}

/// Several lines: line breaks stay, tabs become four spaces, everything else invisible is dropped.
#[must_use]
pub fn lines(text: &str) -> String {
    visible(text).collect::<String>().replace('\t', "    ").trim_end().to_owned()
}

/// The characters that a terminal shows as they are, with line breaks as `\n`.
fn visible(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        loop {
            match rest.next()? {
                '\u{1b}' => skip_escape(&mut rest),
                '\u{9b}' => skip_csi(&mut rest),
                '\r' if rest.peek() != Some(&'\n') => return Some('\n'),
                c if is_hidden(c) => {}
                c => return Some(c),
            }
        }
    })
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Drops what follows an escape character. A string sequence is dropped up to its end, or to the end of
/// the line, so that an unfinished one does not swallow the rest of the text.
fn skip_escape(rest: &mut Chars<'_>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_csi(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next_if(|c| *c != '\n') {
                if c == '\u{7}' || c == '\u{9c}' {
                    break;
                }
                if c == '\u{1b}' {
                    rest.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some(c) if ('\u{20}'..'\u{7f}').contains(c) => {
            rest.next();
        }
        _ => {}
    }
}

/// Drops the parameters and the final byte of a control sequence.
fn skip_csi(rest: &mut Chars<'_>) {
    while rest.next_if(|c| ('\u{20}'..'\u{40}').contains(c)).is_some() {}
    rest.next_if(|c| ('\u{40}'..'\u{7f}').contains(c));
}

/// Control characters, and characters that reorder, hide or join what is around them.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Columns that a text takes on a terminal.
#[must_use]
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}'
        | '\u{200c}'..='\u{200d}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// The text in at most `columns`; what was cut ends in `…`.
#[must_use]
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += char_width(c);
        if used > columns {
            break;
        }
        kept.push(c);
    }
    format!("{}…", kept.trim_end())
}

/// Breaks each line at spaces so that it fits `columns`, and puts `indent` before every line.
#[must_use]
pub fn wrap(text: &str, columns: usize, indent: &str) -> String {
    let room = columns.saturating_sub(width(indent)).max(20);
    text.lines().flat_map(|line| wrap_line(line, room)).map(|line| format!("{indent}{line}\n")).collect()
}

fn wrap_line(line: &str, room: usize) -> Vec<String> {
    if width(line) <= room {
        return vec![line.to_owned()];
    }
    let mut out = vec![String::new()];
    for word in line.split(' ') {
        let last = out.last_mut().expect("it begins with one line and only grows");
        if last.is_empty() {
            last.push_str(word);
        } else if width(last) + 1 + width(word) <= room {
            last.push(' ');
            last.push_str(word);
        } else {
            out.push(word.to_owned());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_reordering_characters_do_not_reach_the_terminal() {
        for (hostile, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;own title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9b}2Jgone", "gone"),
            ("a\u{202e}b\u{2066}c\u{200f}", "abc"),
            ("bell\u{7} back\u{8} del\u{7f} nul\0", "bell back del nul"),
            ("over\rwritten", "over written"),
            ("two\r\nlines\tand tab", "two lines and tab"),
            ("\u{1b}]unfinished", ""),
            ("한국어 ✓", "한국어 ✓"),
        ] {
            assert_eq!(line(hostile), shown, "{hostile:?}");
        }
        assert_eq!(lines("a\u{1b}[1m\r\n\tb\n\n"), "a\n    b");
    }

    #[test]
    fn an_unfinished_sequence_swallows_its_line_at_most() {
        assert_eq!(lines("\u{1b}]0;never closed\nnext"), "\nnext");
    }

    #[test]
    fn columns_are_counted_as_terminals_do() {
        assert_eq!((width("abc"), width("한국"), width("e\u{301}")), (3, 4, 1));
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("한국어", 4), "한…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert!(width(&cut("한국어한국어", 7)) <= 7);
    }

    #[test]
    fn wrapping_breaks_at_spaces_and_never_inside_a_word() {
        let text = wrap("one two three four five six seven", 24, "  ");
        assert_eq!(text, "  one two three four\n  five six seven\n");
        assert_eq!(
            wrap("https://example.org/a/very/long/link", 20, ""),
            "https://example.org/a/very/long/link\n"
        );
    }
}
