//! The program itself, as somebody at a terminal meets it: what it says where something that was named is not there, and how
//! it ends when it is told to.

use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the program in a folder; its exit code and what it said on standard error.
fn harness(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orch-harness"));
    let output = command.args(args).current_dir(folder).env_remove("CARGO_TARGET_DIR").output();
    let output = output.expect("the program starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A folder with two profiles, objectives, and a run that has got as far as a checkpoint.
fn sources() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder for the test");
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("ours")).expect("ours");
        std::fs::write(path, text).expect("ours");
    };
    for (path, text) in [
        ("soak/ci.yaml", ""),
        ("soak/smoke.yaml", include_str!("../../soak/smoke.yaml")),
        ("soak/slo.yaml", ""),
        ("target/soak/ci/checkpoint.json", "{}"),
        ("notes/report.json", "{\"schema_version\": 1}"),
        ("plain.txt", "no JSON"),
    ] {
        write(path, text);
    }
    dir
}

/// Each of these said `No such file or directory (os error 2)` and nothing else: neither what the file was wanted for
/// nor which command makes one.
#[test]
fn what_is_not_there_is_named_with_what_it_was_wanted_for_and_the_next_step() {
    let dir = sources();
    let runs = "Runs that are here: target/soak/ci; `orch-harness soak` makes more";
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["gate", "--report", "nowhere"],
            3,
            &["nowhere: there is no such folder or file", "the objectives", runs],
        ),
        (
            &["gate", "--report", "soak"],
            3,
            &["soak: there is no checkpoint.json in it", "the objectives", runs],
        ),
        (
            &["gate", "--report", "plain.txt"],
            3,
            &["plain.txt: it is no report of a soak: expected", "`orch-harness report DIR` writes one"],
        ),
        (
            &["gate", "--report", "notes"],
            3,
            &["notes/report.json: it is no report of a soak: it holds no `measures`"],
        ),
        (
            &["gate", "--report", "notes", "--slo", "nope.yaml"],
            2,
            &["nope.yaml: there is no such file", "wanted for the objectives", "Leave --slo out"],
        ),
        (
            &["report", "nowhere"],
            3,
            &["nowhere: there is no such folder", "of which the page is to be made", runs],
        ),
        (&["report", "plain.txt"], 3, &["plain.txt: it is no folder", runs]),
        (
            &["soak", "--profile", "nope.yaml"],
            2,
            &[
                "nope.yaml: there is no such file",
                "says what to run",
                "Profiles are: soak/ci.yaml, soak/smoke.yaml\n",
            ],
        ),
        (&["soak", "--profile", "soak"], 2, &["soak: it is no file", "Profiles are: "]),
        (
            &["soak", "--resume"],
            3,
            &["target/soak/smoke: there is no such folder", "the run that --resume goes on with", runs],
        ),
        (
            &["soak", "--resume", "--dir", "notes"],
            3,
            &["notes: there is no checkpoint.json in it", "without it a new one begins"],
        ),
    ];
    for (args, code, says) in cases {
        let (found, said) = harness(dir.path(), args);
        assert_eq!(found, Some(*code), "{args:?}: {said}");
        assert!(!said.contains("os error"), "{args:?}: {said}");
        for word in *says {
            assert!(said.contains(word), "{args:?} does not say {word:?}: {said}");
        }
    }
    // A resume that is refused leaves no folder behind, which the next one would take for a run.
    assert!(!dir.path().join("target/soak/smoke").exists());
}

#[test]
fn where_nothing_is_at_all_the_first_step_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (_, said) = harness(dir.path(), &["report", "nowhere"]);
    assert!(said.contains("`orch-harness soak` makes one in target/soak/smoke, in two minutes"), "{said}");
    let (code, said) = harness(dir.path(), &["soak"]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("soak/smoke.yaml: there is no such file") && said.contains("root of orch's sources"),
        "{said}"
    );
}

/// Whoever asks twice does not want to wait for a remote that does not answer, and is told what to do later.
#[test]
fn a_second_request_ends_a_trial_at_once_with_the_line_that_cleans_up() {
    // It accepts, and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("git://{}/queue.git", silent.local_addr().expect("it is bound"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_orch-harness"));
    command.args(["probe", "--timeout", "600", "--remote", &url]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut said = std::io::BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut line = || said.next().expect("it says more").expect("it is text");
    while !line().starts_with("Ctrl-C ends the trial") {}
    let pid = rustix::process::Pid::from_child(&child);
    // Two that come together may arrive as one.
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is not reaped yet");
        std::thread::yield_now();
    };
    assert_eq!(status.code(), Some(130));
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    let left = rest.iter().find(|line| line.starts_with("left at once"));
    assert!(left.is_some_and(|line| line.contains("--clean") && line.contains(&url)), "{rest:?}");
}
