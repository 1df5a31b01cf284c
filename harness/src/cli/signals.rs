//! Requests to end: the first one is asked for in an orderly way, whoever asks again does not want to wait.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Calls `first` at the first Ctrl-C or SIGTERM, or when the terminal goes away, and `again` with the number of the signal at
/// the next one. A terminal that goes away may say so more than once, so that is never taken as the second; under `nohup`
/// it is no request at all.
///
/// # Errors
/// The signals cannot be taken over.
pub fn listen(
    first: impl FnOnce() + Send + 'static,
    again: impl FnOnce(i32) + Send + 'static,
) -> Result<(), String> {
    let mut wanted = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted).map_err(|why| format!("cannot take signals over: {why}"))?;
    std::thread::spawn(move || {
        let mut first = Some(first);
        for signal in signals.forever() {
            match first.take() {
                Some(first) => first(),
                None if signal == SIGHUP => {}
                None => return again(signal),
            }
        }
    });
    Ok(())
}

/// Whether whoever started us wants a signal to be ignored, as `nohup` does. Where the system does not say so, it is not.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
