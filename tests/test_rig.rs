//! The rig itself: each remote serves, each fault happens, nothing is inherited.

use crate::rig::{Fault, Kind, Remote, Route, Run, TestEnv, gits, race};

/// A clone with one commit, and that commit pushed.
fn push(env: &TestEnv, url: &str, name: &str) -> Run {
    let dir = env.path(name);
    if !dir.exists() {
        std::fs::create_dir(&dir).expect("a new folder");
        env.git(&dir, &["init", "--quiet"]).ok();
    }
    env.git(&dir, &["commit", "--quiet", "--allow-empty", "-m", name]).ok();
    env.git(&dir, &["push", url, "HEAD:refs/heads/main"])
}

fn tip(remote: &Remote) -> Option<String> {
    remote.refs().into_iter().next().map(|(_, oid)| oid)
}

#[test]
fn every_kind_of_remote_takes_a_push_and_gives_it_back() {
    for kind in Kind::ALL {
        let env = TestEnv::new();
        let Some(remote) = env.try_remote(kind) else { continue };
        push(&env, remote.url(), "work").ok();
        env.git(&env.path(""), &["clone", "--quiet", remote.url(), "copy"]).ok();
        let head = env.git(&env.path("copy"), &["rev-parse", "HEAD"]);
        assert_eq!(Some(head.stdout.trim().to_owned()), tip(&remote), "{kind:?}");
    }
}

#[test]
fn a_remote_that_asks_for_credentials_refuses_without_them() {
    let env = TestEnv::new();
    let remote = env.try_remote(Kind::HttpAuth).expect("HTTP needs nothing");
    std::fs::write(env.path("home/.gitconfig"), "[user]\n\tname = T\n\temail = t@example.invalid\n")
        .expect("ours");
    let refused = push(&env, remote.url(), "work");
    assert_ne!(refused.code, 0, "{refused}");
    assert_eq!(tip(&remote), None);
}

#[test]
fn a_lost_answer_leaves_the_push_done_and_a_lost_request_does_not() {
    let env = TestEnv::new();
    let remote = env.try_remote(Kind::Http).expect("HTTP needs nothing");
    for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
        let (before, faults) = (tip(&remote), remote.faults());
        remote.next_request(fault.clone());
        let run = push(&env, remote.url(), "work");
        assert_eq!(remote.faults(), faults + 1);
        assert_eq!(tip(&remote) != before, fault == Fault::LoseAnswer, "{fault:?} {run}");
    }
}

#[test]
fn the_proxy_cuts_the_answer_of_a_push_that_was_done() {
    let env = TestEnv::new();
    let remote = Remote::proxied(&env);
    push(&env, remote.url(), "work").ok();
    let before = tip(&remote);
    remote.proxy().set(Route::CutAnswerAt(b"unpack ok".to_vec()));
    assert_ne!(push(&env, remote.url(), "work").code, 0);
    assert_eq!(remote.proxy().cuts(), 1);
    assert_ne!(tip(&remote), before);
    remote.proxy().set(Route::Drop);
    assert_ne!(push(&env, remote.url(), "work").code, 0);
    remote.proxy().set(Route::Pass);
    push(&env, remote.url(), "work").ok();
}

#[test]
fn nothing_is_inherited_from_the_one_who_runs_the_tests() {
    let env = TestEnv::new();
    let run = Run::of(&mut env.command("/usr/bin/env"));
    let names: Vec<_> = run.ok().stdout.lines().filter_map(|line| line.split('=').next()).collect();
    let expected = [
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_TERMINAL_PROMPT",
        "HOME",
        "LC_ALL",
        "NO_COLOR",
        "PATH",
        "TMPDIR",
        "TZ",
        "USER",
    ];
    let mut names: Vec<_> = names;
    names.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn each_git_is_used_where_it_is_asked_for() {
    for git in gits() {
        let env = TestEnv::with_git(&git);
        let told = |program: &std::path::Path| Run::of(env.command(program).arg("--version")).stdout;
        assert_eq!(told(&env.path("bin/git")), told(&git));
    }
}

#[test]
fn racers_start_together_and_keep_their_order() {
    let env = TestEnv::new();
    let commands = (0..8).map(|n| {
        let mut command = env.command("/bin/echo");
        command.arg(n.to_string());
        command
    });
    let told: Vec<_> = race(commands.collect()).into_iter().map(|run| run.stdout.trim().to_owned()).collect();
    assert_eq!(told, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}
