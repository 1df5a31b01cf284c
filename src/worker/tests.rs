//! Whole attempts with real processes, most of which misbehave on purpose.

mod outside;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::attempt::*;
use super::capture::sha256;
use super::executor::run_attempt;
use super::git_head::git_head;
use super::sandbox::Sandbox;
use crate::protocol::id::TaskId;
use crate::protocol::task::{ExecStep, Reason};
use crate::world::process::Stream;
use crate::world::process::testing::{ESCAPE, count, entry_of, unique};
use outside::world;

const CANARY: &str = "hunter2-canary-value";

/// Answers with what a function says, and counts.
struct Holder<F: FnMut(&Progress) -> Decision> {
    decide: F,
    ticks: usize,
    fence: Option<Duration>,
    seen: Vec<u8>,
}

impl<F: FnMut(&Progress) -> Decision> Control for Holder<F> {
    fn tick(&mut self, progress: &Progress) -> Decision {
        self.ticks += 1;
        (self.decide)(progress)
    }
    fn fence_at(&self) -> Option<Duration> {
        self.fence
    }
    fn output(&mut self, _: usize, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Stdout {
            self.seen.extend_from_slice(bytes);
        }
    }
}

fn holder<F: FnMut(&Progress) -> Decision>(decide: F) -> Holder<F> {
    Holder { decide, ticks: 0, fence: None, seen: Vec::new() }
}

fn step(argv: &[&str]) -> ExecStep {
    ExecStep {
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
        name: None,
        cwd: None,
        env: BTreeMap::new(),
        timeout: None,
        continue_on_error: false,
    }
}

fn python(code: &str) -> ExecStep {
    step(&["python3", "-c", code])
}

struct Place {
    temp: TempDir,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        fs::create_dir(temp.path().join("work")).expect("a directory");
        Place { temp }
    }

    fn workspace(&self) -> PathBuf {
        self.temp.path().join("work")
    }

    fn attempt(&self, steps: Vec<ExecStep>) -> Attempt<'static> {
        Attempt {
            task: TaskId::parse("T-1").expect("a name"),
            title: "Try it".to_owned(),
            epoch: 7,
            attempt: 2,
            session: "agent:main:7".to_owned(),
            machine: "m-1".to_owned(),
            work: Work::Exec(steps),
            workspace: self.workspace(),
            bundle_dir: self.temp.path().join("runs/T-1/2"),
            limits: RunLimits { grace: Duration::from_millis(300), ..RunLimits::default() },
            environment: std::env::vars().collect(),
            pass_env: Vec::new(),
            extra_env: Vec::new(),
            secret_names: vec!["*TOKEN*".to_owned()],
            policy: &|_, _| Ok(()),
            policy_digest: Some("d1".to_owned()),
            sandbox: Sandbox::Auto,
            require_sandbox: false,
            artifacts: Vec::new(),
            rfc3339: &|ms| format!("@{ms}"),
        }
    }

    fn file(&self, name: &str) -> String {
        let path = self.temp.path().join("runs/T-1/2").join(name);
        String::from_utf8_lossy(
            &fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
        )
        .into_owned()
    }
}

/// Runs an attempt whose holder never interferes.
fn go(attempt: &Attempt<'_>) -> (AttemptReport, Value) {
    run(attempt, &mut holder(|_| Decision::Continue))
}

/// Runs an attempt and reads its manifest, whose digest must fit.
fn run(attempt: &Attempt<'_>, control: &mut dyn Control) -> (AttemptReport, Value) {
    let report = run_attempt(&world(), attempt, control);
    assert_eq!(report.evidence_errors, Vec::<String>::new());
    let dir = report.bundle.clone().expect("there is a bundle");
    let bytes = fs::read(dir.join("manifest.json")).expect("there is a manifest");
    assert_eq!(report.manifest_sha256.as_deref(), Some(sha256(&bytes).as_str()));
    let manifest: Value = serde_json::from_slice(&bytes).expect("it is JSON");
    for command in manifest["commands"].as_array().expect("a list") {
        for output in [&command["stdout"], &command["stderr"]].into_iter().filter(|output| !output.is_null())
        {
            let log = fs::read(dir.join(output["path"].as_str().expect("a name"))).expect("the log is there");
            assert_eq!(output["sha256"], sha256(&log));
            assert_eq!(output["bytes"], log.len());
        }
    }
    (report, manifest)
}

#[test]
fn a_good_run_leaves_complete_evidence() {
    let place = Place::new();
    let mut first = python(
        "import os; print('hello', os.environ['ORCH_EPOCH'], os.environ['EXTRA']); open('out.txt', 'w').write('x')",
    );
    first.name = Some("build".to_owned());
    first.env.insert("EXTRA".to_owned(), "e".to_owned());
    let mut second = step(&["pwd"]);
    second.cwd = Some("sub".to_owned());
    fs::create_dir(place.workspace().join("sub")).expect("a directory");
    let mut attempt = place.attempt(vec![first, second]);
    attempt.artifacts = vec!["out.txt".to_owned(), "none.txt".to_owned()];
    let (report, manifest) = go(&attempt);
    assert_eq!((report.reason, report.commands.len()), (Reason::Success, 2));
    assert_eq!(place.file("00-build.stdout.log"), "hello 7 e\n");
    let real = place.workspace().join("sub").canonicalize().expect("it exists");
    assert_eq!(place.file("01-pwd.stdout.log").trim(), real.to_string_lossy());
    let command = &manifest["commands"][0];
    assert_eq!(
        (&command["exit_code"], &command["signal"], &command["reason"]),
        (&0.into(), &Value::Null, &"success".into())
    );
    assert!(
        command["program"].as_str().is_some_and(|path| path.starts_with('/') && path.ends_with("python3"))
    );
    assert_eq!(command["started_at"], format!("@{}", command["started_ms"]));
    assert!(command["usage"]["max_rss_kb"].as_u64().is_some_and(|kb| kb > 0));
    assert_eq!(
        (&manifest["task"], &manifest["epoch"], &manifest["attempt"]),
        (&"T-1".into(), &7.into(), &2.into())
    );
    assert_eq!(
        (&manifest["sandbox"]["requested"], &manifest["sandbox"]["effective"]),
        (&"auto".into(), &"none".into())
    );
    assert_eq!(manifest["policy"]["digest"], "d1");
    assert_eq!(manifest["artifacts"][0]["sha256"], sha256(b"x"));
    assert_eq!(manifest["artifacts"][1]["sha256"], Value::Null);
    let passed: Vec<_> =
        manifest["env"]["passed"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(
        passed.contains(&"EXTRA") && passed.contains(&"ORCH_BUNDLE") && !passed.contains(&"CARGO_PKG_NAME"),
        "{passed:?}"
    );
    let events: Vec<Value> =
        place.file("events.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(kinds, ["started", "output", "ended", "started", "output", "ended", "finished"]);
}

/// A command left its results in the bundle, as `ORCH_BUNDLE` invites to, and no digest of them stood anywhere.
#[test]
fn what_commands_leave_in_the_bundle_is_listed_with_its_digest() {
    let place = Place::new();
    let script = "import os; b = os.environ['ORCH_BUNDLE']; os.mkdir(b + '/out'); open(b + '/out/r.txt', 'w').write('x'); \
                  os.symlink('/etc/passwd', b + '/link')";
    let (report, manifest) = go(&place.attempt(vec![step(&["python3", "-c", script])]));
    assert_eq!(report.reason, Reason::Success);
    let artifacts = manifest["artifacts"].as_array().expect("a list");
    let left: Vec<_> =
        artifacts.iter().filter(|a| a["path"].as_str().is_some_and(|p| p.contains("BUNDLE"))).collect();
    assert_eq!(left.len(), 1, "{artifacts:?}");
    let (path, digest) = (&left[0]["path"], &left[0]["sha256"]);
    assert_eq!((path, digest), (&"$ORCH_BUNDLE/out/r.txt".into(), &sha256(b"x").into()));
}

#[test]
fn all_commands_are_judged_before_the_first_one_runs() {
    let place = Place::new();
    let mut attempt =
        place.attempt(vec![step(&["touch", "ran"]), step(&["rm", "-rf", "/"]), step(&["true"])]);
    attempt.policy = &|argv, cwd| {
        assert!(cwd.is_absolute());
        if argv[0] == "rm" { Err("rm is forbidden here".to_owned()) } else { Ok(()) }
    };
    let (report, manifest) = go(&attempt);
    assert_eq!(report.reason, Reason::PolicyBlocked);
    assert!(report.notes.contains("rm is forbidden here"), "{}", report.notes);
    assert!(!place.workspace().join("ran").exists());
    assert_eq!(
        (&manifest["policy"]["decision"], &manifest["result"]["stopped_at"]),
        (&"forbid".into(), &"rm".into())
    );
    assert_eq!(manifest["not_run"], serde_json::json!(["touch", "true"]));
}

#[test]
fn a_directory_outside_the_workspace_is_refused_also_behind_a_link() {
    for cwd in ["..", "/", "link", "link/deeper", "sub/../.."] {
        let place = Place::new();
        fs::create_dir(place.workspace().join("sub")).expect("a directory");
        std::os::unix::fs::symlink("/", place.workspace().join("link")).expect("a link");
        let mut lost = step(&["true"]);
        lost.cwd = Some(cwd.to_owned());
        let (report, _) = go(&place.attempt(vec![lost]));
        assert_eq!(report.reason, Reason::PolicyBlocked, "{cwd}: {}", report.notes);
    }
}

#[test]
fn a_directory_may_be_made_by_an_earlier_command_but_not_as_a_way_out() {
    let place = Place::new();
    let mut inside = step(&["touch", "here"]);
    inside.cwd = Some("new/dir".to_owned());
    let (report, _) = go(&place.attempt(vec![step(&["mkdir", "-p", "new/dir"]), inside.clone()]));
    assert_eq!(report.reason, Reason::Success, "{}", report.notes);
    assert!(place.workspace().join("new/dir/here").exists());
    let place = Place::new();
    let (report, _) = go(&place.attempt(vec![step(&["ln", "-s", "/tmp", "new"]), inside.clone()]));
    assert_ne!(report.reason, Reason::Success);
    inside.cwd = Some("new".to_owned());
    let place = Place::new();
    let (report, _) = go(&place.attempt(vec![step(&["ln", "-s", "/tmp", "new"]), inside]));
    assert_eq!(report.reason, Reason::PolicyBlocked, "{}", report.notes);
}

#[test]
fn a_failure_ends_the_attempt_unless_it_may_be_ignored() {
    let place = Place::new();
    let mut ignored = step(&["false"]);
    ignored.continue_on_error = true;
    let (report, manifest) =
        go(&place.attempt(vec![ignored, step(&["sh", "-c", "exit 3"]), step(&["true"])]));
    assert_eq!((report.reason, report.commands.len()), (Reason::Error, 2));
    assert_eq!(report.notes, "command 1 `sh`: error (exit code 3)");
    assert_eq!(manifest["not_run"], serde_json::json!(["true"]));
    let place = Place::new();
    let (report, manifest) = go(&place.attempt(vec![step(&["sh", "-c", "kill -SEGV $$"])]));
    assert_eq!((report.reason, &manifest["commands"][0]["exit_code"]), (Reason::Error, &Value::Null));
    assert_eq!(manifest["commands"][0]["signal"], 11);
}

#[test]
fn a_program_that_does_not_exist_gives_the_attempt_back() {
    let place = Place::new();
    let (report, manifest) = go(&place.attempt(vec![step(&["no-such-program"])]));
    assert!(report.reason == Reason::SpawnFailed && report.reason.gives_attempt_back());
    assert!(report.notes.contains("no-such-program"), "{}", report.notes);
    assert_eq!(manifest["commands"][0]["stdout"], Value::Null);
}

#[test]
fn the_clocks_stop_what_hangs_even_if_it_ignores_sigterm() {
    let deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)";
    let place = Place::new();
    let mut attempt = place.attempt(vec![python(deaf)]);
    attempt.limits.stall = Some(Duration::from_secs(1));
    let (report, manifest) = go(&attempt);
    assert_eq!((report.reason, &manifest["commands"][0]["signal"]), (Reason::Stalled, &9.into()));

    let chatty = "import time\nwhile True: print('.', flush=True); time.sleep(0.05)";
    let place = Place::new();
    let mut attempt = place.attempt(vec![python(chatty)]);
    attempt.limits.stall = Some(Duration::from_secs(20));
    attempt.limits.runtime = Some(Duration::from_millis(1200));
    let (report, manifest) = go(&attempt);
    assert_eq!((report.reason, &manifest["commands"][0]["signal"]), (Reason::Timeout, &15.into()));

    let place = Place::new();
    let mut slow = step(&["sleep", "600"]);
    slow.timeout = Some(Duration::from_millis(300));
    slow.continue_on_error = true;
    let (report, manifest) = go(&place.attempt(vec![slow, step(&["true"])]));
    assert_eq!((report.reason, &manifest["commands"][0]["reason"]), (Reason::Success, &"timeout".into()));
}

#[test]
fn the_holder_is_asked_all_the_time_and_its_stop_is_obeyed() {
    for (why, reason) in [
        (StopReason::LeaseLost, Reason::LeaseLost),
        (StopReason::Cancelled, Reason::Cancelled),
        (StopReason::Shutdown, Reason::Shutdown),
    ] {
        let place = Place::new();
        let mut asked = 0;
        let mut control = holder(|progress| {
            asked += 1;
            assert_eq!((progress.step, progress.steps), (0, 2));
            if asked < 6 { Decision::Continue } else { Decision::Stop(why) }
        });
        let attempt = place.attempt(vec![step(&["sleep", "600"]), step(&["true"])]);
        let (report, manifest) = run(&attempt, &mut control);
        assert_eq!((report.reason, report.commands.len()), (reason, 1));
        assert_eq!(manifest["commands"][0]["reason"], manifest["result"]["reason"]);
    }
    let place = Place::new();
    let mut control = holder(|_| Decision::Stop(StopReason::Shutdown));
    let (report, _) = run(&place.attempt(vec![step(&["touch", "ran"])]), &mut control);
    assert_eq!((report.reason, place.workspace().join("ran").exists()), (Reason::Shutdown, false));
}

#[test]
fn ticks_go_on_while_a_command_is_being_stopped_and_a_lost_lease_cuts_the_grace_short() {
    let deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)";
    let place = Place::new();
    let mut attempt = place.attempt(vec![python(deaf)]);
    attempt.limits.grace = Duration::from_secs(300);
    attempt.limits.stall = Some(Duration::from_millis(500));
    let mut stopping = 0;
    let mut control = holder(|progress| {
        stopping += usize::from(progress.stopping);
        if stopping < 5 { Decision::Continue } else { Decision::Stop(StopReason::LeaseLost) }
    });
    let (report, _) = run(&attempt, &mut control);
    assert_eq!(report.reason, Reason::LeaseLost);
    assert!(stopping >= 5);
}

#[cfg(target_os = "linux")]
#[test]
fn a_holder_that_is_stuck_is_fenced_by_the_supervisor() {
    let place = Place::new();
    let mut attempt = place.attempt(vec![python(ESCAPE)]);
    attempt.extra_env = vec![("ORCH_TEST_MARK".to_owned(), unique("stuck"))];
    let mut held = false;
    let mut control = holder(|progress| {
        let up = || count(&entry_of(&unique("stuck")));
        if progress.pid.is_some() && !held && up() == 3 {
            held = true;
        } else if held {
            // The fence was told after the last tick. From here on this process does nothing but watch.
            let deadline = std::time::Instant::now() + Duration::from_secs(20);
            while up() > 0 {
                assert!(std::time::Instant::now() < deadline, "nobody fenced the tree");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Decision::Continue
    });
    control.fence = Some(world().clock.boottime() + Duration::from_secs(3));
    let (report, _) = run(&attempt, &mut control);
    assert_eq!(report.reason, Reason::LeaseLost);
    assert!(report.notes.contains("deadline"), "{}", report.notes);
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_survives_an_attempt_that_ends_well() {
    let place = Place::new();
    let mut attempt = place.attempt(vec![step(&["python3", "-c", ESCAPE, "leave"])]);
    attempt.extra_env = vec![("ORCH_TEST_MARK".to_owned(), unique("survive"))];
    let (_, manifest) = go(&attempt);
    assert_eq!(count(&entry_of(&unique("survive"))), 0);
    assert_eq!(
        (&manifest["commands"][0]["stragglers"], &manifest["commands"][0]["survivors"]),
        (&2.into(), &0.into())
    );
}

fn all_files(dir: &Path) -> Vec<u8> {
    fs::read_dir(dir)
        .expect("a bundle")
        .flat_map(|item| fs::read(item.expect("a file").path()).expect("a file"))
        .collect()
}

#[test]
fn secrets_are_nowhere_in_the_bundle() {
    let code = format!(
        "import os, sys, time\nt = os.environ['MY_TOKEN']\nfor c in 'a' + t + 'b':\n  os.write(1, c.encode()); os.write(2, c.encode()); time.sleep(0.002)\nprint('ghp_' + 'A1b2' * 9)\nprint('literal {CANARY}')"
    );
    let place = Place::new();
    let mut leak = python(&code);
    leak.name = Some(format!("n {CANARY}"));
    let mut attempt = place.attempt(vec![leak, step(&["no-such", CANARY])]);
    attempt.environment.insert("MY_TOKEN".to_owned(), CANARY.to_owned());
    attempt.pass_env = vec!["MY_*".to_owned()];
    attempt.title = format!("title {CANARY}");
    let mut control = holder(|_| Decision::Continue);
    let (report, manifest) = run(&attempt, &mut control);
    let dir = report.bundle.clone().expect("there is a bundle");
    let everything = String::from_utf8_lossy(&all_files(&dir)).into_owned();
    let seen = String::from_utf8_lossy(&control.seen).into_owned();
    for text in [&everything, &seen, &format!("{report:?}")] {
        assert!(!text.contains(CANARY) && !text.contains("A1b2A1b2A1b2"), "{text}");
    }
    assert!(seen.contains("a[redacted]b"), "{seen}");
    assert_eq!(manifest["env"]["redacted"], serde_json::json!(["MY_TOKEN"]));
    assert_eq!(manifest["commands"][0]["stdout"]["redactions"], 3);
    let names: Vec<_> =
        fs::read_dir(&dir).expect("a bundle").map(|item| item.expect("a file").file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().contains(CANARY)), "{names:?}");
}

#[test]
fn a_prompt_reaches_the_program_and_is_kept_without_secrets() {
    let place = Place::new();
    let mut attempt = place.attempt(Vec::new());
    let prompt = format!("do it with {CANARY}\n").repeat(20_000).into_bytes();
    attempt.environment.insert("MY_TOKEN".to_owned(), CANARY.to_owned());
    attempt.work =
        Work::Command { name: "agent".to_owned(), argv: vec!["wc".to_owned(), "-c".to_owned()], prompt };
    let (report, manifest) = go(&attempt);
    assert_eq!(report.reason, Reason::Success);
    assert_eq!(place.file("00-agent.stdout.log").trim(), (20_000 * (12 + CANARY.len())).to_string());
    assert!(place.file("prompt.md").starts_with("do it with [redacted]\n"));
    assert_eq!(manifest["prompt_sha256"], sha256(place.file("prompt.md").as_bytes()));
}

#[test]
fn a_flood_is_drained_but_not_stored() {
    let place = Place::new();
    let mut attempt = place.attempt(vec![python(
        "import sys\nb = b'flood\\n' * 20000\nfor _ in range(834): sys.stdout.buffer.write(b)\nsys.stdout.buffer.write(b'the end\\n')",
    )]);
    attempt.limits.log_cap = 1 << 20;
    let (report, manifest) = go(&attempt);
    assert_eq!(report.reason, Reason::Success);
    let output = &manifest["commands"][0]["stdout"];
    assert_eq!((&output["truncated"], &output["produced_bytes"]), (&true.into(), &100_080_008.into()));
    let log = place.file("00-python3.stdout.log");
    assert!(log.len() < (1 << 20) + 200 && log.starts_with("flood") && log.ends_with("the end\n"));
}

#[test]
fn an_existing_bundle_is_never_written_to_again() {
    let place = Place::new();
    let attempt = place.attempt(vec![step(&["true"])]);
    let first = go(&attempt).0.bundle.expect("a bundle");
    let before = all_files(&first);
    let names: Vec<_> = (0..2)
        .filter_map(|_| go(&attempt).0.bundle?.file_name().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(names, ["2.e7", "2.e7.2"]);
    assert_eq!(all_files(&first), before);
}

#[test]
fn a_required_sandbox_that_is_missing_runs_nothing() {
    let place = Place::new();
    let mut attempt = place.attempt(vec![step(&["touch", "ran"])]);
    attempt.require_sandbox = true;
    let (report, manifest) = go(&attempt);
    assert_eq!(report.reason, Reason::PolicyBlocked);
    assert!(manifest["result"]["notes"].as_str().is_some_and(|notes| notes.contains("require_sandbox")));
    assert!(!place.workspace().join("ran").exists());
}

#[test]
fn without_a_place_for_evidence_nothing_runs() {
    let place = Place::new();
    let mut attempt = place.attempt(vec![step(&["touch", "ran"])]);
    fs::write(place.temp.path().join("runs"), "in the way").expect("a file");
    attempt.bundle_dir = place.temp.path().join("runs/T-1/2");
    let report = run_attempt(&world(), &attempt, &mut holder(|_| Decision::Continue));
    assert_eq!((report.reason, report.bundle, report.manifest_sha256), (Reason::SpawnFailed, None, None));
    assert!(!place.workspace().join("ran").exists());
}

#[test]
fn the_head_of_git_is_read_loose_packed_and_from_a_linked_worktree() {
    let place = Place::new();
    let dir = place.workspace();
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@t", "-C"])
            .arg(&dir)
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .expect("git runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let head = |dir: &Path| git_head(&*world().disk, dir).map(|oid| oid.to_string());
    assert_eq!(head(&dir), None);
    git(&["init", "-q"]);
    assert_eq!(head(&dir), None, "no commit yet");
    git(&["commit", "-q", "--allow-empty", "-m", "one"]);
    let one = git(&["rev-parse", "HEAD"]);
    fs::create_dir(dir.join("sub")).expect("a directory");
    assert_eq!((head(&dir), head(&dir.join("sub"))), (Some(one.clone()), Some(one.clone())));
    git(&["worktree", "add", "-q", "../linked"]);
    assert_eq!(head(&place.temp.path().join("linked")), Some(one.clone()));
    git(&["pack-refs", "--all"]);
    assert_eq!((head(&dir), head(&place.temp.path().join("linked"))), (Some(one.clone()), Some(one.clone())));
    git(&["checkout", "-q", "--detach"]);
    assert_eq!(head(&dir), Some(one));
    let (_, manifest) = go(&place.attempt(vec![step(&[
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        "two",
    ])]));
    assert_eq!(manifest["source"]["head_after"], git(&["rev-parse", "HEAD"]));
    assert_ne!(manifest["source"]["head_after"], manifest["source"]["head_before"]);
}
