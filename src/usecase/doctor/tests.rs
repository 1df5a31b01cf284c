//! The doctor on real machines: each kind of damage, told and mended.

use std::fs;

use super::rig::{Rig, id, task_named};
use crate::store::codec;
use crate::usecase::audit::audit;
use crate::usecase::read::{Filter, list};

const BRANCH: &str = "refs/heads/orch-state";

fn clean(rig: &Rig, name: &str) {
    let audited = audit(&mut rig.machine(name), &mut |_, _| {}).unwrap();
    assert!(audited.ok, "{audited:#?}");
}

#[test]
fn a_healthy_machine_has_no_problems_and_repair_changes_nothing() {
    for rig in [Rig::shared(), Rig::alone()] {
        rig.add("a", "T-1");
        let report = rig.doctor("a");
        assert!(report.ok && report.problems.is_empty(), "{report:#?}");
        assert_eq!(report.repaired, Vec::<String>::new());
        let report = rig.repair("a");
        assert!(report.ok && report.repaired.is_empty(), "{report:#?}");
        for name in
            ["state", "disk", "locks", "clock", "git", "settings", "repository", "index", "remote", "files"]
        {
            assert!(task_named(&report, name).ok);
        }
    }
}

#[test]
fn probes_leave_nothing_on_the_remote() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    let before = rig.git(&rig.hub(), &["for-each-ref"]);
    let report = rig.doctor("a");
    assert!(task_named(&report, "remote").detail.contains("several at once"), "{report:#?}");
    assert_eq!(rig.git(&rig.hub(), &["for-each-ref"]), before);
}

/// The branch was restored from an old backup: whoever has seen more gives the very commits back.
#[test]
fn a_rewound_branch_gets_its_own_commits_back_from_each_machine() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.machine("b");
    let old = rig.tip();
    rig.add("a", "T-2");
    rig.sync("a");
    let seen_by_a = rig.tip();
    rig.add("b", "T-3");
    rig.claim("b", "T-1");
    rig.done("b", "T-1");
    rig.sync("b");
    let newest = rig.tip();
    rig.git(&rig.hub(), &["update-ref", BRANCH, &old]);

    let told = rig.doctor("a");
    assert!(!told.ok && task_named(&told, "branch").detail.contains("rewound"), "{told:#?}");
    assert_eq!(rig.tip(), old, "without --repair nothing is pushed");

    let report = rig.repair("a");
    assert!(report.ok && report.repaired.len() == 1, "{report:#?}");
    assert_eq!(rig.tip(), seen_by_a);
    let report = rig.repair("b");
    assert!(report.ok, "{report:#?}");
    assert_eq!(rig.tip(), newest);
    rig.sync("a");
    for name in ["a", "b"] {
        assert_eq!(list(&mut rig.machine(name), &Filter::default()).unwrap().len(), 3);
        assert_eq!(rig.history(name, "T-1"), ["add", "claim", "done"]);
        clean(&rig, name);
    }
}

/// Somebody went on working on the rewound branch before anybody repaired it.
#[test]
fn lost_operations_are_replayed_on_a_branch_that_went_another_way() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.machine("c");
    let old = rig.tip();
    rig.add("a", "T-2");
    rig.claim("a", "T-1");
    rig.done("a", "T-1");
    rig.sync("a");
    rig.git(&rig.hub(), &["update-ref", BRANCH, &old]);
    rig.add("c", "T-9");
    let other_way = rig.tip();

    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    assert!(report.repaired[0].contains("refs/orch/kept/"), "{report:#?}");
    assert_eq!(rig.git(&rig.hub(), &["merge-base", &other_way, BRANCH]), other_way, "nothing was forced");
    assert_eq!(rig.history("a", "T-1"), ["add", "claim", "done"]);
    assert_eq!(rig.history("a", "T-9"), ["add"]);
    rig.sync("c");
    assert_eq!(rig.history("c", "T-1"), ["add", "claim", "done"]);
    assert_eq!(rig.history("c", "T-2"), ["add"]);
    for name in ["a", "c"] {
        clean(&rig, name);
    }
    assert!(rig.repair("a").repaired.is_empty());
}

/// Publishes a policy that forbids a program; gives its text.
fn forbid(rig: &Rig, name: &str, program: &str) -> String {
    let text = format!("format: 1\nrules:\n  - {{prefix: [{program}], decision: forbid, reason: no}}");
    fs::write(rig.state(name).join("policy.yaml"), &text).unwrap();
    rig.sync(name);
    text
}

/// The policy on the branch, and as a machine has it.
fn policies(rig: &Rig, name: &str) -> [String; 2] {
    let shared = rig.git(&rig.hub(), &["show", &format!("{BRANCH}:policy.yaml")]);
    [shared, fs::read_to_string(rig.state(name).join("policy.yaml")).unwrap()]
}

/// The branch had lost a policy together with the commit that brought it: what it forbade was allowed everywhere.
#[test]
fn a_lost_policy_comes_back_on_a_branch_that_went_another_way() {
    let rig = Rig::shared();
    rig.machine("a");
    forbid(&rig, "a", "mkdir");
    rig.machine("c");
    let old = rig.tip();
    let policy = forbid(&rig, "a", "touch");
    rig.git(&rig.hub(), &["update-ref", BRANCH, &old]);
    rig.add("c", "T-9");

    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    assert_eq!(policies(&rig, "a"), [policy.clone(), policy.clone()]);
    rig.sync("c");
    assert_eq!(policies(&rig, "c"), [policy.clone(), policy]);
    clean(&rig, "c");
}

/// Somebody has decided anew since: that counts, whatever the branch held before it was lost.
#[test]
fn a_policy_that_was_changed_on_the_other_way_is_not_overwritten() {
    let rig = Rig::shared();
    rig.machine("a");
    rig.machine("c");
    let old = rig.tip();
    let lost = forbid(&rig, "a", "touch");
    let seen_by_a = rig.tip();
    rig.git(&rig.hub(), &["update-ref", BRANCH, &old]);
    let policy = forbid(&rig, "c", "mkdir");

    let report = rig.repair("a");
    let kept = format!("refs/orch/kept/{seen_by_a}");
    assert!(report.ok && report.repaired[0].contains(&kept), "{report:#?}");
    assert_eq!(policies(&rig, "a"), [policy.clone(), policy]);
    let kept = rig.git(&rig.state("a"), &["show", &format!("{kept}:policy.yaml")]);
    assert_eq!(kept, lost, "nothing is lost for good");
    clean(&rig, "c");
}

/// Branch and leases are gone; a holder goes on with the lease that it had.
#[test]
fn a_deleted_branch_and_its_leases_come_back() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.add("a", "T-2");
    rig.claim("a", "T-1");
    let lease = rig.git(&rig.hub(), &["rev-parse", "refs/orch/leases/T-1"]);
    rig.git(&rig.hub(), &["update-ref", "-d", BRANCH]);
    rig.git(&rig.hub(), &["update-ref", "-d", "refs/orch/leases/T-1"]);

    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    assert_eq!(rig.git(&rig.hub(), &["rev-parse", "refs/orch/leases/T-1"]), lease);
    rig.done("a", "T-1");
    rig.sync("a");
    rig.machine("b");
    assert_eq!(rig.history("b", "T-1"), ["add", "claim", "done"]);
    assert_eq!(rig.history("b", "T-2"), ["add"]);
    clean(&rig, "b");
}

#[test]
fn a_damaged_file_is_restored_and_its_bytes_are_kept() {
    for rig in [Rig::shared(), Rig::alone()] {
        rig.add("a", "T-1");
        let path = rig.file("a", "T-1");
        let whole = fs::read(&path).unwrap();
        let torn = &whole[..whole.len() / 2];
        fs::write(&path, torn).unwrap();
        let told = rig.doctor("a");
        let files = task_named(&told, "files");
        assert!(!told.ok && files.detail.contains("T-1.yaml:"), "{told:#?}");
        assert!(files.hint.unwrap().contains("--repair"));
        assert_eq!(fs::read(&path).unwrap(), torn);

        let report = rig.repair("a");
        assert!(report.ok && report.repaired.len() == 1, "{report:#?}");
        assert_eq!(fs::read(&path).unwrap(), whole);
        let rejected = rig.state("a").join(".git/orch/rejected");
        let kept = fs::read_dir(rejected)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with("damaged-T-1-"));
        assert_eq!(fs::read(kept.unwrap()).unwrap(), torn);
        clean(&rig, "a");
    }
}

/// The disk changed a byte; the times of the file say nothing.
#[test]
fn a_flipped_bit_in_the_history_is_damage_and_an_invalid_edit_is_not() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.add("a", "T-2");
    let (one, two) = (rig.file("a", "T-1"), rig.file("a", "T-2"));
    let whole = fs::read_to_string(&one).unwrap();
    fs::write(&one, whole.replace("by: ", "by: x")).unwrap();
    let edited = fs::read_to_string(&two).unwrap().replace("status: pending", "status: done");
    assert!(edited.contains("status: done"), "{edited}");
    fs::write(&two, &edited).unwrap();

    let report = rig.repair("a");
    assert!(!report.ok && report.problems.len() == 1, "{report:#?}");
    assert!(report.problems[0].contains("T-2.yaml:"), "{report:#?}");
    assert_eq!(fs::read_to_string(&one).unwrap(), whole);
    assert_eq!(fs::read_to_string(&two).unwrap(), edited, "an edit is never overwritten");
}

fn damage_every_object(git_dir: &std::path::Path) -> usize {
    let mut damaged = 0;
    for shard in fs::read_dir(git_dir.join("objects")).unwrap().flatten() {
        if shard.file_name().len() != 2 {
            continue;
        }
        for object in fs::read_dir(shard.path()).unwrap().flatten() {
            fs::remove_file(object.path()).unwrap();
            fs::write(object.path(), b"").unwrap();
            damaged += 1;
        }
    }
    damaged
}

/// A power failure left objects of no length behind. Operations that were not published yet survive.
#[test]
fn a_repository_of_empty_objects_is_fetched_again() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.claim("a", "T-1");
    let hub = rig.hub();
    let away = hub.with_extension("away");
    fs::rename(&hub, &away).unwrap();
    rig.add("a", "T-2");
    rig.done("a", "T-1");
    fs::rename(&away, &hub).unwrap();
    assert!(damage_every_object(&rig.state("a").join(".git")) > 3);

    let told = rig.doctor("a");
    assert!(!told.ok && !task_named(&told, "repository").ok, "{told:#?}");
    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    rig.sync("a");
    rig.machine("b");
    assert_eq!(rig.history("b", "T-1"), ["add", "claim", "done"]);
    assert_eq!(rig.history("b", "T-2"), ["add"]);
    for name in ["a", "b"] {
        clean(&rig, name);
    }
}

/// The repository is damaged and the remote has forgotten: only the files know.
#[test]
fn files_alone_bring_a_lost_branch_back() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.claim("b", "T-1");
    rig.done("b", "T-1");
    rig.sync("b");
    rig.sync("a");
    rig.git(&rig.hub(), &["update-ref", "-d", BRANCH]);
    damage_every_object(&rig.state("a").join(".git"));
    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    rig.machine("c");
    assert_eq!(rig.history("c", "T-1"), ["add", "claim", "done"]);
    clean(&rig, "a");
}

#[test]
fn without_a_remote_a_damaged_repository_is_committed_again_from_the_files() {
    let rig = Rig::alone();
    rig.add("a", "T-1");
    rig.claim("a", "T-1");
    damage_every_object(&rig.state("a").join(".git"));
    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    assert_eq!(rig.history("a", "T-1"), ["add", "claim"]);
    let names = rig.git(&rig.state("a").join(".git"), &["ls-tree", "-r", "--name-only", BRANCH]);
    assert!(names.contains("T-1.yaml") && names.contains("orch.yaml"), "{names}");
    clean(&rig, "a");
}

#[test]
fn an_empty_object_that_nothing_needs_is_removed_and_history_stays() {
    let rig = Rig::alone();
    rig.add("a", "T-1");
    let git = rig.state("a").join(".git");
    let before = rig.git(&git, &["rev-parse", BRANCH]);
    let dir = git.join("objects/ab");
    fs::create_dir_all(&dir).unwrap();
    let empty = dir.join("c".repeat(38));
    fs::write(&empty, b"").unwrap();
    assert!(!rig.doctor("a").ok);
    let report = rig.repair("a");
    assert!(report.ok && !empty.exists(), "{report:#?}");
    assert_eq!(rig.git(&git, &["rev-parse", BRANCH]), before);
}

#[test]
fn a_lost_head_or_config_is_written_anew_and_history_stays() {
    for rig in [Rig::shared(), Rig::alone()] {
        rig.add("a", "T-1");
        let git = rig.state("a").join(".git");
        let before = rig.git(&git, &["rev-parse", BRANCH]);
        fs::write(git.join("config"), "[core\n").unwrap();
        fs::write(git.join("HEAD"), "").unwrap();
        assert!(!rig.doctor("a").ok);
        let report = rig.repair("a");
        assert!(report.ok && report.repaired.len() == 1, "{report:#?}");
        assert_eq!(rig.git(&git, &["rev-parse", BRANCH]), before);
    }
}

fn make_old(path: &std::path::Path) {
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
}

#[test]
fn a_lock_file_goes_only_when_it_is_old_and_nobody_has_it() {
    let rig = Rig::alone();
    rig.add("a", "T-1");
    let git = rig.state("a").join(".git").canonicalize().unwrap();
    let (young, old) = (git.join("config.lock"), git.join("refs/heads/orch-state.lock"));
    fs::write(&young, "").unwrap();
    fs::write(&old, "").unwrap();
    make_old(&old);
    let report = rig.doctor("a");
    assert_eq!(task_named(&report, "git_locks").problems.len(), 2, "{report:#?}");
    assert!(young.exists() && old.exists());

    #[cfg(target_os = "linux")]
    {
        let held = fs::File::open(&old).unwrap();
        let report = rig.repair("a");
        assert!(old.exists(), "somebody has it open: {report:#?}");
        drop(held);
    }
    rig.repair("a");
    assert!(young.exists() && !old.exists());
}

#[test]
fn a_code_repository_that_sees_the_state_is_told_to_look_away() {
    let rig = Rig::shared();
    let root = rig.state("a").parent().unwrap().to_owned();
    fs::create_dir_all(&root).unwrap();
    rig.git(&root, &["init", "--quiet"]);
    rig.add("a", "T-1");
    fs::write(root.join(".git/info/exclude"), "").unwrap();
    let report = rig.doctor("a");
    assert!(!task_named(&report, "code").ok);
    let report = rig.repair("a");
    assert!(report.ok && task_named(&report, "code").ok, "{report:#?}");
    let status = rig.git(&root, &["status", "--porcelain"]);
    assert_eq!(status, "");
}

#[test]
fn a_directory_without_a_queue_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let options = crate::machine::Options { state: dir.path().to_owned(), ..Default::default() };
    let error = crate::machine::doctor(&options, false).unwrap_err();
    assert_eq!(error.kind, crate::usecase::error::Kind::NotFound);
}

#[test]
fn broken_settings_are_a_finding_and_not_the_end() {
    let rig = Rig::alone();
    rig.add("a", "T-1");
    fs::write(rig.state("a").join("orch.yaml"), "format: 1\nleese: {}\n").unwrap();
    let report = rig.doctor("a");
    assert!(!report.ok && task_named(&report, "settings").detail.contains("leese"), "{report:#?}");
    assert!(task_named(&report, "disk").ok);
}

#[test]
fn a_lock_on_the_remote_is_named_and_left_alone() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    let lock = rig.hub().join("refs/heads/orch-state.lock");
    fs::write(&lock, "").unwrap();
    make_old(&lock);
    let report = rig.repair("a");
    assert!(
        !report.ok && task_named(&report, "remote_locks").detail.contains("orch-state.lock"),
        "{report:#?}"
    );
    assert!(lock.exists());
}

/// Killed at any push of a repair, the next repair ends where the first would have.
#[test]
fn a_repair_that_lost_its_push_can_be_repeated() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    let old = rig.tip();
    rig.add("a", "T-2");
    rig.claim("a", "T-1");
    let newest = rig.tip();
    rig.git(&rig.hub(), &["update-ref", BRANCH, &old]);
    rig.git(&rig.hub(), &["update-ref", "-d", "refs/orch/leases/T-1"]);
    let hook = rig.hub().join("hooks/pre-receive");
    crate::world::program::install(&hook, "#!/bin/sh\ngrep -q refs/heads/orch-state && exit 1\nexit 0\n")
        .unwrap();
    let report = rig.repair("a");
    assert!(!report.ok && !task_named(&report, "branch").ok, "{report:#?}");
    fs::remove_file(&hook).unwrap();
    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    assert_eq!(rig.tip(), newest);
    rig.done("a", "T-1");
    rig.sync("a");
    assert_eq!(rig.history("a", "T-1"), ["add", "claim", "done"]);
    clean(&rig, "a");
}

#[test]
fn a_file_swapped_with_another_is_damage() {
    let rig = Rig::shared();
    rig.add("a", "T-1");
    rig.add("a", "T-2");
    let other = fs::read(rig.file("a", "T-2")).unwrap();
    fs::write(rig.file("a", "T-1"), &other).unwrap();
    let report = rig.repair("a");
    assert!(report.ok, "{report:#?}");
    let restored = codec::decode(&fs::read(rig.file("a", "T-1")).unwrap()).unwrap();
    assert_eq!(restored.task.id(), &id("T-1"));
}
