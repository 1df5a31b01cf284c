//! Splits text the way a shell does, as long as it is plain words; whatever needs a shell is an error.

/// Words with quotes and backslashes taken off; leading assignments (`A=1 cmd`) stay in as words.
///
/// # Errors
/// Says what in the text only a shell can do.
pub(super) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => until_quote(&mut chars, word.get_or_insert_default())?,
            '"' => until_double_quote(&mut chars, word.get_or_insert_default())?,
            '\\' => {
                let next = chars.next().ok_or("a backslash at the end")?;
                word.get_or_insert_default().push(next);
            }
            // `{}` is what xargs, find and parallel replace; other braces expand.
            '{' if chars.peek() == Some(&'}') => {
                chars.next();
                word.get_or_insert_default().push_str("{}");
            }
            '~' | '#' | '!' if word.is_some() => word.get_or_insert_default().push(c),
            _ if is_meta(c) => return Err(format!("{c:?} outside of quotes")),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn is_meta(c: char) -> bool {
    c.is_control() || "|&;<>()$`*?[]{}~#!".contains(c)
}

fn until_quote(chars: &mut impl Iterator<Item = char>, word: &mut String) -> Result<(), String> {
    for c in chars {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err("a quote that is not closed".to_owned())
}

fn until_double_quote(chars: &mut impl Iterator<Item = char>, word: &mut String) -> Result<(), String> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '$' | '`' => return Err(format!("{c:?} inside double quotes")),
            '\\' => match chars.next() {
                Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                Some(next) => word.extend(['\\', next]),
                None => break,
            },
            _ => word.push(c),
        }
    }
    Err("a double quote that is not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_are_split_and_unquoted() {
        for (text, words) in [
            ("", vec![]),
            ("  ls   -l ", vec!["ls", "-l"]),
            ("a 'b c' \"d e\" f\\ g", vec!["a", "b c", "d e", "f g"]),
            ("echo '' \"\"", vec!["echo", "", ""]),
            ("echo 'a;b|$c'", vec!["echo", "a;b|$c"]),
            ("rm {} HEAD~1 a#b", vec!["rm", "{}", "HEAD~1", "a#b"]),
            (r#"echo "a\"b\\c\d""#, vec!["echo", "a\"b\\c\\d"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for text in [
            "a;b", "a|b", "a&&b", "a>b", "$x", "\"$x\"", "`x`", "\"`x`\"", "a\nb", "*.c", "{a,b}", "~/x",
            "'a", "\"a", "a\\",
        ] {
            assert!(split(text).is_err(), "{text:?} was split");
        }
    }
}
