//! The hidden command `orch __supervise`: see [`crate::world::process::supervisor`] for what it does.

/// Runs this process as the supervisor of one child tree and returns its exit code. Arguments are only
/// for people who read a process list.
#[must_use]
pub fn supervisor_main(_args: &[String]) -> i32 {
    crate::world::process::supervisor::supervisor_main()
}
