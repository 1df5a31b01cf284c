//! The shapes of secrets, and the search for one at the beginning of some bytes.

/// What begins at the first byte.
#[derive(Debug, Clone, Copy)]
pub(super) enum Find {
    /// No secret.
    Nothing,
    /// The bytes end before that is certain.
    Unknown,
    /// A known value of this many bytes.
    Value(usize),
    /// A token: so many bytes are shown, so many are taken, and all that follows of its alphabet goes.
    Token { keep: usize, len: usize, alphabet: fn(u8) -> bool },
    /// The first line of a private key, so many bytes.
    Key(usize),
}

/// A token with a well-known beginning.
struct Shape {
    prefix: &'static [u8],
    /// Upper and lower case mean the same, and the prefix is a name that stays visible.
    header: bool,
    /// Only at the edge of a word.
    edge: bool,
    alphabet: fn(u8) -> bool,
    /// Fewest bytes after the prefix.
    least: usize,
}

const fn token(prefix: &'static [u8], alphabet: fn(u8) -> bool, least: usize) -> Shape {
    Shape { prefix, header: false, edge: false, alphabet, least }
}

/// A prefix that also occurs inside ordinary words (`task-`) or random text.
const fn word(prefix: &'static [u8], alphabet: fn(u8) -> bool, least: usize) -> Shape {
    Shape { prefix, header: false, edge: true, alphabet, least }
}

const fn header(prefix: &'static [u8], least: usize) -> Shape {
    Shape { prefix, header: true, edge: least > 1, alphabet: is_credential, least }
}

/// Shapes, by the documentation of GitHub, GitLab, OpenAI and Anthropic, AWS, Slack, Google and RFC 6750.
/// The prefixes of headers are written in lower case.
const SHAPES: [Shape; 22] = [
    token(b"ghp_", is_word, 20),
    token(b"gho_", is_word, 20),
    token(b"ghu_", is_word, 20),
    token(b"ghs_", is_word, 20),
    token(b"ghr_", is_word, 20),
    token(b"github_pat_", is_word, 20),
    token(b"glpat-", is_word_or_dash, 20),
    word(b"sk-", is_word_or_dash, 20),
    word(b"AKIA", is_upper, 16),
    word(b"ASIA", is_upper, 16),
    token(b"xoxa-", is_word_or_dash, 10),
    token(b"xoxb-", is_word_or_dash, 10),
    token(b"xoxp-", is_word_or_dash, 10),
    token(b"xoxr-", is_word_or_dash, 10),
    token(b"xoxs-", is_word_or_dash, 10),
    word(b"AIza", is_word_or_dash, 35),
    header(b"authorization: bearer ", 1),
    header(b"authorization:bearer ", 1),
    header(b"authorization\": \"bearer ", 1),
    header(b"authorization\":\"bearer ", 1),
    header(b"authorization: basic ", 1),
    header(b"bearer ", 20),
];

const KEY_BEGIN: &[u8] = b"-----BEGIN ";
pub(super) const KEY_END: &[u8] = b"-----END ";
const KEY_WORDS: &[u8] = b"PRIVATE KEY";
/// Longest label of a key, as in `OPENSSH PRIVATE KEY`.
const KEY_LABEL: usize = 40;

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_word_or_dash(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_credential(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// Whether a byte can stand in the label of a key.
pub(super) fn is_label(byte: u8) -> bool {
    is_upper(byte) || byte == b' '
}

/// Bytes with which one of the shapes can begin.
pub(super) fn first_bytes() -> [bool; 256] {
    let mut first = [false; 256];
    first[usize::from(KEY_BEGIN[0])] = true;
    for shape in &SHAPES {
        let byte = shape.prefix[0];
        first[usize::from(byte)] = true;
        first[usize::from(byte.to_ascii_uppercase())] |= shape.header;
    }
    first
}

/// Says what begins at the first of `rest`, which is not empty; `previous` stands before it, and after a
/// `last` byte nothing follows. `values` are sorted by length, longest first.
pub(super) fn find(rest: &[u8], values: &[Vec<u8>], previous: u8, last: bool) -> Find {
    // The first candidate that is not ruled out decides, also when it is not certain yet: a later and
    // shorter one must not win only because the chunk ends here.
    let value = values.iter().map(|value| known(rest, value));
    let key = std::iter::once_with(|| key(rest));
    let shapes = SHAPES.iter().map(|shape| shaped(rest, shape, previous));
    value
        .chain(key)
        .chain(shapes)
        .find(|found| match found {
            Find::Nothing => false,
            Find::Unknown => !last,
            _ => true,
        })
        .unwrap_or(Find::Nothing)
}

fn known(rest: &[u8], value: &[u8]) -> Find {
    match begins(rest, value, u8::eq) {
        Some(true) => Find::Value(value.len()),
        Some(false) => Find::Nothing,
        None => Find::Unknown,
    }
}

fn shaped(rest: &[u8], shape: &Shape, previous: u8) -> Find {
    if shape.edge && is_word(previous) {
        return Find::Nothing;
    }
    let same = if shape.header { u8::eq_ignore_ascii_case } else { u8::eq };
    match begins(rest, shape.prefix, same) {
        Some(true) => {}
        Some(false) => return Find::Nothing,
        None => return Find::Unknown,
    }
    let start = shape.prefix.len();
    let body = rest[start..].iter().take(shape.least).take_while(|byte| (shape.alphabet)(**byte)).count();
    if body == shape.least {
        let keep = if shape.header { start } else { 0 };
        return Find::Token { keep, len: start + body, alphabet: shape.alphabet };
    }
    if start + body == rest.len() { Find::Unknown } else { Find::Nothing }
}

fn key(rest: &[u8]) -> Find {
    match begins(rest, KEY_BEGIN, u8::eq) {
        Some(true) => {}
        Some(false) => return Find::Nothing,
        None => return Find::Unknown,
    }
    let label = &rest[KEY_BEGIN.len()..];
    let len = label.iter().take(KEY_LABEL).take_while(|byte| is_label(**byte)).count();
    if len == label.len() {
        return if len < KEY_LABEL { Find::Unknown } else { Find::Nothing };
    }
    if !label[..len].windows(KEY_WORDS.len()).any(|words| words == KEY_WORDS) {
        return Find::Nothing;
    }
    match begins(&label[len..], b"-----", u8::eq) {
        Some(true) => Find::Key(KEY_BEGIN.len() + len + 5),
        Some(false) => Find::Nothing,
        None => Find::Unknown,
    }
}

/// Whether `rest` begins with `prefix`; `None` if it ends before that is certain.
fn begins(rest: &[u8], prefix: &[u8], same: fn(&u8, &u8) -> bool) -> Option<bool> {
    if !rest.iter().zip(prefix).all(|(a, b)| same(a, b)) {
        return Some(false);
    }
    (rest.len() >= prefix.len()).then_some(true)
}
