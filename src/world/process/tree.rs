//! Who descends from whom, as `/proc` tells it. Where there is no `/proc` the lists are empty and the
//! process group has to do.

use std::collections::HashMap;
use std::fs;

/// The part of `/proc/<pid>/stat` that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub parent: i32,
    pub group: i32,
    /// Ended, but not yet waited for.
    pub zombie: bool,
    /// Start time in clock ticks since boot.
    pub start: u64,
}

/// Reads the entry of one process; `None` if it is gone.
pub(super) fn entry(pid: i32) -> Option<Entry> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything, also parentheses and blanks, so fields count from the last one.
fn parse(stat: &str) -> Option<Entry> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    Some(Entry {
        zombie: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// Every process, by number.
fn all() -> HashMap<i32, Entry> {
    let Ok(dir) = fs::read_dir("/proc") else { return HashMap::new() };
    dir.flatten()
        .filter_map(|item| item.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| Some((pid, entry(pid)?)))
        .collect()
}

/// Descendants of a process that have not ended, in no order: process number and group.
pub(super) fn living_below(root: i32) -> Vec<(i32, i32)> {
    let all = all();
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, entry) in &all {
        children.entry(entry.parent).or_default().push(*pid);
    }
    let mut found = Vec::new();
    let mut queue = vec![root];
    while let Some(parent) = queue.pop() {
        // Removing keeps this finite even if the picture, taken while it changed, has a circle in it.
        for pid in children.remove(&parent).unwrap_or_default() {
            queue.push(pid);
            if let Some(entry) = all.get(&pid).filter(|entry| !entry.zombie) {
                found.push((pid, entry.group));
            }
        }
    }
    found
}

/// Processes that have not ended and were started with `mark` (`NAME=value`) in their environment.
pub(super) fn living_with(mark: &str) -> Vec<i32> {
    living_where(|pid| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes()))
    })
}

/// Processes that have not ended and that the test picks.
pub(super) fn living_where(test: impl Fn(i32) -> bool) -> Vec<i32> {
    all().into_iter().filter(|(pid, entry)| !entry.zombie && test(*pid)).map(|(pid, _)| pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = "42 (a) S 7) Z 17 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9911 0 0";
        assert_eq!(parse(stat), Some(Entry { parent: 17, group: 42, zombie: true, start: 9911 }));
        assert_eq!(parse("42 (x"), None);
    }
}
