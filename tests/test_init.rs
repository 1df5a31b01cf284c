//! `orch init`: a queue of its own, and what it leaves alone.

use crate::rig::{Kind, Remote, Route, TestEnv};
use crate::snapshot;

#[test]
fn a_new_queue_has_its_files_and_says_where_it_is() {
    let env = TestEnv::new();
    let machine = env.machine("a");
    let run = machine.orch(["init"]);
    run.ok();
    snapshot!(env, run);
    for file in
        ["orch.yaml", "agents.yaml", "workflow.yaml", "policy.yaml", ".gitattributes", ".git/orch/machine"]
    {
        assert!(machine.state(file).is_file(), "{file} is missing");
    }
    let attributes = std::fs::read_to_string(machine.state(".gitattributes")).expect("it is there");
    assert_eq!(attributes, "* -merge -text\n");
}

#[test]
fn initialising_again_changes_nothing() {
    let env = TestEnv::new();
    let machine = env.machine("a");
    assert_eq!(machine.json(["init"])["created"], true);
    let id = || std::fs::read(machine.state(".git/orch/machine")).expect("it is there");
    let before = id();
    machine.add("T-1");
    let settings = std::fs::read(machine.state("orch.yaml")).expect("it is there");
    let again = machine.json(["init"]);
    assert_eq!((&again["created"], id()), (&false.into(), before));
    assert_eq!(std::fs::read(machine.state("orch.yaml")).expect("it is there"), settings);
    assert_eq!(machine.status("T-1"), "pending");
}

#[test]
fn git_reads_the_state_repository_and_refuses_to_change_it() {
    let env = TestEnv::new();
    let machine = env.local("a");
    machine.add("T-1");
    machine.git(&["log", "--oneline"]).ok().prints("T-1");
    let files = machine.task_files();
    for args in
        [&["add", "."][..], &["commit", "-am", "x"], &["stash", "-u"], &["clean", "-fdx"], &["checkout", "."]]
    {
        let run = machine.git(args);
        assert_ne!(run.code, 0, "{run}");
    }
    assert_eq!(machine.task_files(), files);
    machine.verify();
}

/// The user's code, its index, branch, refs and hooks are never touched.
#[test]
fn a_code_repository_lends_its_origin_and_stays_as_it_was() {
    let env = TestEnv::new();
    let remote = env.remote();
    let machine = env.machine("code");
    let code = machine.dir();
    let git = |args: &[&str]| env.git(code, args).ok().stdout.clone();
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "code"]);
    git(&["remote", "add", "origin", remote.url()]);
    std::fs::write(code.join("main.c"), "int main;\n").expect("a new file");
    git(&["add", "main.c"]);
    let seen = || {
        (
            git(&["status", "--porcelain"]),
            git(&["for-each-ref"]),
            git(&["ls-files", "--stage"]),
            git(&["config", "--list", "--local"]),
        )
    };
    let before = seen();
    let told = machine.json(["init"]);
    assert_eq!(told["remote"], remote.url());
    machine.add("T-1");
    machine.orch(["sync"]).ok();
    assert_eq!(seen(), before);
    let exclude = std::fs::read_to_string(code.join(".git/info/exclude")).expect("it is there");
    assert!(exclude.lines().any(|line| line == "/state/"), "{exclude}");
    // A folder further down finds the queue too.
    std::fs::create_dir(code.join("deep")).expect("a new folder");
    let mut deep = machine.command(["show", "T-1"]);
    crate::rig::Run::of(deep.current_dir(code.join("deep"))).ok();
}

#[test]
fn a_missing_remote_is_bad_configuration_and_an_unreachable_one_may_come_back() {
    let env = TestEnv::new();
    let gone = env.path("remotes/nowhere.git").display().to_string();
    let missing = env.machine("a").try_json(["init", "--remote", &gone]);
    assert_eq!(missing.exits(78).error()["retryable"], false);

    let remote = Remote::proxied(&env);
    remote.proxy().set(Route::Drop);
    let unreachable = env.machine("b").try_json(["init", "--remote", remote.url()]);
    assert_eq!(unreachable.exits(75).error()["retryable"], true);
    remote.proxy().set(Route::Pass);
    // The same folder works once the remote is back.
    let b = env.path("b");
    let again = crate::rig::Run::of(env.command(env!("CARGO_BIN_EXE_orch")).current_dir(b).args([
        "init",
        "--remote",
        remote.url(),
    ]));
    again.ok();
}

#[test]
fn wrong_credentials_are_told_apart_from_a_missing_repository() {
    let env = TestEnv::new();
    let remote = env.try_remote(Kind::HttpAuth).expect("HTTP needs nothing");
    std::fs::write(env.path("home/.gitconfig"), "").expect("ours");
    let refused = env.machine("a").try_json(["init", "--remote", remote.url()]);
    let error = refused.exits(75).error();
    assert!(
        error["code"].as_str().is_some_and(|code| code.contains("auth") || code.contains("cred")),
        "{error:#}"
    );
}

#[test]
fn a_host_that_refuses_custom_refs_gets_branches_for_leases() {
    let env = TestEnv::new();
    let remote = env.remote();
    remote.hook("update", "case $1 in refs/heads/*) exit 0;; esac; echo only branches here >&2; exit 1");
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    assert_eq!(remote.lease_refs(), ["refs/heads/orch-leases/T-1"]);
    let b = env.joined("b", &remote);
    b.orch(["claim", "T-1"]).exits(4);
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    b.orch(["sync"]).ok();
    assert_eq!(b.status("T-1"), "done");
}

#[test]
fn a_host_that_refuses_everything_is_shown_with_its_remedy() {
    let env = TestEnv::new();
    let remote = env.remote();
    remote.hook("pre-receive", "echo the ruleset says no >&2; exit 1");
    let refused = env.machine("a").try_json(["init", "--remote", remote.url()]);
    let error = refused.exits(5).error();
    assert!(error["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{error:#}");
}

#[test]
fn a_second_machine_takes_over_what_is_there() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["sync"]).ok();
    let b = env.joined("b", &remote);
    assert_eq!(b.task_files(), a.task_files());
    let id =
        |m: &crate::rig::Machine| std::fs::read_to_string(m.state(".git/orch/machine")).expect("it is there");
    assert_ne!(id(&a), id(&b), "a machine is a state directory");
}

/// A remote that could not be reached left a directory that was no queue, that nobody called unfinished, and of which
/// the next `init` said that it had been there already.
#[test]
fn an_init_that_could_not_reach_its_remote_is_finished_by_the_next_one() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.machine("a");
    let code = a.dir().display().to_string();
    env.git(std::path::Path::new(&code), &["init", "-q"]).ok();
    env.git(std::path::Path::new(&code), &["remote", "add", "origin", remote.url()]).ok();
    remote.hook("pre-receive", "echo not yet >&2; exit 1");
    a.orch(["init"]).exits(5).says("not yet").says("`orch init` goes on where it stopped");
    a.orch(["list"]).exits(3).says("orch init");
    std::fs::remove_file(remote.path().join("hooks/pre-receive")).expect("our hook");
    remote.go_away();
    let error = a.try_json(["init", "--remote", "git://127.0.0.1:1/none.git"]).exits(75).error();
    assert!(
        error["hint"].as_str().is_some_and(|hint| hint.contains("goes on where it stopped")),
        "{error:#}"
    );
    remote.come_back();
    let made = a.json(["init", "--remote", remote.url()]);
    assert_eq!(made["created"], true, "{made:#}");
    a.add("T-1");
    assert_eq!(a.json(["init"])["created"], false);
    let b = env.joined("b", &remote);
    assert_eq!(b.status("T-1"), "pending");
    a.verify();
}

/// Killed between its first and its second file, it forgot that the code repository around it has a remote, and the
/// next `init` made a queue of one machine.
#[test]
fn an_init_that_was_cut_short_still_takes_the_remote_of_the_code() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.machine("a");
    env.git(a.dir(), &["init", "-q"]).ok();
    env.git(a.dir(), &["remote", "add", "origin", remote.url()]).ok();
    std::fs::create_dir_all(a.state(".git/orch")).expect("our folder");
    std::fs::write(a.state(".git/orch/machine"), "m-0123456789\n").expect("our folder");
    let made = a.json(["init"]);
    assert_eq!((&made["created"], &made["remote"]), (&true.into(), &remote.url().into()), "{made:#}");
}

/// `init --branch other` wrote the new name down: a queue of one machine changed its branch without a word, and a shared
/// one said from then on that the branch had vanished, with an advice that split the queue.
#[test]
fn a_queue_stays_on_its_branch() {
    let env = TestEnv::new();
    let remote = env.remote();
    for machine in [env.local("alone"), env.joined("shared", &remote)] {
        machine.add("T-1");
        let config = || std::fs::read_to_string(machine.state(".git/orch/config.yaml")).unwrap_or_default();
        let refs = || machine.git(&["for-each-ref"]).ok().stdout.clone();
        let before = (config(), refs());
        for call in [&["init", "--branch", "other"][..], &["config", "set", "branch", "other"]] {
            let refused = machine.try_json(call.iter().copied());
            let refused = refused.exits(4).error();
            assert_eq!(refused["code"], "other_branch", "{refused:#}");
            assert!(refused["message"].to_string().contains("on the branch orch-state"), "{refused:#}");
            assert!(refused["hint"].to_string().contains("--state DIR"), "{refused:#}");
        }
        assert_eq!((config(), refs()), before);
        assert_eq!(machine.json(["init", "--branch", "orch-state"])["created"], false);
        machine.orch(["claim", "T-1"]).ok();
    }
    // Nothing has gone anywhere yet, so this one may still choose.
    let new = env.machine("new");
    new.orch(["--no-sync", "init", "--remote", remote.url()]).ok();
    new.orch(["init", "--branch", "other"]).ok();
    new.add("T-2");
    assert!(remote.refs().iter().any(|(name, _)| name == "refs/heads/other"));
    // A name that somebody wrote into the file by hand is undone.
    let config = new.state(".git/orch/config.yaml");
    let text = std::fs::read_to_string(&config).expect("it is there");
    std::fs::write(&config, text.replace("branch: other", "branch: elsewhere")).expect("ours");
    new.orch(["sync"]).exits(8);
    new.orch(["init", "--branch", "other"]).ok();
    new.orch(["sync"]).ok();
}

/// A name that no branch can have was found wrong only after a part of the state directory had been made, in a file that
/// the user had never seen.
#[test]
fn a_name_that_cannot_be_is_refused_before_anything_is_made() {
    let env = TestEnv::new();
    let a = env.machine("a");
    for call in [
        &["init", "--branch", "bad name"][..],
        &["init", "--branch", ""],
        &["init", "--branch", "orch-leases/x"],
        &["init", "--branch=-x"],
        &["init", "--remote=-x"],
        &["init", "--remote", ""],
    ] {
        let run = a.try_json(call.iter().copied());
        let refused = run.exits(2).error();
        let message = refused["message"].to_string();
        assert!(message.contains(call[1].split('=').next().expect("an option")), "{refused:#}");
        assert!(!message.contains("config.yaml"), "{refused:#}");
        assert!(!a.state("").exists(), "{call:?}");
    }
    // Nor by a variable of the environment.
    a.with("ORCH_BRANCH", "bad name").orch(["init"]).exits(78).says("ORCH_BRANCH");
    assert!(!a.state("").exists());
}

/// Called in a folder further down, `init` made a second clone of the queue there, and nobody was told that commands from
/// that folder were another machine from then on.
#[test]
fn a_second_queue_below_another_is_told() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    let deep = a.dir().join("deep");
    std::fs::create_dir(&deep).expect("a new folder");
    let init = || {
        let mut command = a.command(["init", "--remote", remote.url()]);
        crate::rig::Run::of(command.current_dir(&deep))
    };
    let (outer, inner) = (a.state("").display().to_string(), deep.join("state").display().to_string());
    let run = init();
    run.ok().says(outer.trim_end_matches('/')).says(&inner).says("is a queue already").says("--state");
    init().ok().never_says("is a queue already");
    // Who names a place has thought of it; and the first one is told nothing.
    let named = env.path("named/state").display().to_string();
    a.orch(["init", "--state", &named]).ok().never_says("is a queue already");
    a.orch(["init"]).ok().never_says("is a queue already");
}
