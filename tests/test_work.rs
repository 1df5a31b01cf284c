//! Workers with real commands: how attempts end, what is left after a kill, and who may run what.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::rig::process::Running;
use crate::rig::{Machine, TestEnv, until};

/// A script of the workspace: exec blocks may run those.
fn script(machine: &Machine, name: &str, text: &str) {
    orch::world::program::install(&machine.dir().join(name), &format!("#!/bin/sh\n{text}\n"))
        .expect("a new file");
}

fn add(machine: &Machine, id: &str, argv: &[&str]) {
    let words = ["add", "--id", id, "--title", id, "--"];
    machine.orch(words.iter().chain(argv)).ok();
}

/// A script that notes its process and that of a descendant which has left its group, and waits.
fn add_stubborn(machine: &Machine, id: &str) {
    script(machine, "stubborn", "setsid sleep 1000 &\necho $! > escaped\necho $$ > leader\nwait");
    add(machine, id, &["./stubborn"]);
}

fn pid_in(machine: &Machine, file: &str) -> Option<u32> {
    std::fs::read_to_string(machine.dir().join(file)).ok()?.trim().parse().ok()
}

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// Waits for both processes of [`add_stubborn`].
fn stubborn_runs(machine: &Machine) -> [u32; 2] {
    until("the script runs", || Some([pid_in(machine, "leader")?, pid_in(machine, "escaped")?]))
}

fn none_lives(pids: [u32; 2]) {
    until("the tree is gone", || (!pids.iter().any(|pid| lives(*pid))).then_some(()));
}

fn work(machine: &Machine, args: &[&str]) -> Command {
    let mut command = machine.command(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn term(running: &Running) {
    let kill = Command::new("kill").args(["-TERM", &running.pid().to_string()]).status();
    assert!(kill.expect("kill is installed").success());
}

fn exit_code(running: &mut Running) -> i32 {
    let status = until("the worker ends", || running.ended());
    status.code().expect("it ends by itself")
}

#[test]
fn every_way_to_end_has_its_reason_and_its_exit_code() {
    let env = TestEnv::new();
    let machine = env.local("m");
    let preload = json!({"LD_PRELOAD": "./x.so"});
    let rows: [(&str, Value, i32, &str, &str); 6] = [
        ("OK", json!([{"argv": ["true"]}]), 0, "success", "done"),
        ("NO", json!([{"argv": ["false"]}]), 1, "error", "pending"),
        ("LATE", json!([{"argv": ["sleep", "1000"], "timeout": "300ms"}]), 1, "timeout", "pending"),
        ("SHELL", json!([{"argv": ["true"]}, {"argv": ["sh", "-c", "true"]}]), 1, "policy_blocked", "failed"),
        ("PRELOAD", json!([{"argv": ["true"], "env": preload}]), 1, "policy_blocked", "failed"),
        ("GONE", json!([{"argv": ["no-such-program-anywhere"]}]), 1, "spawn_failed", "pending"),
    ];
    for (id, exec, code, reason, status) in rows {
        let file = machine.dir().join("task.json");
        let task = json!({"format": 1, "id": id, "title": id, "run": {"exec": exec}});
        std::fs::write(&file, task.to_string()).expect("a new file");
        machine.orch(["add", "--file", "task.json"]).ok();
        let run = machine.try_json(["work", "--once"]);
        run.exits(code);
        let attempt = run.data()["attempts"][0].clone();
        assert_eq!((&attempt["task"], &attempt["reason"]), (&json!(id), &json!(reason)), "{run}");
        assert_eq!(attempt["outcome"], json!(status), "{run}");
        let task = machine.show(id);
        assert_eq!(task["status"], json!(status));
        assert_eq!(task["result"]["reason"], json!(reason), "{task}");
        let manifest = machine.state(attempt["bundle"].as_str().expect("a path")).join("manifest.json");
        assert!(manifest.is_file(), "{}", manifest.display());
        // What policy refuses is not tried again; what could not start has cost no attempt.
        assert_eq!(task["attempt"], json!(i32::from(reason != "spawn_failed")), "{task}");
    }
    machine.orch(["work", "--once"]).exits(6);
    machine.verify();
}

#[test]
fn a_worker_leaves_tasks_alone_that_it_cannot_run() {
    let env = TestEnv::new();
    let machine = env.local("m");
    machine.add("BY-HAND");
    machine.orch(["add", "--id", "UNKNOWN", "--title", "t", "--agent", "nobody"]).ok();
    machine.orch(["work", "--once"]).exits(6);
    machine.orch(["work", "--until-idle"]).exits(0);
    assert_eq!([machine.status("BY-HAND"), machine.status("UNKNOWN")], ["pending", "pending"]);
}

#[test]
fn a_cancelled_task_takes_its_processes_with_it() {
    let env = TestEnv::new();
    let machine = env.local("m");
    add_stubborn(&machine, "T-1");
    let mut worker = Running::start(&mut work(&machine, &["work", "--once"]));
    let pids = stubborn_runs(&machine);
    machine.orch(["cancel", "T-1", "--notes", "not needed"]).ok();
    assert_eq!(exit_code(&mut worker), 1);
    none_lives(pids);
    assert_eq!(machine.status("T-1"), "cancelled");
    machine.verify();
}

#[test]
fn after_kill_9_no_child_is_left_and_the_task_is_recovered_at_once() {
    let env = TestEnv::new();
    let machine = env.local("m");
    add_stubborn(&machine, "T-1");
    let mut worker = Running::start(&mut work(&machine, &["work", "--once"]));
    let pids = stubborn_runs(&machine);
    machine.orch(["note", "T-1", "--text", "mind the gap"]).ok();
    worker.kill();
    none_lives(pids);
    let watched = machine.json(["watchdog", "--once"]);
    assert_eq!(watched["recovered"][0]["id"], json!("T-1"), "{watched}");
    let task = machine.show("T-1");
    assert_eq!((&task["status"], &task["attempt"]), (&json!("pending"), &json!(1)));
    machine.verify();
}

#[test]
fn another_worker_takes_over_what_a_dead_one_left_also_under_its_name() {
    let env = TestEnv::new();
    let machine = env.local("m");
    add_stubborn(&machine, "T-1");
    let mut worker = Running::start(&mut work(&machine, &["work", "--once"]));
    stubborn_runs(&machine);
    worker.kill();
    script(&machine, "stubborn", "exit 0");
    let run = machine.try_json(["work", "--once"]);
    run.exits(0);
    assert_eq!(run.data()["attempts"][0]["epoch"], json!(2), "{run}");
    assert_eq!(machine.status("T-1"), "done");
    machine.verify();
}

#[test]
fn sigterm_gives_back_what_does_not_end_in_time_and_costs_no_attempt() {
    let env = TestEnv::new();
    let machine = env.local("m");
    add_stubborn(&machine, "T-1");
    let mut worker = Running::start(&mut work(&machine, &["work", "--drain-time", "200ms"]));
    let pids = stubborn_runs(&machine);
    term(&worker);
    assert_eq!(exit_code(&mut worker), 0);
    none_lives(pids);
    let task = machine.show("T-1");
    assert_eq!((&task["status"], &task["attempt"]), (&json!("pending"), &json!(0)), "{task}");
    let release = task["history"].as_array().and_then(|ops| ops.last()).cloned().unwrap_or_default();
    assert_eq!((&release["do"], &release["reason"]), (&json!("release"), &json!("shutdown")), "{release}");
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_takes_nothing_more() {
    let env = TestEnv::new();
    let machine = env.local("m");
    script(&machine, "gate", "echo $$ > leader\nwhile [ ! -e open ]; do sleep 0.05; done");
    add(&machine, "T-1", &["./gate"]);
    add(&machine, "T-2", &["true"]);
    let mut worker = Running::start(&mut work(&machine, &["up"]));
    until("the script runs", || pid_in(&machine, "leader"));
    let asked = machine.json(["drain"]);
    assert_eq!(asked["attempts"][0]["task"], json!("T-1"), "{asked}");
    // Longer than the worker needs to see the request; it must not end before its attempt has.
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(worker.ended().is_none());
    std::fs::write(machine.dir().join("open"), "").expect("a new file");
    assert_eq!(exit_code(&mut worker), 0);
    assert_eq!([machine.status("T-1"), machine.status("T-2")], ["done", "pending"]);
    // Whoever starts later was not meant.
    machine.orch(["work", "--once"]).ok();
    assert_eq!(machine.status("T-2"), "done");
}

#[test]
fn a_worker_that_waits_takes_what_is_added() {
    let env = TestEnv::new();
    let machine = env.local("m");
    let mut worker = Running::start(&mut work(&machine, &["up", "--slots", "3"]));
    for id in ["T-1", "T-2", "T-3"] {
        add(&machine, id, &["true"]);
        until("the task is done", || (machine.status(id) == "done").then_some(()));
    }
    term(&worker);
    assert_eq!(exit_code(&mut worker), 0);
}

/// An agent that fails the first time and keeps its prompts.
fn agent(machine: &Machine) {
    script(machine, "agent", "cat > prompt-$ORCH_ATTEMPT.md\necho said so\n[ \"$ORCH_ATTEMPT\" -gt 1 ]");
    let types = "format: 1\nagents:\n  coding: {argv: [./agent], expect: output}\n";
    std::fs::write(machine.state("agents.yaml"), types).expect("our file");
}

#[test]
fn the_next_attempt_gets_the_context_of_those_before() {
    let env = TestEnv::new();
    let machine = env.local("m");
    agent(&machine);
    let file = json!({"format": 1, "id": "T-1", "title": "Mend it", "description": "All of it.",
        "success_criteria": ["tests pass"], "retry": {"backoff": ["1ms"]}, "run": {"agent": "coding"}});
    std::fs::write(machine.dir().join("t.json"), file.to_string()).expect("a new file");
    machine.orch(["add", "--file", "t.json"]).ok();
    machine.orch(["work", "--once"]).exits(1);
    machine.orch(["note", "T-1", "--text", "look at the logs"]).ok();
    machine.orch(["work", "--once"]).exits(0);
    let prompt =
        |n: u32| std::fs::read_to_string(machine.dir().join(format!("prompt-{n}.md"))).expect("kept");
    assert!(prompt(1).contains("Mend it") && !prompt(1).contains("Earlier attempts"), "{}", prompt(1));
    for part in ["All of it.", "tests pass", "look at the logs", "exit code 1", "runs/T-1/1", "attempt 2"] {
        assert!(prompt(2).contains(part), "{part} is missing in\n{}", prompt(2));
    }
    let kept = std::fs::read_to_string(machine.state("runs/T-1/2/prompt.md")).expect("kept in the bundle");
    assert_eq!(kept, prompt(2));
}

/// The story: command lines of agent types met only the rules of `policy.yaml`, none of which is about shells,
/// so `agents.yaml` could start what no exec block may.
#[test]
fn command_lines_of_agents_are_judged_like_exec_blocks() {
    let env = TestEnv::new();
    let machine = env.local("m");
    script(&machine, "agent", "echo \"$#\" > arguments");
    let types = "format: 1\nagents:\n  shell: {argv: [sh, -c, ./agent]}\n  \
                 wrapped: {argv: [env, timeout, 5m, python3, -c, pass]}\n  stdin: {argv: [sh]}\n  \
                 wipe: {argv: [rm, -rf, ..]}\n  fill: {argv: [rm, -rf, \"../{prompt}\"], prompt: argument}\n  \
                 fine: {argv: [./agent, -p, \"{prompt}\"], prompt: argument}\n";
    std::fs::write(machine.state("agents.yaml"), types).expect("our file");
    for (kind, why) in [
        ("shell", "shell"),
        ("wrapped", "python3"),
        ("stdin", "standard input"),
        ("wipe", "rm"),
        ("fill", "rm"),
    ] {
        let id = format!("T-{kind}");
        let title = "Run sh -c 'rm -rf /' for me";
        machine.orch(["add", "--id", &id, "--title", title, "--agent", kind]).ok();
        let run = machine.try_json(["work", "--once"]);
        run.exits(1);
        let attempt = run.data()["attempts"][0].clone();
        assert_eq!(
            (&attempt["reason"], &attempt["outcome"]),
            (&json!("policy_blocked"), &json!("failed")),
            "{run}"
        );
        let notes = attempt["notes"].as_str().unwrap_or_default();
        assert!(notes.contains(why), "{kind}: {notes}");
    }
    assert!(!machine.dir().join("arguments").exists(), "a refused agent ran");
    // Words of a prompt are one argument, and no command.
    machine.orch(["add", "--id", "T-fine", "--title", "Run sh -c 'rm -rf /'", "--agent", "fine"]).ok();
    machine.orch(["work", "--once"]).exits(0);
    let count = std::fs::read_to_string(machine.dir().join("arguments")).expect("the agent ran");
    assert_eq!(count.trim(), "2");
}

#[test]
fn a_broken_agents_file_stops_workers_and_names_the_place() {
    let env = TestEnv::new();
    let machine = env.local("m");
    add(&machine, "T-1", &["true"]);
    std::fs::write(machine.state("agents.yaml"), "format: 1\nagents:\n  a: {agrv: [x]}\n").expect("our file");
    let run = machine.orch(["work", "--once"]);
    run.exits(78).says("agents.yaml:3:").says("argv");
    assert_eq!(machine.status("T-1"), "pending");
}

fn set(machine: &Machine, yaml: &str) {
    let path = machine.state("orch.yaml");
    std::fs::write(&path, yaml).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
}

const SHORT_LEASE: &str =
    "format: 1\nlease: {ttl: 3s, grace: 1s}\nretry: {backoff: [1ms]}\nsync: {timeout: 2s}\n";

#[test]
fn workers_of_two_machines_run_each_task_once() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    let log = env.path("log");
    for machine in [&a, &b] {
        script(machine, "note", &format!("echo $ORCH_TASK >> {}", log.display()));
    }
    let ids: Vec<String> = (0..6).map(|n| format!("T-{n}")).collect();
    for id in &ids {
        add(&a, id, &["./note"]);
    }
    let mut workers = [&a, &b].map(|machine| Running::start(&mut work(machine, &["work", "--until-idle"])));
    for worker in &mut workers {
        assert_eq!(exit_code(worker), 0);
    }
    let mut ran: Vec<String> =
        std::fs::read_to_string(&log).expect("they ran").lines().map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, ids);
    a.orch(["sync"]).ok();
    assert!(ids.iter().all(|id| a.status(id) == "done"));
}

#[test]
fn heartbeats_keep_a_task_longer_than_its_lease() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    for machine in [&a, &b] {
        set(machine, SHORT_LEASE);
    }
    add(&a, "T-1", &["sleep", "7"]);
    let mut worker = Running::start(&mut work(&a, &["work", "--once"]));
    until("b sees it in progress", || {
        b.orch(["sync"]).ok();
        (b.try_json(["show", "T-1"]).code == 0 && b.status("T-1") == "in_progress").then_some(())
    });
    while worker.ended().is_none() {
        let watched = b.json(["watchdog", "--once"]);
        assert_eq!(watched["recovered"], json!([]), "{watched}");
    }
    assert_eq!(exit_code(&mut worker), 0);
    b.orch(["sync"]).ok();
    let task = b.show("T-1");
    assert_eq!((&task["status"], &task["epoch"]), (&json!("done"), &json!(1)), "{task}");
}

#[test]
fn a_worker_that_loses_the_remote_kills_its_tree_before_the_lease_is_over() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    for machine in [&a, &b] {
        set(machine, SHORT_LEASE);
    }
    add_stubborn(&a, "T-1");
    let mut worker = Running::start(&mut work(&a, &["work", "--once"]));
    let pids = stubborn_runs(&a);
    remote.go_away();
    none_lives(pids);
    assert_eq!(exit_code(&mut worker), 1);
    remote.come_back();
    let recovered = until("b has waited for long enough", || {
        let watched = b.json(["watchdog", "--once"]);
        watched["recovered"].as_array().is_some_and(|list| !list.is_empty()).then_some(watched)
    });
    assert_eq!(recovered["recovered"][0]["to"], json!("pending"), "{recovered}");
    a.orch(["sync"]).ok();
    let dos: Vec<String> = a.show("T-1")["history"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|op| op["do"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(dos, ["add", "claim", "recover"], "a fenced worker writes nothing");
}

#[test]
fn a_workspace_that_is_named_is_where_commands_run() {
    let env = TestEnv::new();
    let machine = env.local("m");
    let elsewhere = env.path("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a new folder");
    add(&machine, "T-1", &["touch", "here"]);
    let named = elsewhere.to_string_lossy().into_owned();
    machine.orch(["work", "--once", "--workspace", &named]).ok();
    assert!(Path::new(&elsewhere).join("here").is_file());
}

#[test]
fn an_agent_may_end_its_task_itself() {
    let env = TestEnv::new();
    let machine = env.local("m");
    let orch = env!("CARGO_BIN_EXE_orch");
    script(&machine, "finish", &format!("{orch} done $ORCH_TASK --notes 'all of it'"));
    script(&machine, "give-up", &format!("{orch} block $ORCH_TASK --notes 'a person has to look'"));
    add(&machine, "T-1", &["./finish"]);
    add(&machine, "T-2", &["./give-up"]);
    for (id, status) in [("T-1", "done"), ("T-2", "blocked")] {
        let run = machine.try_json(["work", "--once"]);
        assert_eq!(run.data()["attempts"][0]["outcome"], json!(status), "{run}");
        assert_eq!(machine.status(id), status);
    }
    machine.verify();
}

/// With a slip in `--workspace` a worker claimed and failed every task that was ready, one after the other, and exited with 0.
#[test]
fn a_workspace_that_is_not_there_is_a_slip_and_nothing_is_claimed() {
    let env = TestEnv::new();
    let a = env.local("a");
    add(&a, "T-1", &["true"]);
    std::fs::write(a.dir().join("file"), "").expect("ours");
    for command in [&["work", "--once"][..], &["work", "--until-idle"], &["dispatch", "--once"], &["up"]] {
        for (dir, why) in [("typo", "No such file"), ("file", "not a folder")] {
            let ended = a.orch(command.iter().chain(&["--workspace", dir]));
            ended.exits(2).says(&format!("{}: ", a.dir().join(dir).display())).says(why);
        }
    }
    assert_eq!((a.status("T-1"), &a.show("T-1")["epoch"]), ("pending".to_owned(), &json!(0)));
    std::os::unix::fs::symlink(a.dir(), a.dir().join("link")).expect("ours");
    a.orch(["work", "--once", "--workspace", "link"]).ok();
}

/// While the queue was paused, `status` and `metrics` counted its tasks as ready although `list --ready` was empty, and a
/// worker that found nothing to do advised to give the task a command, which it had.
#[test]
fn while_the_queue_is_paused_nothing_is_ready_and_the_worker_says_why() {
    for (setting, why) in [
        ("queue.paused", "the queue is paused"),
        ("queue.stop_on_failure", "T-2 has failed and `queue.stop_on_failure`"),
    ] {
        let env = TestEnv::new();
        let a = env.local("a");
        a.add("T-2");
        a.orch(["claim", "T-2"]).ok();
        a.orch(["fail", "T-2", "--notes", "n", "--permanent"]).ok();
        add(&a, "T-1", &["true"]);
        assert_eq!(a.json(["status"])["ready"], 1);
        a.orch(["config", "set", setting, "true"]).ok();
        let status = a.json(["status"]);
        assert_eq!((&status["ready"], &status["oldest_ready"]), (&json!(0), &Value::Null));
        assert_eq!(a.json(["list", "--ready"]), json!([]));
        a.orch(["metrics"]).ok().prints("\norch_ready 0\n");
        for command in ["work", "dispatch"] {
            a.orch([command, "--once"]).exits(6).says(why).never_says("-- ARGV");
        }
        a.orch(["config", "set", setting, "false"]).ok();
        a.orch(["work", "--once"]).ok();
    }
}

/// The manifest left out the variable that marks the processes of an attempt, though every child gets it.
#[test]
fn the_manifest_names_every_variable_that_a_command_got() {
    let env = TestEnv::new();
    let a = env.local("a");
    add(&a, "T-1", &["env"]);
    a.orch(["work", "--once"]).ok();
    let kept = |name: &str| std::fs::read_to_string(a.state("runs/T-1/1").join(name)).expect("it was kept");
    let output = kept("00-env.stdout.log");
    let mut got: Vec<&str> = output.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    got.sort_unstable();
    let manifest: Value = serde_json::from_str(&kept("manifest.json")).expect("JSON");
    assert_eq!(manifest["env"]["passed"], json!(got));
    assert!(got.contains(&"ORCH_SUPERVISOR"));
}

/// A queue that asks for a sandbox where there is none: the commands must not run outside of one instead.
#[test]
fn where_a_sandbox_is_required_and_missing_nothing_is_run() {
    let env = TestEnv::new();
    let a = env.local("a");
    set(&a, "format: 1\nworker: {require_sandbox: true}\n");
    add(&a, "T-1", &["touch", "out"]);
    a.orch(["work", "--once"]).exits(1).prints("policy_blocked");
    assert!(!a.dir().join("out").exists(), "it was run without a sandbox");
    assert_eq!(a.status("T-1"), "failed");
}

/// Whoever owns a machine may forbid there what the shared policy allows, and not the other way round.
#[test]
fn the_policy_of_a_machine_binds_its_own_worker_and_no_other() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    let write = |name: &str, rules: &str| {
        std::fs::write(a.state(name), format!("format: 1\nrules:\n{rules}")).expect("ours");
    };
    let forbid = |word: &str| format!("  - {{prefix: [{word}], decision: forbid, reason: no}}\n");
    write("policy.yaml", &forbid("mkdir"));
    write(
        ".git/orch/policy.yaml",
        &format!("{}  - {{prefix: [mkdir], decision: allow, reason: mine}}\n", forbid("touch")),
    );
    for (machine, id, program, status) in
        [(&a, "T-1", "touch", "failed"), (&a, "T-2", "mkdir", "failed"), (&b, "T-3", "touch", "done")]
    {
        add(machine, id, &[program, "out"]);
        let run = machine.orch(["work", "--once"]);
        assert_eq!(machine.status(id), status, "{run}");
        assert_eq!(run.stdout.contains("policy_blocked"), status == "failed", "{run}");
        assert_eq!(machine.dir().join("out").exists(), status == "done", "{run}");
    }
}

/// A secret that a command needs is passed to it, and what the command prints of it is kept on every machine.
#[test]
fn the_value_of_a_secret_variable_is_in_no_log() {
    let env = TestEnv::new();
    let a = env.local("a").with("MY_SECRET", "plain-words-1234").with("MY_COLOUR", "plain-green-1234");
    set(&a, "format: 1\nworker: {pass_env: [\"MY_*\"]}\n");
    add(&a, "T-1", &["env"]);
    a.orch(["work", "--once"]).ok();
    let log = std::fs::read_to_string(a.state("runs/T-1/1/00-env.stdout.log")).expect("it was kept");
    assert!(log.contains("MY_SECRET=") && log.contains("MY_COLOUR=plain-green-1234"), "{log}");
    assert!(!log.contains("plain-words-1234"), "{log}");
}

#[test]
fn a_task_has_limits_of_its_own() {
    let env = TestEnv::new();
    let machine = env.local("m");
    // Without the limit that is meant, the other one would end the command, for another reason.
    let rows = [
        ("STALL", json!({"stall": "1s"}), json!({"argv": ["sleep", "1000"], "timeout": "30s"}), "stalled"),
        ("RUNTIME", json!({"runtime": "1s", "stall": "30s"}), json!({"argv": ["sleep", "1000"]}), "timeout"),
    ];
    for (id, limits, step, reason) in rows {
        let task = json!({"format": 1, "id": id, "title": id, "limits": limits, "run": {"exec": [step]}});
        std::fs::write(machine.dir().join("task.json"), task.to_string()).expect("a new file");
        machine.orch(["add", "--file", "task.json"]).ok();
        let run = machine.try_json(["work", "--once"]);
        run.exits(1);
        let attempt = run.data()["attempts"][0].clone();
        assert_eq!((&attempt["task"], &attempt["reason"]), (&json!(id), &json!(reason)), "{run}");
    }
}

/// Agents end with exit code 0 also when they have done nothing: what is expected of them decides.
#[test]
fn an_agent_without_the_effect_that_is_expected_has_not_succeeded() {
    let env = TestEnv::new();
    let machine = env.local("m");
    env.git(machine.dir(), &["init", "-q"]).ok();
    script(&machine, "silent", "cat > ignored");
    script(&machine, "talker", "cat > ignored\necho I have committed it");
    script(&machine, "worker", "cat > ignored\nexec git commit -q --allow-empty -m done");
    let types = "format: 1\nagents:\n  silent: {argv: [./silent], expect: output}\n  \
                 talker: {argv: [./talker], expect: commit}\n  worker: {argv: [./worker], expect: commit}\n";
    std::fs::write(machine.state("agents.yaml"), types).expect("our file");
    for (kind, code, status, notes) in [
        ("silent", 1, "failed", "wrote nothing to its standard output"),
        ("talker", 1, "failed", "the workspace has no new commit"),
        ("worker", 0, "done", ""),
    ] {
        machine.orch(["add", "--id", kind, "--title", "t", "--agent", kind, "--max-attempts", "1"]).ok();
        let run = machine.try_json(["work", "--once"]);
        run.exits(code);
        let attempt = run.data()["attempts"][0].clone();
        assert_eq!(attempt["task"], json!(kind), "{run}");
        assert!(attempt["notes"].as_str().is_some_and(|text| text.contains(notes)), "{run}");
        assert_eq!(machine.status(kind), status, "{run}");
    }
}
