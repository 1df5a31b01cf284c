//! Bounds what one output leaves on disk: its head and its tail, with a line in between that says how much
//! is missing, and a digest of exactly what was stored.

use sha2::{Digest, Sha256};

/// Default bound of one output, bytes.
pub const DEFAULT_CAP: u64 = 16 << 20;

/// Decides which bytes of a stream are stored. Bytes beyond the head wait in memory: at most a quarter of
/// the cap.
#[derive(Debug)]
pub struct Capture {
    head_left: usize,
    tail_size: usize,
    /// The last full part, and the part that fills up; together they hold at least the tail.
    older: Vec<u8>,
    newer: Vec<u8>,
    seen: u64,
    stored: u64,
    beyond: u64,
    digest: Sha256,
}

/// What was stored of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes of the log file.
    pub bytes: u64,
    /// Bytes that were left out.
    pub omitted: u64,
    /// SHA-256 of the log file, hexadecimal.
    pub sha256: String,
}

impl Capture {
    /// For a log file of about `cap` bytes.
    #[must_use]
    pub fn new(cap: u64) -> Self {
        let cap = usize::try_from(cap).unwrap_or(usize::MAX);
        let tail_size = cap / 8;
        Capture {
            head_left: cap - tail_size,
            tail_size,
            older: Vec::new(),
            newer: Vec::new(),
            seen: 0,
            stored: 0,
            beyond: 0,
            digest: Sha256::new(),
        }
    }

    /// Bytes stored so far.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Takes the next bytes; returns those that go to the log file now.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.seen += bytes.len() as u64;
        let (head, rest) = bytes.split_at(self.head_left.min(bytes.len()));
        self.head_left -= head.len();
        self.store(head);
        self.keep(rest);
        head
    }

    fn store(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.stored += bytes.len() as u64;
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.beyond += bytes.len() as u64;
        // Of a piece longer than the tail only its end can ever be needed.
        let bytes = &bytes[bytes.len().saturating_sub(self.tail_size)..];
        if self.newer.len() + bytes.len() > self.tail_size {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.extend_from_slice(bytes);
    }

    /// At the end of the stream: the bytes that the log file still lacks, and the account.
    #[must_use = "what is not stored is lost"]
    pub fn finish(mut self) -> (Vec<u8>, Stored) {
        let mut tail = std::mem::take(&mut self.older);
        tail.append(&mut self.newer);
        // Without a gap everything beyond the head is still here, and nothing has to be left out.
        let spare =
            if self.beyond > tail.len() as u64 { tail.len().saturating_sub(self.tail_size) } else { 0 };
        let tail = tail.split_off(spare);
        let omitted = self.beyond - tail.len() as u64;
        let mut rest = Vec::new();
        if omitted > 0 {
            rest.extend_from_slice(format!("\n[orch: {omitted} bytes are left out here]\n").as_bytes());
        }
        rest.extend_from_slice(&tail);
        self.store(&rest);
        let sha256 = hex(&self.digest.finalize());
        (rest, Stored { bytes: self.stored, omitted, sha256 })
    }
}

/// SHA-256, hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cap: u64, chunks: &[&[u8]]) -> (Vec<u8>, Stored) {
        let mut capture = Capture::new(cap);
        let mut file: Vec<u8> = chunks.iter().flat_map(|chunk| capture.push(chunk).to_vec()).collect();
        let (rest, stored) = capture.finish();
        file.extend(rest);
        assert_eq!((stored.bytes, &stored.sha256), (file.len() as u64, &sha256(&file)));
        (file, stored)
    }

    #[test]
    fn what_fits_is_stored_whole() {
        assert_eq!(run(80, &[b"abc", b"def"]).0, b"abcdef");
        let long = [b'x'; 80];
        let (file, stored) = run(80, &[&long[..75], &long[75..]]);
        assert_eq!((file.len(), stored.omitted), (80, 0));
        let (file, stored) = run(0, &[b"abc"]);
        assert_eq!((stored.omitted, file.is_empty()), (3, false));
    }

    #[test]
    fn of_what_is_too_much_head_and_tail_stay() {
        let text: Vec<u8> = (0..1000u32).map(|n| b'a' + u8::try_from(n % 26).unwrap_or(0)).collect();
        for size in [1, 3, 7, 64, 1000] {
            let chunks: Vec<&[u8]> = text.chunks(size).collect();
            let (file, stored) = run(80, &chunks);
            assert!(file.starts_with(&text[..70]), "chunks of {size}");
            assert!(file.ends_with(&text[990..]), "chunks of {size}");
            let note = format!("\n[orch: {} bytes are left out here]\n", stored.omitted);
            assert_eq!(file.len(), 1000 - usize::try_from(stored.omitted).unwrap_or(0) + note.len());
            assert!(stored.omitted >= 900, "the cap is kept: {stored:?}");
            assert!(String::from_utf8_lossy(&file).contains(&note));
        }
    }
}
