//! The three clocks of the operating system. Intervals are read through `clock_gettime`, the wall clock through the C
//! library: whoever tries what a wrong clock does to a program (`faketime`) puts something in its place there.
//!
//! macOS offers no separate clock that counts suspend through this interface: there both intervals
//! come from `CLOCK_MONOTONIC`, which counts it.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

use super::Clock;

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealClock;

impl Clock for RealClock {
    fn wall_ms(&self) -> i64 {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        }
    }

    fn monotonic(&self) -> Duration {
        span(clock_gettime(ClockId::Monotonic))
    }

    fn boottime(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let now = clock_gettime(ClockId::Boottime);
        #[cfg(not(target_os = "linux"))]
        let now = clock_gettime(ClockId::Monotonic);
        span(now)
    }

    fn boot_id(&self) -> String {
        static BOOT: OnceLock<String> = OnceLock::new();
        BOOT.get_or_init(read_boot_id).clone()
    }

    fn sleep(&self, span: Duration) {
        std::thread::sleep(span);
    }
}

/// A time since boot; these clocks never go below zero.
fn span(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The kernel's name for this boot. A constant where there is none: then two boots look alike, which
/// only delays a recovery, because process start times still differ.
fn read_boot_id() -> String {
    boot_id_of_kernel().unwrap_or_else(|| "boot-unknown".to_owned())
}

#[cfg(target_os = "linux")]
fn boot_id_of_kernel() -> Option<String> {
    cleaned(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
}

/// `kern.boottime` moves whenever the wall clock is set; the session's UUID does not.
#[cfg(not(target_os = "linux"))]
fn boot_id_of_kernel() -> Option<String> {
    let output =
        std::process::Command::new("/usr/sbin/sysctl").args(["-n", "kern.bootsessionuuid"]).output().ok()?;
    cleaned(&String::from_utf8(output.stdout).ok()?)
}

fn cleaned(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::world::process::testing::after_a_sleep;
    use crate::world::process::testing::{is_entry, tell};

    #[test]
    fn intervals_run_forward_and_boottime_is_not_behind_monotonic() {
        let clock = RealClock;
        let (before, boot) = (clock.monotonic(), clock.boottime());
        clock.sleep(Duration::from_millis(2));
        assert!(clock.monotonic() >= before + Duration::from_millis(2));
        assert!(clock.boottime() >= boot + Duration::from_millis(2));
        assert!(clock.boottime() + Duration::from_millis(1) >= before);
    }

    const SLEPT: &str = "world::clock::tests::entry_after_a_sleep";

    #[test]
    fn entry_after_a_sleep() {
        if is_entry(SLEPT) {
            let gap = RealClock.boottime().saturating_sub(RealClock.monotonic());
            tell(&gap.as_secs().to_string());
        }
    }

    /// Both are equal until a machine sleeps. Leases are counted on the one that goes on meanwhile: on the other one
    /// a laptop that was shut for a day would believe in a lease that somebody else has long taken over.
    #[cfg(target_os = "linux")]
    #[test]
    fn boottime_counts_a_sleep_and_monotonic_does_not() {
        let Some(said) = after_a_sleep(SLEPT) else { return };
        let gap: u64 = said.parse().expect("a number of seconds");
        assert!(gap > 90_000, "{gap} seconds");
    }

    #[test]
    fn wall_is_in_milliseconds_of_this_century() {
        let year_2020 = 1_577_836_800_000;
        assert!((year_2020..year_2020 * 3).contains(&RealClock.wall_ms()));
    }

    #[test]
    fn boot_id_is_stable() {
        assert_eq!(RealClock.boot_id(), RealClock.boot_id());
        assert!(!RealClock.boot_id().is_empty());
    }
}
