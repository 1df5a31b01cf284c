//! Finds the word that somebody probably meant, for messages about unknown names.

/// The candidate nearest to `given`, if one is near enough to be worth a suggestion (case is ignored).
#[must_use]
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; whoever writes a paragraph where a name belongs did not mistype one.
    if given.len() > 64 {
        return None;
    }
    let given = given.to_lowercase();
    let allowed = (given.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|word| (distance(&given, &word.to_lowercase()), word))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, word)| *distance <= allowed || is_part(&given, word))
        .map(|(_, word)| word)
}

/// "; did you mean `x`?", or nothing.
#[must_use]
pub fn hint<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(given, candidates).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

/// "`x` is none of a, b, c", with the nearest one named.
#[must_use]
pub fn none_of(given: &str, words: &[&str]) -> String {
    let shown: String = given.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("`{shown}` is none of {}{}", words.join(", "), hint(given, words.iter().copied()))
}

fn is_part(given: &str, word: &str) -> bool {
    given.len() >= 3 && word.to_lowercase().starts_with(given)
}

/// Edits (insertions, deletions, replacements, swaps of neighbours) that separate two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_nonsense_finds_none() {
        let words = ["title", "priority", "needs", "tags", "in_progress"];
        assert_eq!(nearest("titel", words), Some("title"));
        assert_eq!(nearest("Prioritiy", words), Some("priority"));
        assert_eq!(nearest("tag", words), Some("tags"));
        assert_eq!(nearest("prio", words), Some("priority"));
        assert_eq!(nearest("xyzzy", words), None);
        assert_eq!(nearest(&"t".repeat(1000), words), None);
        assert_eq!(none_of("P9", &["P0", "P1"]), "`P9` is none of P0, P1; did you mean `P0`?");
    }
}
