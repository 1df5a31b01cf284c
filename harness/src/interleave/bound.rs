//! Which orders are explored.

use std::fmt;
use std::str::FromStr;

/// Which orders of what a few processes do are explored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Those in which processes are interrupted at most so often where they could have gone on.
    Within(usize),
    /// All orders of the locks that processes take and leave and of what they ask the remote. What a process does on its own
    /// computer between two of these, it does at one time.
    Exchanges,
    /// All.
    All,
}

impl Bound {
    /// How often processes may be interrupted where they could have gone on; `None` is as often as there are ways to.
    #[must_use]
    pub fn interruptions(self) -> Option<usize> {
        match self {
            Bound::Within(most) => Some(most),
            Bound::Exchanges | Bound::All => None,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Within(most) => f.pad(&most.to_string()),
            Bound::Exchanges => f.pad("exchanges"),
            Bound::All => f.pad("all"),
        }
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Bound, String> {
        match text {
            "all" => Ok(Bound::All),
            "exchanges" => Ok(Bound::Exchanges),
            _ => text.parse().map(Bound::Within).map_err(|_| "a number, `exchanges` or `all`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_named_as_it_is_read() {
        for bound in [Bound::Within(0), Bound::Within(12), Bound::Exchanges, Bound::All] {
            assert_eq!(bound.to_string().parse(), Ok(bound));
        }
        for wrong in ["", "-1", "some", "All"] {
            assert!(wrong.parse::<Bound>().is_err(), "{wrong}");
        }
    }
}
