//! The trial on real remotes, on real remotes that forbid something, and on broken ones.

mod broken;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use orch::world::Remote;
use orch::world::RemoteFailure;
use orch::world::clock::RealClock;
use orch::world::git_command::Git;
use orch::world::random::RealRandom;

use super::field::{Spans, Trouble};
use super::report::{Held, Report, Verdict};
use super::scratch::{Left, Scratch};
use super::{Field, Plan, Side, probe};
use crate::hub::{Hub, WAYS, Way};

const SMALL: Plan =
    Plan { rounds: 4, pushes: 200, budget: Duration::from_secs(120), limit: Duration::from_secs(30) };

/// Tries a hub with remotes of the caller's making.
fn try_with(a: Side<'_>, b: Side<'_>, stopped: &dyn Fn() -> bool) -> Report {
    let field = Field { a, b, clock: &RealClock, random: &RealRandom, stopped, told: &|_, _, _| {} };
    probe(&field, &SMALL, &Scratch::new(&RealRandom))
}

fn try_hub(hub: &Hub) -> Report {
    let (a, b) = (hub.machine("a", &Git::default()), hub.machine("b", &Git::default()));
    try_with(Side { remote: &a.0, objects: &a.1 }, Side { remote: &b.0, objects: &b.1 }, &|| false)
}

fn held(report: &Report, name: &str) -> Held {
    report.checks.iter().find(|check| check.name == name).map_or(Held::Untried, |check| check.held)
}

#[test]
fn an_ordinary_remote_is_fit_however_it_is_reached() {
    for way in WAYS {
        let hub = Hub::new(way);
        hub.git(&["config", "receive.denyNonFastForwards", "true"]);
        let report = try_hub(&hub);
        // A loaded computer may answer every push that was to be cut off, or none before its effect.
        let others = report.checks.iter().filter(|check| check.name != "lost answers");
        assert!(others.clone().all(|check| check.held == Held::Held), "{way:?}: {}", report.text());
        assert!(others.count() >= 8, "{way:?}: {}", report.text());
        assert_ne!(held(&report, "lost answers"), Held::Broken, "{way:?}: {}", report.text());
        assert_eq!(report.verdict.exit_code(), 0);
        assert_eq!(hub.refs(), Vec::<String>::new(), "{way:?}");
        assert_eq!((report.left_refs.len(), report.left_why), (0, None));
        let measured: Vec<&str> = report.timings.iter().map(|timing| timing.what).collect();
        assert_eq!(measured, ["claim (push and read)", "push", "listing", "fetch"]);
        assert!(report.timings.iter().all(|timing| timing.p50_ms > 0.0 && timing.p50_ms <= timing.p99_ms));
        assert!(report.pushes_per_minute.is_some_and(|pace| pace > 6) && report.pushes >= 40);
        let keys: Vec<&str> = report.settings.iter().map(|setting| setting.key).collect();
        assert_eq!(keys, ["sync.push_budget", "lease.ttl"]);
    }
}

/// What the report says to set must be what `orch.yaml` takes.
#[test]
fn the_settings_that_it_names_are_settings_of_orch() {
    use orch::store::settings_load::{File, Sources, load};
    let hub = Hub::new(Way::Path);
    hub.hook("update", "case $1 in refs/orch/*) exit 1;; esac");
    let report = try_hub(&hub);
    assert_eq!(report.settings.len(), 3, "{}", report.text());
    for setting in &report.settings {
        let (section, key) = setting.key.split_once('.').unwrap();
        let text = format!("{section}: {{{key}: {}}}\n", setting.value);
        let file = File { name: "orch.yaml", bytes: text.as_bytes() };
        let loaded = load(&Sources { shared: Some(file), machine: None, env: &[], options: &[] });
        assert!(loaded.is_ok(), "{text}: {:?}", loaded.err());
    }
}

#[test]
fn a_remote_that_refuses_custom_refs_is_fit_with_branches() {
    let hub = Hub::new(Way::Path);
    hub.hook("update", "case $1 in refs/orch/*) echo 'branches only' >&2; exit 1;; esac");
    let report = try_hub(&hub);
    assert_eq!(report.verdict, Verdict::Limits, "{}", report.text());
    assert!(report.sentence.starts_with("This remote is fit with limits: refs: "), "{}", report.sentence);
    assert!(report.sentence.contains("branches only"), "{}", report.sentence);
    assert_eq!((report.settings[0].key, report.settings[0].value.as_str()), ("sync.lease_refs", "branches"));
    assert_eq!(held(&report, "race to create"), Held::Held);
    assert_eq!(hub.refs(), Vec::<String>::new());
}

/// Custom refs are taken but hidden: a claim would never be seen by anybody.
#[test]
fn refs_that_are_taken_and_hidden_do_not_count() {
    let hub = Hub::new(Way::Path);
    hub.git(&["config", "uploadpack.hideRefs", "refs/orch"]);
    let report = try_hub(&hub);
    assert_eq!(report.verdict, Verdict::Limits, "{}", report.text());
    assert!(report.sentence.contains("made but not be seen"), "{}", report.sentence);
    assert_eq!(report.settings[0].key, "sync.lease_refs");
}

#[test]
fn a_remote_that_refuses_everything_is_not_fit() {
    let hub = Hub::new(Way::Path);
    hub.hook("pre-receive", "echo 'frozen' >&2; exit 1");
    let report = try_hub(&hub);
    assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Unfit, 1), "{}", report.text());
    assert!(report.sentence.starts_with("This remote is not fit to coordinate agents, because refs: "));
    assert!(report.sentence.contains("frozen") && report.settings.is_empty());
    assert_eq!(held(&report, "race to create"), Held::Untried);
}

#[test]
fn a_remote_that_keeps_everything_is_not_fit_and_what_is_left_is_named() {
    let hub = Hub::new(Way::Path);
    hub.hook("update", "[ $3 != 0000000000000000000000000000000000000000 ]");
    let report = try_hub(&hub);
    assert_eq!(report.verdict, Verdict::Unfit, "{}", report.text());
    assert!(report.sentence.contains("cannot be deleted"), "{}", report.sentence);
    assert_eq!(report.left_refs.len(), 2, "{}", report.text());
    let text = report.text();
    assert!(report.left_refs.iter().all(|name| text.contains(name.as_str())), "{text}");
    assert!(text.contains(&format!("--clean {}", report.run)), "{text}");
    // As soon as it can be, it is cleaned, and nothing else is.
    hub.git(&["update-ref", "refs/heads/orch-probe/other/x", &hub.git(&["rev-parse", &report.left_refs[0]])]);
    std::fs::remove_file(hub.git_dir().join("hooks/update")).unwrap();
    let (a, b) = (hub.machine("a", &Git::default()), hub.machine("b", &Git::default()));
    let (a, b) = (Side { remote: &a.0, objects: &a.1 }, Side { remote: &b.0, objects: &b.1 });
    let field =
        Field { a, b, clock: &RealClock, random: &RealRandom, stopped: &|| true, told: &|_, _, _| {} };
    let left = Scratch::of_run(&report.run).unwrap().clean(&field, SMALL.limit);
    assert_eq!(left, Left::default());
    assert_eq!(hub.refs(), ["refs/heads/orch-probe/other/x"]);
}

#[test]
fn a_remote_that_is_not_there_cannot_be_judged() {
    for way in WAYS {
        let mut hub = Hub::new(way);
        hub.vanish();
        let report = try_hub(&hub);
        assert_eq!((report.verdict, report.verdict.exit_code()), (Verdict::Unknown, 3), "{}", report.text());
        assert!(report.sentence.starts_with("Whether this remote is fit could not be judged: "));
        let next = report.next.unwrap();
        let want = if way == Way::Path { "make the repository first" } else { "try `git ls-remote`" };
        assert!(next.contains(want), "{way:?}: {next}");
        assert_eq!((report.pushes, report.left_why), (0, None));
    }
}

#[test]
fn an_account_that_may_only_read_cannot_judge() {
    let hub = Hub::new(Way::Http);
    hub.git(&["config", "http.receivepack", "false"]);
    let report = try_hub(&hub);
    assert_eq!(report.verdict, Verdict::Unknown, "{}", report.text());
    assert!(report.next.as_ref().is_some_and(|next| next.contains("leave to push")), "{}", report.text());
}

#[test]
fn whoever_stops_the_trial_finds_it_cleaned_up() {
    for after in [1, 5, 30] {
        let hub = Hub::new(Way::Path);
        let (a, b) = (hub.machine("a", &Git::default()), hub.machine("b", &Git::default()));
        let (a, b) = (Side { remote: &a.0, objects: &a.1 }, Side { remote: &b.0, objects: &b.1 });
        let steps = Cell::new(0);
        let stopped = || {
            steps.set(steps.get() + 1);
            steps.get() > after
        };
        let report = try_with(a, b, &stopped);
        assert_eq!(report.verdict, Verdict::Unknown, "{}", report.text());
        assert!(report.sentence.contains("stopped before it was through"), "{}", report.sentence);
        assert_eq!((hub.refs().len(), report.left_refs.len()), (0, 0));
    }
}

#[test]
fn quantiles_are_values_that_were_measured() {
    let mut spans = Spans::default();
    assert_eq!(spans.quantile(0.5), None);
    for ms in [40, 10, 30, 20] {
        spans.add(Duration::from_millis(ms));
    }
    let ms = |share| spans.quantile(share).unwrap().as_millis();
    assert_eq!([ms(0.0), ms(0.5), ms(0.75), ms(0.99), ms(1.0)], [10, 20, 30, 40, 40]);
}

#[test]
fn names_of_runs_are_told_from_anything_else() {
    let run = Scratch::new(&RealRandom);
    assert_eq!(Scratch::of_run(run.run()).map(|again| again.custom()), Some(run.custom()));
    for name in ["", "..", "0f3a5c7e9b1", "0f3a5c7e9b1d0", "0F3A5C7E9B1D", "0f3a5c7e9b/d", "0f3a5c7e9b1*"] {
        assert!(Scratch::of_run(name).is_none(), "{name}");
    }
}

/// The command itself in a process of its own, for the next test.
#[test]
fn entry_probe() {
    use clap::Parser;
    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: crate::cli::probe::ProbeArgs,
    }
    let Ok(remote) = std::env::var("ORCH_HARNESS_TEST_PROBE") else { return };
    // As in a terminal, also where the tests were started by `nohup`: what has a handler is not ignored.
    let heard = std::sync::Arc::default();
    signal_hook::flag::register(signal_hook::consts::SIGHUP, heard).unwrap();
    let args =
        Alone::parse_from(["probe", "--remote", &remote, "--rounds", "9999", "--pushes", "99999"]).args;
    let code = crate::cli::probe::main(&args);
    std::process::exit(if code == std::process::ExitCode::from(3) { 3 } else { 4 });
}

/// The command in a process of its own, which has begun to make refs.
fn begun(hub: &Hub, temporary: &std::path::Path, deaf: bool) -> std::process::Child {
    use std::process::Stdio;
    let me: PathBuf = std::env::current_exe().unwrap();
    let mut child = std::process::Command::new(me)
        .args(["--exact", "probe::tests::entry_probe", "--nocapture"])
        .env("ORCH_HARNESS_TEST_PROBE", hub.url())
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if deaf {
        drop(child.stderr.take());
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while hub.refs().len() < 8 {
        assert!(std::time::Instant::now() < deadline, "the trial makes no refs");
        assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &std::process::Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A terminal that was closed ended the trial at once and left its refs behind, and so did a closed pipe behind
/// standard error, at the first line that was told.
#[test]
fn ctrl_c_or_a_closed_terminal_ends_the_command_with_nothing_left_behind() {
    for (name, deaf) in [("-INT", false), ("-HUP", false), ("-INT", true)] {
        let hub = Hub::new(Way::Path);
        let temporary = tempfile::tempdir().unwrap();
        let child = begun(&hub, temporary.path(), deaf);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(3), "{name}: {text}");
        assert!(text.contains("could not be judged: stopped before it was through."), "{name}: {text}");
        assert!(text.contains(&format!("\nRemote: {}\n", hub.url())), "{name}: {text}");
        assert!(text.contains("everything that it made on the remote is removed"), "{name}: {text}");
        assert_eq!(hub.refs(), Vec::<String>::new(), "{name}");
        assert_eq!(
            std::fs::read_dir(temporary.path()).unwrap().count(),
            0,
            "the scratch repositories are gone"
        );
    }
}

/// A second Ctrl-C left refs on the remote, and no line named the run by which they can be removed.
#[test]
fn who_does_not_wait_for_the_end_is_told_how_to_clean_up() {
    use std::io::{BufRead, BufReader};
    let hub = Hub::new(Way::Path);
    let temporary = tempfile::tempdir().unwrap();
    let mut child = begun(&hub, temporary.path(), false);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    signal(&child, "-INT");
    let first = lines.next().unwrap();
    let run = first.strip_prefix("run ").and_then(|line| line.split(':').next()).unwrap();
    let clean = format!("orch-harness probe --remote {} --clean {run}", crate::cli::quoted(hub.url()));
    assert!(
        first.contains(&format!("refs below refs/orch/probe/{run}/, ")) && first.ends_with(&clean),
        "{first}"
    );
    assert!(Scratch::of_run(run).is_some(), "{first}");
    assert!(lines.any(|line| line.contains("removing what was made")), "it hears the first one");
    signal(&child, "-INT");
    let last = lines.last().unwrap();
    assert_eq!(last, format!("left at once; refs may be left over: {clean}"));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// A failure in the middle leaves nothing behind and is told with its kind.
#[test]
fn troubles_say_what_they_are() {
    let error = orch::world::RemoteError { kind: RemoteFailure::Timeout, message: "no answer".to_owned() };
    assert_eq!(Trouble::Remote(error).to_string(), "no answer");
}
