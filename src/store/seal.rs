//! The last line of a state file: a hash of everything above it.
//!
//! YAML has no end marker, so half of all truncations of a task file are another valid task. The seal
//! tells a whole file from a damaged one, and a file that orch wrote from one that a person edited.

use sha2::{Digest, Sha256};

/// What begins the last line.
const LABEL: &str = "seal: ";
/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// What the seal says about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Seal {
    /// These are exactly the bytes that orch wrote.
    Valid,
    /// A seal is there, but the bytes above are others, or the line ends were converted: a person's edit,
    /// if the history is intact.
    Broken,
}

/// A file taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// Everything above the seal.
    pub body: &'a str,
    /// Whether it fits.
    pub seal: Seal,
}

/// Appends the seal to a body that ends in a line feed.
pub fn add(body: &mut String) {
    let digest = digest(body.as_bytes());
    body.push_str(LABEL);
    body.push_str(&digest);
    body.push('\n');
}

/// Splits a file into body and seal; `None` if it does not end in a seal line, so it is damaged.
///
/// Spaces and line ends after the seal are what editors leave behind; they break it, but damage nothing.
#[must_use]
pub fn split(text: &str) -> Option<Sealed<'_>> {
    let trimmed = text.trim_end_matches([' ', '\t', '\r', '\n']);
    let start = trimmed.rfind('\n').map_or(0, |n| n + 1);
    let digits = trimmed[start..].strip_prefix(LABEL)?;
    if digits.len() != DIGITS || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let body = &text[..start];
    let whole = &text[trimmed.len()..] == "\n" && digest(body.as_bytes()) == digits;
    Some(Sealed { body, seal: if whole { Seal::Valid } else { Seal::Broken } })
}

/// The digest of some bytes, in hexadecimal digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|b| [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
    digits.map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_fits_its_own_bytes_only() {
        let mut text = "format: 1\nid: A\n".to_owned();
        add(&mut text);
        let sealed = |t: &str| split(t).map(|s| s.seal);
        assert_eq!(sealed(&text), Some(Seal::Valid));
        assert_eq!(sealed(&text.replace("id: A", "id: B")), Some(Seal::Broken));
        assert_eq!(sealed(&text.replace('\n', "\r\n")), Some(Seal::Broken));
        assert_eq!(sealed(text.trim_end()), Some(Seal::Broken));
        assert_eq!(sealed(&text[..text.len() - 2]), None);
        assert_eq!(sealed(&format!("{text}x: 1\n")), None);
        assert_eq!(sealed(&text.to_uppercase()), None);
        assert_eq!(sealed(""), None);
    }
}
