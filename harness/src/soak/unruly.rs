//! A program that behaves as badly as an agent can: it floods its output, ignores every request to end, and hangs. A worker
//! must end it when its time is over, and nothing of it may be left; a queue in which it succeeds has lied.

use std::path::PathBuf;

use orch::world::program::install;

use super::agent::SURVIVOR;
use super::fleet::Fleet;
use super::place::Place;
use super::processes::Ended;

/// How the ids of its tasks begin.
pub const PREFIX: &str = "unruly";
/// Longest run of an attempt; the worker waits some seconds more between its request and the end.
const RUNTIME: &str = "2s";

/// Puts the program in place.
///
/// # Errors
/// The path and why not.
pub fn write(place: &Place) -> Result<(), String> {
    let path = program(place);
    // What is ignored stays ignored in the program that follows.
    let text = format!(
        "#!/bin/sh\ntrap '' TERM INT HUP\nyes 'nobody reads this' | head -c 500000\nexec sleep {SURVIVOR}\n"
    );
    install(&path, &text).map_err(|why| why.to_string())
}

fn program(place: &Place) -> PathBuf {
    place.world("unruly")
}

/// The file of a task that runs the program, for `orch add --file`. Each session has its own.
///
/// # Errors
/// The path and why not.
pub fn task(place: &Place, session: &str) -> Result<String, String> {
    let path = place.world(format!("tmp/unruly-{session}.yaml")).display().to_string();
    let argv = serde_json::json!([program(place).display().to_string()]);
    // The title of the command line wins over this one, without which the file is none of a task.
    let text = format!("title: unruly\nrun: {{exec: [{{argv: {argv}}}]}}\nlimits: {{runtime: {RUNTIME}}}\n");
    super::place::write(path.as_ref(), &text).map(|()| path)
}

/// What came of it, where a worker tells of an attempt.
pub fn judge(fleet: &Fleet, ended: &Ended) {
    for attempt in ended.data["attempts"].as_array().into_iter().flatten() {
        let task = attempt["task"].as_str().unwrap_or_default();
        if !task.starts_with(PREFIX) {
            continue;
        }
        let reason = attempt["reason"].as_str().unwrap_or_default();
        fleet.tally.count(if reason == "timeout" { "unruly.ended" } else { "unruly.otherwise" });
        if reason == "success" {
            fleet.violation(
                "unruly",
                format!("{task} never ends, and its worker tells of success: {attempt}"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_ignores_a_request_to_end() {
        use std::io::Read;
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir: dir.path().to_owned(), orch: PathBuf::new() };
        place.prepare().unwrap();
        write(&place).unwrap();
        let mut command = std::process::Command::new(program(&place));
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut flood = vec![0; 500_000];
        child.stdout.take().unwrap().read_exact(&mut flood).unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
