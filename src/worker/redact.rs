//! Takes secrets out of a stream of bytes before anybody stores or shows them.
//!
//! Known values and well-known token shapes become `[redacted]`. What comes out depends on the bytes
//! alone and never on how they were cut into chunks: a decision that the next chunk could change waits
//! for it.

mod patterns;

use std::borrow::Cow;
use std::rc::Rc;

use patterns::{Find, find};

/// What stands in the place of a secret.
pub const REDACTED: &[u8] = b"[redacted]";
/// Shorter values are left alone: redacting `1` or `true` everywhere would destroy the evidence.
const SHORTEST: usize = 6;
/// Shortest line of a longer secret that counts as a secret of its own (a key printed with indentation).
const SHORTEST_LINE: usize = 16;
/// Longest body of a private key; whatever runs on longer had only the look of one.
const LONGEST_KEY: usize = 64 * 1024;

/// The secrets of one attempt.
#[derive(Debug)]
pub struct Secrets {
    /// Longest first, so that a secret that begins like a shorter one goes as a whole.
    values: Vec<Vec<u8>>,
    /// Bytes with which a secret can begin: everything else passes without a look.
    first: [bool; 256],
}

impl Secrets {
    /// Secrets with these values, besides the well-known shapes. Values below six bytes are ignored.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Rc<Self> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
            let escaped = serde_json::to_string(value).unwrap_or_default();
            let escaped = escaped.trim_matches('"');
            let whole = [value, value.trim(), escaped].into_iter().filter(|text| text.len() >= SHORTEST);
            all.extend(whole.chain(lines).map(|text| text.as_bytes().to_vec()));
        }
        all.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        all.dedup();
        let mut first = patterns::first_bytes();
        for value in &all {
            first[usize::from(value[0])] = true;
        }
        Rc::new(Secrets { values: all, first })
    }

    /// A whole text without its secrets.
    #[must_use]
    pub fn text(self: &Rc<Self>, text: &str) -> String {
        let mut stream = Redactor::new(Rc::clone(self));
        let mut out = stream.push(text.as_bytes());
        out.extend(stream.finish());
        match String::from_utf8_lossy(&out) {
            Cow::Borrowed(clean) => clean.to_owned(),
            Cow::Owned(clean) => clean,
        }
    }
}

/// Where in the stream we are.
#[derive(Debug, Clone, Copy)]
enum Mode {
    /// Looking for secrets.
    Scan,
    /// Inside a token: everything of its alphabet goes.
    Token(fn(u8) -> bool),
    /// Inside a private key, with the number of bytes that it may still have.
    Key(usize),
    /// After `-----END`, with the number of dashes seen since.
    KeyEnd(u8),
}

/// Redacts one stream.
#[derive(Debug)]
pub struct Redactor {
    secrets: Rc<Secrets>,
    mode: Mode,
    /// Bytes that wait for what follows.
    pending: Vec<u8>,
    /// The byte before those; a token begins at the edge of a word.
    previous: u8,
    /// The last bytes inside a key.
    tail: Vec<u8>,
    count: u64,
}

impl Redactor {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(secrets: Rc<Secrets>) -> Self {
        Redactor { secrets, mode: Mode::Scan, pending: Vec::new(), previous: 0, tail: Vec::new(), count: 0 }
    }

    /// How many secrets were taken out so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes the next bytes; returns what can be told already.
    #[must_use = "what is not stored is lost"]
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.pending.extend_from_slice(bytes);
        self.advance(false)
    }

    /// The rest, at the end of the stream.
    #[must_use = "what is not stored is lost"]
    pub fn finish(&mut self) -> Vec<u8> {
        self.advance(true)
    }

    fn advance(&mut self, last: bool) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.pending);
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            let used = match self.mode {
                Mode::Scan => self.scan(&bytes[at..], last, &mut out),
                Mode::Token(alphabet) => self.skip_token(&bytes[at..], alphabet),
                Mode::Key(left) => self.skip_key(bytes[at], left),
                Mode::KeyEnd(dashes) => self.skip_key_end(bytes[at], dashes),
            };
            let Some(used) = used else { break };
            if used > 0 {
                self.previous = bytes[at + used - 1];
            }
            at += used;
        }
        self.pending = bytes[at..].to_vec();
        out
    }

    /// Passes plain bytes on, or takes one secret out. `None`: more has to be known first.
    fn scan(&mut self, rest: &[u8], last: bool, out: &mut Vec<u8>) -> Option<usize> {
        let plain = rest.iter().position(|byte| self.secrets.first[usize::from(*byte)]).unwrap_or(rest.len());
        if plain > 0 {
            out.extend_from_slice(&rest[..plain]);
            return Some(plain);
        }
        match find(rest, &self.secrets.values, self.previous, last) {
            Find::Unknown => None,
            Find::Nothing => {
                out.push(rest[0]);
                Some(1)
            }
            Find::Value(len) => {
                out.extend_from_slice(REDACTED);
                self.count += 1;
                Some(len)
            }
            Find::Token { keep, len, alphabet } => {
                out.extend_from_slice(&rest[..keep]);
                out.extend_from_slice(REDACTED);
                self.count += 1;
                self.mode = Mode::Token(alphabet);
                Some(len)
            }
            Find::Key(len) => {
                out.extend_from_slice(REDACTED);
                self.count += 1;
                self.tail.clear();
                self.mode = Mode::Key(LONGEST_KEY);
                Some(len)
            }
        }
    }

    fn skip_token(&mut self, rest: &[u8], alphabet: fn(u8) -> bool) -> Option<usize> {
        let end = rest.iter().position(|byte| !alphabet(*byte));
        if end.is_some() {
            self.mode = Mode::Scan;
        }
        Some(end.unwrap_or(rest.len()))
    }

    fn skip_key(&mut self, byte: u8, left: usize) -> Option<usize> {
        self.tail.push(byte);
        if self.tail.len() > patterns::KEY_END.len() {
            self.tail.remove(0);
        }
        self.mode = match left {
            _ if self.tail == patterns::KEY_END => Mode::KeyEnd(0),
            0 => Mode::Scan,
            _ => Mode::Key(left - 1),
        };
        Some(1)
    }

    fn skip_key_end(&mut self, byte: u8, dashes: u8) -> Option<usize> {
        let (mode, used) = match byte {
            b'-' if dashes == 4 => (Mode::Scan, 1),
            b'-' => (Mode::KeyEnd(dashes + 1), 1),
            _ if dashes == 0 && patterns::is_label(byte) => (Mode::KeyEnd(0), 1),
            _ => (Mode::Scan, 0),
        };
        self.mode = mode;
        Some(used)
    }
}

#[cfg(test)]
mod tests;
