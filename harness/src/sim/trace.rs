//! What happened, as text for people and as one number for comparing runs.

use std::collections::VecDeque;

use super::kernel::Micros;

/// Lines that are kept.
const KEPT: usize = 4000;

/// The last lines, and a hash over all of them.
#[derive(Debug, Clone)]
pub struct Trace {
    lines: VecDeque<String>,
    hash: u64,
    count: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Trace { lines: VecDeque::new(), hash: 0xcbf2_9ce4_8422_2325, count: 0 }
    }
}

impl Trace {
    /// Adds a line about a machine.
    pub fn note(&mut self, now: Micros, machine: usize, text: &str) {
        let line = format!("{:>12.3} m{machine} {text}", now as f64 / 1_000_000.0);
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.count += 1;
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// A number that two equal runs share (FNV-1a over all lines).
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub fn tail(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
