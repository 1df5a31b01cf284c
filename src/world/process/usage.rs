//! Resource use of the children that this process has waited for.

use std::ffi::{c_int, c_long};

/// `RUSAGE_CHILDREN`, the same on Linux and macOS.
const CHILDREN: c_int = -1;
/// `struct rusage` is two `timeval` (two words each on 64-bit systems) and fourteen words; C libraries
/// reserve up to sixteen more.
const WORDS: usize = 4 + 14 + 16;

unsafe extern "C" {
    fn getrusage(who: c_int, usage: *mut c_long) -> c_int;
}

/// User time in ms, system time in ms, and largest resident size in KiB, of all children (and theirs)
/// that were waited for; zeros where the system does not say.
pub(super) fn of_children() -> (u64, u64, u64) {
    let mut words: [c_long; WORDS] = [0; WORDS];
    // SAFETY: the buffer is aligned for and larger than `struct rusage` of every supported system, lives
    // through the call, and any bit pattern is a valid array of integers.
    if unsafe { getrusage(CHILDREN, words.as_mut_ptr()) } != 0 {
        return (0, 0, 0);
    }
    // The microseconds are a 32-bit field on macOS, followed by padding.
    let millis = |at: usize| {
        let seconds = u64::try_from(words[at]).unwrap_or(0);
        let micros = u64::from(words[at + 1] as u32);
        seconds.saturating_mul(1000) + micros / 1000
    };
    let rss = u64::try_from(words[4]).unwrap_or(0);
    (millis(0), millis(2), if cfg!(target_os = "macos") { rss / 1024 } else { rss })
}
