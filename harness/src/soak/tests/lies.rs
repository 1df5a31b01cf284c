//! Oracles that nothing has ever set off may be blind: each is shown a program about which it has to say something.

use super::*;

/// Soaks a liar until all kinds of violations of `during` were seen; those of `at_rest` come with the last check.
#[track_caller]
fn found_out(script: &str, change: impl FnOnce(&mut Options), during: &[&str], at_rest: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), Some(liar(dir.path(), script)), 60);
    options.profile.faults.clear();
    options.profile.abort.violations = 1000;
    change(&mut options);
    let all = |wanted: &[&str]| {
        let text = std::fs::read_to_string(dir.path().join("run/violations.jsonl")).unwrap_or_default();
        wanted.iter().all(|kind| text.contains(&format!("\"kind\":\"{kind}\"")))
    };
    // What is found after faults is not found where three claims were faster than the first of them.
    let quiet = options.profile.faults.is_empty();
    let enough = |progress: Progress<'_>| {
        let [claims, _, faults, _] = progress.counts;
        claims + faults > 2 && claims > 0 && (quiet || faults > 0)
    };
    let checkpoint =
        soak(&options, |progress| if during.is_empty() { enough(progress) } else { all(during) });
    assert_eq!(checkpoint.end.unwrap().verdict, Verdict::Broken);
    assert!(all(during) && all(at_rest), "{during:?} and {at_rest:?}, and not {:?}", kinds(dir.path()));
}

#[test]
fn answers_that_must_not_be_are_noticed_as_they_come() {
    let script = "case \"$all\" in
        *' m0a0p0 pick') exit 1;;
        *' m0a1p0 pick') kill -9 $$;;
        *' m0a2p0 pick') echo 'thread main panicked at x' >&2; exit 101;;
        *' m0a3p0 pick') echo '{\"data\":{\"task\":{\"id\":\"T1\"},\"epoch\":1,\"confirmed\":false}}'; exit 0;;
        *' m1a0p0 pick') echo '{\"data\":{\"task\":{}}}'; exit 0;;
        *' m1a'*' heartbeat '*) exit 9;;
        esac";
    let change = |options: &mut Options| {
        options.profile.fleet.agents = 4;
        options.profile.load.beats = 3;
    };
    let kinds = [
        "unexpected_failure",
        "unexpected_signal",
        "panic",
        "unconfirmed_claim",
        "unreadable_answer",
        "false_expiry",
    ];
    found_out(script, change, &kinds, &[]);
}

#[test]
fn a_late_finish_that_counts_is_noticed_and_so_is_a_sync_that_fails_at_rest() {
    let script = "case \"$all\" in
        *' done '*' --notes late-'*) echo '{\"data\":{\"published\":true}}'; exit 0;;
        *' judge sync') exit 75;;
        esac";
    let change = |options: &mut Options| {
        options.profile.load.zombie = 1000;
        options.profile.load.vanish = 0;
    };
    found_out(script, change, &["old_epoch"], &["sync_failed"]);
}

#[test]
fn nothing_finished_for_a_while_and_watchdogs_that_end_are_noticed() {
    let script = "case \"$all\" in
        *' pick' | *' claim '*) exit 6;;
        *' watchdog '*) exit 1;;
        esac";
    let change = |options: &mut Options| options.profile.abort.stuck = profile::Span(Duration::from_secs(5));
    found_out(script, change, &["watchdog_ended", "stuck"], &[]);
}

#[test]
fn what_is_made_of_broken_files_is_looked_at() {
    let script = "case \"$all\" in
        *m0/state*' hands show '*) echo '{\"data\":{}}'; exit 0;;
        *m1/state*' hands show '*) exit 8;;
        esac";
    found_out(script, |o| strangers(o, &[fault::Kind::BreakFile]), &["silent_damage", "invalid_file"], &[]);
}

#[test]
fn the_work_of_workers_is_looked_at() {
    let script = format!(
        "case \"$all\" in *' work --once')
        setsid sleep {} >/dev/null 2>&1 </dev/null &
        echo '{{\"data\":{{\"attempts\":[{{\"task\":\"unruly-1\",\"reason\":\"success\"}}]}}}}'; exit 0;;
        esac",
        agent::SURVIVOR
    );
    let change = |options: &mut Options| {
        options.profile.load.work = 100;
        options.profile.load.unruly = 100;
    };
    found_out(&script, change, &["unruly"], &["survivor"]);
}

#[test]
fn a_fleet_at_rest_is_looked_at_from_all_sides() {
    let script = "case \"$all\" in
        *m1/state*' judge sync')
            real \"$@\"; code=$?
            for file in \"$state\"/tasks/*/*.yaml; do echo '# more' >> \"$file\"; break; done
            for n in 1 2 3 4 5 6 7 8 9 10 11; do
                git --git-dir=\"$state/.git\" update-ref refs/orch/junk/leases/$n refs/orch/remote/branch
            done
            mkdir -p \"$state/.git/objects/00\"
            echo damage > \"$state/.git/objects/00/00000000000000000000000000000000000000\"
            exit $code;;
        *m0/state*' judge verify' | *m0/state*' judge audit') exit 8;;
        *' calm-m0 claim '*) exit 4;;
        *' calm-m1 done '*) exit 9;;
        esac";
    let kinds =
        ["not_equal", "refs_pile_up", "fsck", "verify", "audit", "lost_without_rival", "refused_at_rest"];
    found_out(script, |_| (), &[], &kinds);
}

#[test]
fn a_machine_that_does_not_catch_up_is_noticed_and_so_is_a_watchdog_that_does_not_end() {
    let script = "case \"$all\" in
        *m1/state*' watchdog '*) trap '' TERM; while :; do sleep 1; done;;
        *m1/state*' m1a'*) exit 75;;
        esac";
    let change = |options: &mut Options| {
        options.profile.fleet.ways = vec![profile::Way::Path, profile::Way::Http];
        strangers(options, &[fault::Kind::Cut]);
    };
    found_out(script, change, &[], &["not_converged", "survivor"]);
}
