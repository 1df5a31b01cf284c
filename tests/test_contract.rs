//! The contract read sentence by sentence from outside: what a stranger found that did not hold.

use serde_json::Value;

use crate::rig::{Machine, TestEnv};

/// `--parent` was declared in one type and read in another: clap panicked, and `add --parent ID` ended with SIGABRT.
/// No test had ever passed the option, so here every option of the two commands is passed once.
#[test]
fn every_option_that_describes_a_task_can_be_given() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("PARENT");
    let options = [
        "--title=t",
        "--description=d",
        "--priority=P1",
        "--success-criteria=c",
        "--needs=PARENT",
        "--on-need-failed=run",
        "--tag=x,y",
        "--due-at=2099-01-01",
        "--not-before=2020-01-01",
        "--idempotency-key=k",
        "--max-attempts=2",
        "--review=required",
        "--agent=coding",
        "--parent=PARENT",
    ];
    a.orch(["add", "--id", "T-1"].iter().chain(&options)).ok();
    assert_eq!(a.show("T-1")["parent"], "PARENT");
    a.orch(["edit", "T-1"].iter().chain(&options)).ok();
    a.orch(["edit", "T-1", "--due-at-kst", "2099-01-01", "--parent", ""]).ok();
    let task = a.show("T-1");
    assert_eq!((&task["parent"], &task["due_at"]), (&Value::Null, &"2098-12-31T15:00:00.000Z".into()));
    a.orch(["add", "--title", "t", "--due-at-kst", "2099-01-01", "--", "true"]).ok();
}

/// `edit --agent ''` was refused as an agent without a name, so that nothing but an editor could take the work out of
/// a task again; `--help` says that an empty value empties it.
#[test]
fn an_empty_agent_empties_the_work() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "T-1", "--title", "t", "--", "true"]).ok();
    a.orch(["edit", "T-1", "--agent", ""]).ok();
    assert_eq!(a.show("T-1")["run"], Value::Null);
    a.verify();
}

/// SPEC §15: "Policy is checked when the block runs; `add` warns." It did not, and a task for an agent type that no
/// `agents.yaml` has waited without a word from anybody.
#[test]
fn work_that_no_worker_would_do_is_told_when_it_is_added() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--title", "t", "--id", "T-1", "--", "sh", "-c", "true"])
        .ok()
        .says("the policy would refuse");
    a.orch(["add", "--title", "t", "--", "true"]).ok().quiet();
    a.orch(["edit", "T-1", "--", "rm", "-rf", "/"]).ok().says("T-1: the policy would refuse");
    a.orch(["edit", "T-1", "--title", "u"]).ok().quiet();
    a.orch(["add", "--title", "t", "--agent", "codign"]).ok().says("no agent type `codign`");
    std::fs::write(a.state("agents.yaml"), "format: 1\nagents: {coding: {argv: [\"true\"]}}\n")
        .expect("ours");
    a.orch(["add", "--title", "t", "--agent", "coding"]).ok().quiet();
}

/// A broken policy or `agents.yaml` stopped every worker (78), and `doctor`, which tests everything that a queue stands
/// on, found no problem.
#[test]
fn the_doctor_reads_what_workers_read() {
    let env = TestEnv::new();
    let a = env.local("a");
    std::fs::write(a.state("policy.yaml"), "format: 1\ndefault: maybe\n").expect("ours");
    a.orch(["work", "--once"]).exits(78);
    a.orch(["doctor"]).exits(8).prints("policy.yaml:2:10: default");
    std::fs::write(a.state("policy.yaml"), "format: 1\n").expect("ours");
    a.orch(["doctor"]).ok();
    std::fs::write(a.state("agents.yaml"), "format: 1\nagent: {}\n").expect("ours");
    a.orch(["doctor"]).exits(8).prints("did you mean `agents`?");
}

/// A command that changes a task said of an invalid edit "it was edited just now; run the command again", however
/// often it was run; SPEC §2 promises file, line and column from every command.
#[test]
fn an_invalid_edit_is_named_with_its_place_by_commands_that_change_the_task() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.edit_task("T-1", |text| text.replace("status: pending", "status: done"));
    for command in
        [&["claim", "T-1"][..], &["note", "T-1", "--text", "x"], &["cancel", "T-1", "--notes", "n"]]
    {
        let error = a.try_json(command.iter().copied()).exits(8).error();
        let message = error["message"].as_str().expect("text");
        assert!(message.contains("T-1.yaml:4:9: `status` cannot be edited by hand"), "{message}");
    }
    a.edit_task("T-1", |text| text.replace("status: done", "status: pending"));
    a.orch(["claim", "T-1"]).ok();
}

/// SPEC §4: the holder of a cancelled task learns it at its next heartbeat (9, `cancelled`). One whose session has the
/// same name as the operator's, as with one `ORCH_SESSION` for a whole shell, was told 4 instead.
#[test]
fn a_holder_learns_of_a_cancel_whatever_the_operator_calls_himself() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    a.orch(["cancel", "T-1", "--notes", "superseded"]).ok();
    for act in [&["heartbeat", "T-1"][..], &["done", "T-1", "--notes", "n"], &["release", "T-1"]] {
        assert_eq!(a.try_json(act.iter().copied()).exits(9).error()["code"], "cancelled");
    }
}

/// SPEC §14, promise 3. `block` had no epoch: an agent that had lost its task could put it aside under whoever held it
/// now, although its worker had told it in which epoch it acts.
#[test]
fn an_agent_of_an_earlier_epoch_cannot_block_a_task() {
    let env = TestEnv::new();
    let a = env.local("a");
    let agent = |epoch| a.with("ORCH_TASK", "T-1").with("ORCH_EPOCH", epoch);
    let b = a.session("b");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    a.orch(["release", "T-1"]).ok();
    b.orch(["claim", "T-1"]).ok();
    assert_eq!(agent("1").try_json(["block", "T-1", "--notes", "no key"]).exits(9).error()["code"], "fenced");
    b.orch(["block", "T-1", "--epoch", "1", "--notes", "no key"]).exits(9);
    assert_eq!(b.status("T-1"), "in_progress");
    b.orch(["block", "T-1", "--epoch", "2", "--notes", "no key"]).ok();
    b.orch(["unblock", "T-1"]).ok();
    a.orch(["claim", "T-1"]).ok();
    agent("3").orch(["block", "--notes", "no key"]).ok();
    a.orch(["unblock", "T-1"]).ok();
    a.orch(["claim", "T-1"]).ok();
    // An operator names no epoch.
    b.orch(["block", "T-1", "--notes", "stop"]).ok();
    a.verify();
}

/// Without a remote heartbeats are not committed, and `audit` took that for a broken promise 7.
#[test]
fn an_audit_of_a_local_queue_is_not_alarmed_by_a_heartbeat() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    a.orch(["heartbeat", "T-1", "--percent", "5"]).ok();
    a.orch(["audit"]).ok();
}

/// `review.max_rounds` could be set and changed nothing: author and reviewer went round for ever.
#[test]
fn the_last_round_of_a_review_asks_for_a_person() {
    let env = TestEnv::new();
    let a = env.local("a");
    let round = |a: &Machine, rounds: &str| {
        a.orch(["snooze", "T-1", "--until", "none"]).ok();
        a.orch(["claim", "T-1"]).ok();
        a.orch(["done", "T-1", "--notes", "n"]).ok();
        let review = a.with("ORCH_REVIEW_MAX_ROUNDS", rounds);
        review.orch(["review", "T-1", "--verdict", "RETRY", "--notes", "still wrong"]).ok().clone()
    };
    a.orch(["add", "--id", "T-1", "--title", "t", "--review", "required", "--max-attempts", "9"]).ok();
    round(&a, "2").quiet();
    assert_eq!(a.status("T-1"), "pending");
    round(&a, "2").says("round 2 of 2").prints("blocked");
    let result = &a.show("T-1")["result"];
    assert_eq!(result["reason"], "review_blocked");
    assert!(result["notes"].as_str().expect("notes").starts_with("still wrong\n"), "{result}");
    // A person has looked: the count begins anew.
    a.orch(["unblock", "T-1"]).ok();
    round(&a, "2").quiet();
    assert_eq!(a.status("T-1"), "pending");
    a.verify();
}

/// SPEC §4: ready means also that the queue is not paused. `list --ready` named tasks that nobody could claim.
#[test]
fn nothing_is_ready_while_the_queue_is_paused() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    let paused = a.with("ORCH_QUEUE_PAUSED", "true");
    paused.orch(["list", "--ready"]).ok().says("the queue is paused");
    assert_eq!(paused.json(["list", "--ready"]), serde_json::json!([]));
    assert_eq!(paused.json(["list"])[0]["id"], "T-1");
    assert_eq!(a.json(["list", "--ready"])[0]["id"], "T-1");
}

/// A limit of nothing ended every command before it began, as `timeout (exit code 0)`.
#[test]
fn a_timeout_of_nothing_is_refused() {
    let env = TestEnv::new();
    let a = env.local("a");
    let task =
        |timeout: &str| format!("title: t\nrun: {{exec: [{{argv: [\"true\"], timeout: {timeout}}}]}}\n");
    std::fs::write(a.dir().join("task.yaml"), task("0s")).expect("ours");
    a.orch(["add", "--file", "task.yaml"]).exits(5).says("run.exec[0].timeout");
    std::fs::write(a.dir().join("task.yaml"), task("1ms")).expect("ours");
    a.orch(["add", "--file", "task.yaml"]).ok();
}

/// A misspelt setting is an error with the nearest name in `orch.yaml`, and was silence in the environment and a dead
/// end in `config set`.
#[test]
fn a_misspelt_setting_is_named_wherever_it_stands() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.with("ORCH_LEASE_TTTL", "5m").orch(["list"]).exits(78).says("did you mean `ORCH_LEASE_TTL`?");
    a.with("ORCH_ANYTHING", "5m").orch(["list"]).ok();
    a.orch(["config", "set", "lease.tttl", "5m"]).exits(78).says("did you mean `lease.ttl`?");
}

/// Every turn through a Markdown table added one more "imported as done" to the notes.
#[test]
fn a_table_that_goes_round_stays_as_it_is() {
    let env = TestEnv::new();
    let table = "| id | status | task | owner | notes |\n|---|---|---|---|---|\n| A | done | Do a | jq | n |\n\
                 | B | blocked | Do b | | |\n| C | cancelled | Do \\| c | | x / y |\n| D | doing | Do d | me | |\n";
    let first = env.local("first");
    std::fs::write(first.dir().join("q.md"), table).expect("ours");
    first.orch(["import", "q.md"]).ok();
    let out = first.orch(["export", "--format", "markdown"]).ok().stdout.clone();
    let second = env.local("second");
    std::fs::write(second.dir().join("q.md"), &out).expect("ours");
    second.orch(["import", "q.md"]).ok();
    assert_eq!(second.orch(["export", "--format", "markdown"]).ok().stdout, out);
    assert!(out.contains("imported as done"), "{out}");
    second.verify();
}

fn note_of(kilobytes: usize) -> String {
    "n".repeat(kilobytes * 1024)
}

/// SPEC §2 bounds the size of a file. With a remote, an operation that went beyond it was pushed all the same, and the
/// task was quarantined on every machine for ever; a note could also take the room that its end would have needed.
#[test]
fn a_task_full_of_notes_can_still_end() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    for _ in 0..2 {
        a.orch(["checkpoint", "T-1", "--note", &note_of(60)]).ok();
    }
    let error = a.try_json(["checkpoint", "T-1", "--note", &note_of(60)]).exits(5).error();
    assert_eq!(error["code"], "too_large");
    while a.orch(["checkpoint", "T-1", "--note", &note_of(8)]).code == 0 {}
    a.orch(["note", "T-1", "--text", &note_of(8)]).exits(5);
    a.orch(["done", "T-1", "--notes", &note_of(60)]).exits(5);
    a.orch(["heartbeat", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", &note_of(8)]).ok();
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    assert_eq!(b.status("T-1"), "done");
    a.verify();
    b.verify();
}

/// The history repeats what an edit says. A hand edit that fitted by itself and not with its operation made every
/// command of the queue fail with 1, whatever task it was about.
#[test]
fn a_hand_edit_that_is_too_large_blocks_its_own_task_only() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.add("T-2");
    for _ in 0..3 {
        a.orch(["note", "T-1", "--text", &note_of(50)]).ok();
    }
    a.edit_task("T-1", |text| text.replacen("status:", &format!("description: {}\nstatus:", note_of(50)), 1));
    a.orch(["list"]).ok().prints("T-2").says("larger than a task file may be");
    a.orch(["claim", "T-2"]).ok();
    a.orch(["show", "T-1"]).exits(8);
    a.edit_task("T-1", |text| text.replacen(&note_of(50), &note_of(1), 1));
    a.orch(["claim", "T-1"]).ok();
    a.verify();
}

/// Unknown fields stand in the file twice, too: many small values were accepted, and then had more nodes than a reader
/// takes.
#[test]
fn a_task_that_could_not_be_read_again_is_not_added() {
    let env = TestEnv::new();
    let a = env.local("a");
    let list = |count: usize| format!("title: t\nid: T-1\nnumbers: [{}1]\n", "1, ".repeat(count));
    std::fs::write(a.dir().join("task.yaml"), list(30_000)).expect("ours");
    assert_eq!(a.try_json(["add", "--file", "task.yaml"]).exits(5).error()["code"], "too_large");
    std::fs::write(a.dir().join("task.yaml"), list(3_000)).expect("ours");
    a.orch(["add", "--file", "task.yaml"]).ok();
    a.orch(["claim", "T-1"]).ok();
    a.verify();
}

/// The text of a task's file as a later version of orch might write it and seal it.
fn newer(text: &str, head: &str, operation: &str) -> String {
    let body = &text[..text.find("seal:").expect("a sealed file")];
    let mut newer = format!("{}{operation}", body.replacen("format: 1\n", head, 1));
    orch::store::seal::add(&mut newer);
    newer
}

const NEWER_HEAD: &str = "format: 2\nurgency: {score: 7}\n";
const NEWER_OPERATION: &str =
    "  - {op: 01M8A71N910JVSEYJR94R3HVCT, at: 2026-11-25T20:41:08.641Z, by: s, do: delegate, to: t}\n";

/// SPEC §2: "A newer `format` is refused for writing and readable when it can be." `show` ended with 8, for a newer
/// format as for an operation that had come later.
#[test]
fn a_task_of_a_newer_version_is_shown_and_left_alone() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.add("T-2");
    let text = a.read_task("T-1");
    for (head, operation) in
        [(NEWER_HEAD, NEWER_OPERATION), ("format: 1\n", NEWER_OPERATION), (NEWER_HEAD, "")]
    {
        let newer = newer(&text, head, operation);
        std::fs::write(a.task_path("T-1"), &newer).expect("ours");
        let shown = a.try_json(["show", "T-1"]).ok().says("upgrade orch").data();
        assert_eq!((&shown["title"], shown.get("seal")), (&"Task T-1".into(), None));
        assert_eq!(shown["history"].as_array().map(Vec::len), Some(1 + operation.lines().count()));
        a.orch(["show", "T-1"]).ok().prints("Task T-1");
        for change in
            [&["claim", "T-1"][..], &["edit", "T-1", "--title", "x"], &["cancel", "T-1", "--notes", "n"]]
        {
            a.orch(change).exits(8).says("upgrade orch");
        }
        a.orch(["doctor", "--repair"]).exits(8);
        assert_eq!(a.read_task("T-1"), newer, "nobody writes what only a newer version understands");
    }
    // What a person writes into the file is no newer version.
    std::fs::write(a.task_path("T-1"), text.replacen("format: 1", "format: 2", 1)).expect("ours");
    a.orch(["show", "T-1"]).exits(8);
    a.orch(["claim", "T-2"]).ok();
}

/// The same where another machine is newer: its files are never written here, and can be looked at all the same.
#[test]
fn a_task_of_a_newer_machine_is_shown() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.machine("b"));
    a.add("T-1");
    a.add("T-2");
    let clone = env.path("clone");
    let branch = ["clone", "-q", "-b", "orch-state", remote.url()];
    env.git(b.dir(), &[&branch[..], &[&clone.to_string_lossy()]].concat()).ok();
    let file = a.task_path("T-1");
    let file = clone.join(file.strip_prefix(a.state("")).expect("a file of the state"));
    let newer = newer(&a.read_task("T-1"), NEWER_HEAD, NEWER_OPERATION);
    std::fs::write(&file, &newer).expect("ours");
    env.git(&clone, &["commit", "-qam", "newer"]).ok();
    env.git(&clone, &["push", "-q"]).ok();
    b.orch(["init", "--remote", remote.url()]).ok();
    for machine in [&a, &b] {
        machine.orch(["sync"]).ok().says("upgrade orch");
        assert_eq!(machine.try_json(["show", "T-1"]).ok().data()["history"][1]["to"], "t");
        machine.orch(["claim", "T-1"]).exits(8);
    }
    b.orch(["claim", "T-2"]).ok();
    a.orch(["sync"]).ok();
    let shown = remote.git(&["ls-tree", "-r", "--name-only", "orch-state"]).ok().stdout.clone();
    let path = shown.lines().find(|line| line.ends_with("T-1.yaml")).expect("its file");
    assert_eq!(remote.git(&["show", &format!("orch-state:{path}")]).ok().stdout, newer);
}

/// The same for `orch.yaml`: once somebody had raised its format, no other machine could as much as list its tasks.
#[test]
fn a_queue_of_a_newer_version_can_be_looked_at() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.add("T-2");
    a.orch(["claim", "T-2"]).ok();
    std::fs::write(a.state("orch.yaml"), "shards: 7\nformat: 2\n").expect("ours");
    let before = a.task_files();
    for look in [
        &["list"][..],
        &["show", "T-1"],
        &["explain", "T-1"],
        &["resume", "T-1"],
        &["log"],
        &["graph"],
        &["status"],
        &["sessions"],
        &["workers"],
        &["export"],
    ] {
        a.orch(look)
            .ok()
            .says("orch.yaml:2:9: format: format 2 was written by a newer version")
            .prints(if look == ["sessions"] { "a-session" } else { "T-" });
    }
    for change in [
        &["claim", "T-1"][..],
        &["add", "--title", "t"],
        &["heartbeat", "T-2"],
        &["sync"],
        &["work", "--once"],
    ] {
        assert_eq!(a.try_json(change.iter().copied()).exits(78).error()["code"], "newer_format");
    }
    a.edit_task("T-1", |text| text.replacen("title: Task T-1", "title: changed meanwhile", 1));
    a.orch(["list"]).ok();
    assert!(a.read_task("T-1").contains("changed meanwhile"), "what a person writes waits");
    assert_eq!(a.task_files().len(), before.len());
    std::fs::write(a.state("orch.yaml"), "format: 1\n").expect("ours");
    assert_eq!(a.show("T-1")["title"], "changed meanwhile");
    a.orch(["heartbeat", "T-2"]).ok();
    a.verify();
}

/// Unknown fields are kept, so a misspelt one of `add --file` was kept as well, without a word.
#[test]
fn a_field_that_was_probably_misspelt_is_named() {
    let env = TestEnv::new();
    let a = env.local("a");
    std::fs::write(a.dir().join("task.yaml"), "title: t\nprioritie: P0\ncolour: green\n").expect("ours");
    a.orch(["add", "--file", "task.yaml"]).ok().says("did you mean `priority`?").never_says("colour");
}
