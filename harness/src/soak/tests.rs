//! Short soaks of the real program, and of programs that lie: an oracle that finds nothing wrong with a liar is none.

use super::*;
use std::path::Path;

mod lies;

const PROFILE: &str = "
name: tiny
about: a few seconds for the harness's own tests
seed: 1
duration: 60s
sample: 1s
check: 60s
fleet: {machines: 2, agents: 1, ways: [path], watchdogs: 1}
lease: {ttl: 4s, grace: 1s, drift: 1.25, watch: 1s}
load: {pace: 20ms, backlog: 2, beats: 1, done: 9, fail: 0, release: 0, vanish: 1, zombie: 0, work: 0}
faults: {kill: {every: 1s, at_least: 1}, gc_clone: {every: 3s}}
demand: {claims: 1, finished: 1, recovered: 0}
abort: {violations: 3, free_mib: 1, stuck: 60s}
preconditions: {fsync_p99: 10s, push_p99: 30s}
";

fn options(dir: &Path, orch: Option<PathBuf>, seconds: u64) -> Options {
    let profile: profile::Profile = crate::yaml::parse(PROFILE, "tiny.yaml").unwrap();
    let length = Some(Duration::from_secs(seconds));
    Options { profile, dir: dir.join("run"), orch, seed: None, length, resume: false }
}

/// Runs, and stops as soon as `enough` holds.
fn soak(options: &Options, enough: impl Fn(Progress<'_>) -> bool) -> Checkpoint {
    let stop = AtomicBool::new(false);
    let mut progress = |progress: Progress<'_>| {
        if enough(progress) {
            stop.store(true, Ordering::SeqCst);
        }
    };
    run(options, &stop, &mut progress).unwrap()
}

/// A program that does what orch does, except where the script says otherwise before.
fn liar(dir: &Path, script: &str) -> PathBuf {
    let orch = place::find_orch(None).unwrap();
    let path = dir.join("orch");
    let text = format!(
        "#!/bin/sh\nall=\"$*\"\nstate=${{all#*--state }}\nstate=${{state%% *}}\nreal() {{ '{0}' \"$@\"; }}\n{script}\nexec '{0}' \"$@\"\n",
        orch.display()
    );
    orch::world::program::install(&path, &text).unwrap();
    path
}

fn kinds(dir: &Path) -> Vec<String> {
    let report = crate::report::Report::of(&dir.join("run")).unwrap();
    report.violations.into_iter().map(|violation| violation.kind).collect()
}

#[test]
fn the_real_program_is_found_sound_and_a_run_that_was_stopped_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = options(dir.path(), None, 60);
    let checkpoint = soak(&first, |progress| progress.counts[1] > 0);
    assert_eq!(kinds(dir.path()), Vec::<String>::new());
    // It held as far as it went, and did not go far enough to count.
    let end = checkpoint.end.clone().unwrap();
    assert_eq!(
        (end.verdict, end.why.as_str()),
        (Verdict::Invalid, "it was told to stop"),
        "{:?}",
        checkpoint.invalid
    );
    assert!(dir.path().join("run").join(crate::soak::sample::Owed::FILE).exists());
    let mut other = Options { resume: true, ..options(dir.path(), None, 60) };
    other.profile.lease.ttl = profile::Span(Duration::from_secs(5));
    let why = run(&other, &AtomicBool::new(false), &mut |_| ()).unwrap_err();
    assert!(why.contains("other machines, agents or leases") && why.contains("without --resume"), "{why}");
    let (claims, elapsed) = (checkpoint.numbers.count("claims"), checkpoint.elapsed);
    // As after a power loss.
    let path = dir.path().join("run").join(sample::FILE);
    let mut series = std::fs::File::options().append(true).open(path).unwrap();
    std::io::Write::write_all(&mut series, b"{\"at\": 3, \"cou").unwrap();
    let next = Options { resume: true, ..options(dir.path(), None, 60) };
    let checkpoint = soak(&next, |progress| progress.counts[0] > claims + 1 && progress.counts[2] > 0);
    assert_eq!(kinds(dir.path()), Vec::<String>::new());
    assert!(checkpoint.numbers.count("claims") > claims && checkpoint.elapsed > elapsed);
    assert_eq!(checkpoint.part, 1);
    assert_eq!(processes::with_text(&dir.path().display().to_string()), Vec::new());
}

/// Behind ten minutes of load a disk made new files ten times more slowly, and that was timed as a claim at rest.
#[test]
fn claims_at_rest_are_timed_when_it_has_been_quiet_or_the_run_is_to_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), None, 1);
    options.profile.quiet = profile::Span(Duration::from_secs(3600));
    let (stop, mut looks) = (AtomicBool::new(false), 0);
    let checkpoint = run(&options, &stop, &mut |progress| {
        looks += u64::from(progress.what == "quiet");
        stop.store(looks == 3, Ordering::SeqCst);
    });
    assert_eq!(kinds(dir.path()), Vec::<String>::new());
    assert_eq!(looks, 3);
    assert!(checkpoint.unwrap().numbers.latency["calm.claim"].quantile(0.5).is_some());
}

#[test]
fn a_program_that_says_done_and_does_not_do_it_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$all\" in *' done add-'*) echo '{\"schema_version\":1,\"data\":{\"published\":true}}'; exit 0;; esac";
    let options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    let checkpoint = soak(&options, |progress| progress.counts[1] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"lost_operation".to_owned()), "{:?}", kinds(dir.path()));
}

#[test]
fn a_program_that_gives_one_epoch_to_everybody_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let claim = "{\"schema_version\":1,\"data\":{\"task\":{\"id\":\"T1\"},\"epoch\":1,\"confirmed\":true}}";
    let script = format!("case \"$all\" in *' pick') echo '{claim}'; exit 0;; esac");
    let options = options(dir.path(), Some(liar(dir.path(), &script)), 60);
    let checkpoint = soak(&options, |progress| progress.counts[3] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"duplicate_claim".to_owned()), "{:?}", kinds(dir.path()));
}

#[test]
fn a_program_whose_watchdog_sleeps_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$all\" in *' watchdog '*) exec sleep 3600;; esac";
    let mut options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    options.profile.load.vanish = 1000;
    options.profile.faults.clear();
    let checkpoint = soak(&options, |progress| progress.counts[0] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"not_recovered".to_owned()), "{:?}", kinds(dir.path()));
}

#[test]
fn a_program_whose_watchdog_takes_what_is_not_stale_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$all\" in *' watchdog '*) export ORCH_LEASE_GRACE=1ms ORCH_LEASE_DRIFT=1;; esac";
    let mut options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    options.profile.load.vanish = 1000;
    options.profile.faults.clear();
    let checkpoint = soak(&options, |progress| progress.counts[3] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"early_recovery".to_owned()), "{:?}", kinds(dir.path()));
}

#[test]
fn a_program_that_keeps_changes_to_itself_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$all\" in *' judge status') echo '{\"schema_version\":1,\"data\":{\"unpublished\":2}}'; exit 0;; esac";
    let options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    let checkpoint = soak(&options, |progress| progress.counts[0] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"not_published".to_owned()), "{:?}", kinds(dir.path()));
}

#[test]
fn a_program_that_answers_what_nobody_can_read_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$all\" in *' pick') echo 'you have T1'; exit 0;; esac";
    let options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    let checkpoint = soak(&options, |progress| progress.counts[3] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"unreadable_answer".to_owned()), "{:?}", kinds(dir.path()));
}

/// The library that sets a clock was loaded into orch, which asked the kernel past it: every offset struck nothing.
#[test]
fn a_clock_that_is_set_is_set_for_the_program_under_test_or_the_fault_is_left_out() {
    let installed = setup::faketime().is_some();
    let ignored = "unset LD_PRELOAD";
    for (script, left_out) in [("", !installed), (ignored, true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), Some(liar(dir.path(), script)), 60);
        strangers(&mut options, &[fault::Kind::Clock]);
        let checkpoint = soak(&options, |progress| progress.counts[0] > 0);
        let told = is_left_out("clock", &checkpoint.notes);
        assert_eq!(told, left_out, "{script:?}: {:?}", checkpoint.notes);
    }
}

/// The paths in the files of ssh had no quotes.
#[test]
fn a_machine_is_reached_by_ssh_in_a_folder_whose_name_has_a_blank() {
    let dir = tempfile::Builder::new().prefix("two words").tempdir().unwrap();
    let mut options = options(dir.path(), None, 60);
    options.profile.fleet.ways = vec![profile::Way::Path, profile::Way::Ssh];
    options.profile.faults.clear();
    let checkpoint = soak(&options, |progress| progress.counts[0] > 2);
    assert_eq!(kinds(dir.path()), Vec::<String>::new());
    assert!(checkpoint.numbers.count("claims") > 2);
}

#[test]
fn what_is_not_orch_is_no_program_under_test() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), Some(PathBuf::from("/bin/true")), 60);
    let why = run(&options, &AtomicBool::new(false), &mut |_| ()).unwrap_err();
    assert!(why.contains("/true is not orch") && why.contains("--orch"), "{why}");
}

/// Only those faults, each again and again.
fn strangers(options: &mut Options, kinds: &[fault::Kind]) {
    let (every, lasts) = (profile::Span(Duration::from_secs(2)), profile::Span(Duration::from_secs(1)));
    let plan = profile::Plan { every, lasts, at_least: 0 };
    options.profile.faults = kinds.iter().map(|kind| (*kind, plan.clone())).collect();
}

#[test]
fn the_real_program_gets_over_what_others_do_to_the_branch() {
    use fault::Kind::{ForcePush, ForeignCommit, Refusals};
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), None, 60);
    strangers(&mut options, &[ForcePush, ForeignCommit, Refusals]);
    let checkpoint = soak(&options, |progress| progress.counts[2] >= 6 && progress.counts[1] > 0);
    let report = crate::report::Report::of(&dir.path().join("run")).unwrap();
    assert_eq!(report.violations, Vec::new());
    assert!(checkpoint.numbers.count("faults.force_push") > 0, "{:?}", checkpoint.numbers.counts);
    assert!(checkpoint.numbers.count("rewinds.told") > 0, "{:?}", checkpoint.numbers.counts);
}

/// Whoever broke a file asked orch about it in the thread that lets stopped processes go on. The answer waited for a
/// stopped one that held the task, so for half a minute no fault struck, and a run of two minutes was invalid.
#[test]
fn faults_go_on_while_a_person_waits_for_orch() {
    use fault::Kind::{Edit, Kill};
    let dir = tempfile::tempdir().unwrap();
    let [waits, go] = ["waits", "go"].map(|name| dir.path().join(name));
    let script = format!(
        "case \"$all\" in *' hands show '*) touch {}; while [ ! -e {} ]; do sleep 0.05; done;; esac",
        waits.display(),
        go.display()
    );
    let mut options = options(dir.path(), Some(liar(dir.path(), &script)), 60);
    strangers(&mut options, &[Edit, Kill]);
    let before = std::cell::Cell::new(None);
    soak(&options, |progress| {
        let faults = progress.counts[2];
        if waits.exists() && before.get().is_none() {
            before.set(Some(faults));
        }
        let on = before.get().is_some_and(|before| faults > before + 1);
        if on {
            std::fs::write(&go, "").unwrap();
        }
        on
    });
    assert_eq!(kinds(dir.path()), Vec::<String>::new());
}

#[test]
fn a_program_that_writes_over_what_a_person_broke_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$all\" in *' pick') \
        sed -i '/^<<<<<<</d; /^=======$/d; /^>>>>>>>/d; s/^title: \\[/title: /' \"$state\"/tasks/*/*.yaml;; esac";
    let mut options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    strangers(&mut options, &[fault::Kind::BreakFile]);
    let checkpoint = soak(&options, |progress| progress.counts[3] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"overwritten".to_owned()), "{:?}", kinds(dir.path()));
}

#[test]
fn a_program_that_says_nothing_of_a_rolled_back_branch_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    // To the person who looks after the machines everything is fine.
    let script = "case \"$all\" in *' third-m'*) echo '{\"schema_version\":1,\"data\":{}}'; exit 0;; esac";
    let mut options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    strangers(&mut options, &[fault::Kind::ForcePush]);
    let checkpoint = soak(&options, |progress| progress.counts[3] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    for kind in ["rewind_not_noticed", "rewind_not_repaired"] {
        assert!(kinds(dir.path()).contains(&kind.to_owned()), "{kind}: {:?}", kinds(dir.path()));
    }
}

#[test]
fn a_program_that_says_nothing_of_foreign_commits_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let script = "case \"$all\" in *' audit') echo '{\"schema_version\":1,\"data\":{\"ok\":true,\"problems\":[]}}'; exit 0;; esac";
    let mut options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    strangers(&mut options, &[fault::Kind::ForeignCommit]);
    let checkpoint = soak(&options, |progress| progress.counts[2] > 0);
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(kinds(dir.path()).contains(&"foreign_file".to_owned()), "{:?}", kinds(dir.path()));
}

#[test]
fn a_computer_that_is_too_slow_makes_a_run_invalid_before_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), None, 60);
    options.profile.preconditions.push_p99 = profile::Span(Duration::from_micros(1));
    let checkpoint = soak(&options, |_| panic!("it does not begin"));
    let end = checkpoint.end.unwrap();
    assert_eq!(end.verdict, Verdict::Invalid);
    assert!(end.why.contains("pushing one ref by path takes"), "{}", end.why);
}
