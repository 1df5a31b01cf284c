//! Against real repositories: a bare path, `git daemon`, and an `ssh` that never answers.

#[path = "folder_tests.rs"]
mod folder_tests;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};

use super::*;
use crate::world::git_command::run::tests::Alive;
use crate::world::program::install;

const LIMIT: Duration = Duration::from_secs(60);
const LEASE: &str = "refs/orch/leases/T-1";

/// A hub and two machines' repositories, in one directory.
struct Net {
    dir: tempfile::TempDir,
}

fn sh(command: &mut Command) -> String {
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.envs([("GIT_AUTHOR_NAME", "t"), ("GIT_AUTHOR_EMAIL", "t@t")]);
    command.envs([("GIT_COMMITTER_NAME", "t"), ("GIT_COMMITTER_EMAIL", "t@t")]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Net {
    fn new() -> Self {
        let net = Net { dir: tempfile::tempdir().unwrap() };
        for name in ["hub", "a", "b"] {
            sh(Command::new("git").args(["init", "-q", "--bare"]).arg(net.path(name)));
        }
        net
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hub(&self) -> String {
        self.path("hub").to_str().unwrap().to_owned()
    }

    fn git(&self, name: &str, args: &[&str]) -> String {
        sh(Command::new("git").arg("--git-dir").arg(self.path(name)).args(args))
    }

    /// A commit without parent whose message makes it unique.
    fn commit(&self, name: &str, message: &str) -> Oid {
        let tree = self.git(name, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
        Oid::parse(&self.git(name, &["commit-tree", "-m", message, &tree])).unwrap()
    }

    /// The hub as a folder that is spoken to.
    fn remote(&self, name: &str) -> GitRemote {
        GitRemote::new(&self.path(name), &self.hub(), None).with_repository(crate::sync::git::TRANSFER)
    }

    /// The hub by git's client.
    fn by_client(&self, name: &str) -> GitRemote {
        GitRemote::new(&self.path(name), &self.hub(), None)
    }

    fn at_hub(&self, name: &str) -> Option<Oid> {
        let found = self.remote("a").refs(&[name], LIMIT).unwrap();
        found.into_iter().find(|(found, _)| found == name).map(|(_, oid)| oid)
    }
}

/// The executables of every git of this machine that is new enough.
fn executables() -> impl Iterator<Item = &'static str> {
    ["git", "/usr/bin/git"].into_iter().filter(|git| Git::new(git).version(LIMIT).is_ok())
}

/// Every git of this machine that is new enough.
fn gits() -> Vec<Git> {
    let gits: Vec<Git> = executables().map(Git::new).collect();
    assert!(!gits.is_empty());
    gits
}

/// Makes a program of a script.
fn program(path: &Path, script: &str) {
    install(path, script).unwrap();
}

/// How a machine reaches the hub.
type Way = fn(&Net, &str) -> GitRemote;

/// Every git of this machine, with and without its client.
fn ways() -> Vec<(Git, Way)> {
    let ways = [Net::remote as Way, Net::by_client as Way];
    gits().into_iter().flat_map(|git| ways.map(|way| (git.clone(), way))).collect()
}

fn update(name: &str, expected: Option<Oid>, new: Option<Oid>) -> RefUpdate {
    RefUpdate { name: name.to_owned(), expected, new }
}

fn wanted(name: &str, oid: Oid, local: &str) -> Wanted {
    Wanted { name: name.to_owned(), oid, local: local.to_owned() }
}

fn push_one(remote: &GitRemote, expected: Option<Oid>, new: Option<Oid>) -> PushOutcome {
    remote.push(&[update(LEASE, expected, new)], LIMIT).remove(0)
}

fn is_refused(outcome: &PushOutcome) -> bool {
    matches!(outcome, PushOutcome::Refused(_))
}

/// Under load the steps of a claim used up its time, and the next one was started all the same, with none: it was killed
/// at once, and the error said "no answer within 0 s".
#[test]
fn a_step_without_time_is_not_started_and_says_what_took_it() {
    let net = Net::new();
    let remote = net.remote("a").with_git(Git::new("/no/git/is/started"));
    let error = remote.refs(&[LEASE], Duration::ZERO).unwrap_err();
    assert_eq!(error.kind, RemoteFailure::Timeout, "{error}");
    assert!(error.message.contains("`git ls-remote` was not started"), "{error}");
    assert!(error.message.contains("other processes of this machine"), "{error}");
    let remote = net.remote("a");
    remote.refs(&[LEASE], LIMIT).unwrap();
    let error = remote.fetch(&[wanted(LEASE, Oid([0; 20]), LEASE)], Duration::ZERO).unwrap_err();
    assert!(error.message.contains("the longest step before it was `git ls-remote`"), "{error}");
    let new = net.commit("a", "one");
    let outcomes = remote.push(&[update(LEASE, None, Some(new))], Duration::ZERO);
    assert!(
        matches!(&outcomes[..], [PushOutcome::Refused(why)] if why.contains("not sent: `git push`")),
        "{outcomes:?}"
    );
    // It was told as a refusal by the host, with the advice to look for a hook there, and an act was not kept.
    let [PushOutcome::Refused(why)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(failure::passing(why), Some(RemoteFailure::Timeout));
}

#[test]
fn a_push_is_a_compare_and_swap() {
    for (git, way) in ways() {
        let net = Net::new();
        let (a, b) = (way(&net, "a").with_git(git.clone()), way(&net, "b").with_git(git));
        let (one, two) = (net.commit("a", "one"), net.commit("b", "two"));
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted, "creation");
        assert!(is_refused(&push_one(&b, None, Some(two))), "created twice");
        assert!(is_refused(&push_one(&b, Some(two), Some(two))), "stale lease");
        assert!(matches!(push_one(&a, Some(one), Some(one)), PushOutcome::Unknown(_)), "up to date");
        assert!(
            matches!(push_one(&a, None, Some(one)), PushOutcome::Unknown(_) | PushOutcome::Refused(_)),
            "our own again"
        );
        assert!(is_refused(&push_one(&b, Some(two), None)), "deletion of another value");
        assert_eq!(net.at_hub(LEASE), Some(one));
        assert_eq!(push_one(&b, Some(one), Some(two)), PushOutcome::Accepted, "unrelated history");
        assert_eq!(push_one(&a, Some(two), None), PushOutcome::Accepted, "deletion");
        assert_ne!(push_one(&a, Some(two), None), PushOutcome::Accepted, "deletion of what is gone");
        assert_eq!(net.at_hub(LEASE), None);
    }
}

/// Both make the same commit: the one that comes second must not believe that it won.
#[test]
fn an_identical_object_is_never_accepted_twice() {
    let net = Net::new();
    let env = ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"].map(|name| (name, "1700000000 +0000"));
    let same = |name: &str| {
        let tree = net.git(name, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(net.path(name)).args(["commit-tree", "-m", "same", &tree]).envs(env);
        Oid::parse(&sh(&mut command)).unwrap()
    };
    let (one, two) = (same("a"), same("b"));
    assert_eq!(one, two);
    assert_eq!(push_one(&net.remote("a"), None, Some(one)), PushOutcome::Accepted);
    assert_ne!(push_one(&net.remote("b"), None, Some(two)), PushOutcome::Accepted);
}

#[test]
fn each_ref_of_a_push_has_its_own_fate() {
    for (git, way) in ways() {
        let net = Net::new();
        let a = way(&net, "a").with_git(git);
        let one = net.commit("a", "one");
        let stranger = Oid([3; 20]);
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        let outcomes = a.push(
            &[
                update("refs/orch/leases/T-2", None, Some(one)),
                update(LEASE, Some(stranger), None),
                update("refs/orch/leases/T-2", None, None),
                update("refs/orch/leases/T-3", Some(stranger), Some(one)),
                update("refs/heads/x:y", None, Some(one)),
                update("refs/heads/orch-state", None, Some(one)),
            ],
            LIMIT,
        );
        assert_eq!(outcomes.len(), 6);
        assert_eq!((&outcomes[0], &outcomes[5]), (&PushOutcome::Accepted, &PushOutcome::Accepted));
        assert!(outcomes[1..5].iter().all(is_refused), "{outcomes:?}");
        assert_eq!((net.at_hub(LEASE), net.at_hub("refs/orch/leases/T-3")), (Some(one), None));
    }
}

#[test]
fn an_atomic_push_is_all_or_none() {
    for (git, way) in ways() {
        let net = Net::new();
        let a = way(&net, "a").with_git(git);
        let one = net.commit("a", "one");
        let good = update("refs/heads/work", None, Some(one));
        let stale = update(LEASE, Some(Oid([3; 20])), Some(one));
        let outcomes = a.push_atomic(&[good.clone(), stale], LIMIT);
        assert!(outcomes.iter().all(|outcome| *outcome != PushOutcome::Accepted), "{outcomes:?}");
        assert_eq!(net.at_hub("refs/heads/work"), None);
        let outcomes = a.push_atomic(&[good.clone(), update(LEASE, None, Some(one))], LIMIT);
        assert_eq!(outcomes, [PushOutcome::Accepted, PushOutcome::Accepted]);
        assert!(a.push_atomic(&[good.clone(), good], LIMIT).iter().all(is_refused));
    }
}

#[test]
fn a_hook_s_refusal_is_one_and_its_words_are_shown() {
    for (git, way) in ways() {
        let net = Net::new();
        let hook = net.path("hub").join("hooks/update");
        program(&hook, "#!/bin/sh\necho rule 7 >&2\nexit 1\n");
        let outcome = push_one(&way(&net, "a").with_git(git), None, Some(net.commit("a", "one")));
        let PushOutcome::Refused(why) = outcome else { panic!("{outcome:?}") };
        assert!(why.starts_with("[remote rejected] (hook declined)\nremote: rule 7\n"), "{why}");
    }
}

/// `receive-pack` deletes whatever a ref holds if it does not have the object that was expected there.
#[test]
fn a_deletion_of_what_the_remote_does_not_know_is_refused() {
    for (git, way) in ways() {
        let net = Net::new();
        let a = way(&net, "a").with_git(git);
        let one = net.commit("a", "one");
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        assert!(is_refused(&push_one(&a, Some(Oid([7; 20])), None)));
        assert_eq!(net.at_hub(LEASE), Some(one));
    }
}

#[test]
fn refs_are_those_below_the_prefixes() {
    for (git, way) in ways() {
        let net = Net::new();
        let a = way(&net, "a").with_git(git);
        let one = net.commit("a", "one");
        let names = [
            "refs/heads/orch-state",
            "refs/heads/main",
            "refs/orch/leases/A",
            "refs/orch/leases/B",
            "refs/heads/refs/orch/leases/x",
        ];
        let updates: Vec<_> = names.iter().map(|name| update(name, None, Some(one))).collect();
        assert!(a.push(&updates, LIMIT).iter().all(|outcome| *outcome == PushOutcome::Accepted));
        let list = |prefixes: &[&str]| -> Vec<String> {
            a.refs(prefixes, LIMIT).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(list(&["refs/orch/leases/"]), ["refs/orch/leases/A", "refs/orch/leases/B"]);
        assert_eq!(list(&["refs/orch/leases/", "refs/heads/orch-state"]), [names[0], names[2], names[3]]);
        assert_eq!(list(&["refs/heads/orch-state"]), ["refs/heads/orch-state"]);
        assert_eq!(list(&["refs/none/"]), Vec::<String>::new());
        assert_eq!(list(&[]), Vec::<String>::new());
    }
}

#[test]
fn a_fetch_brings_objects_and_sets_local_refs() {
    for (git, way) in ways() {
        let net = Net::new();
        let (a, b) = (net.remote("a"), way(&net, "b").with_git(git));
        let (one, two) = (net.commit("a", "one"), net.commit("a", "two"));
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        let wanted = |oid| wanted(LEASE, oid, "refs/orch/remote/T-1");
        b.fetch(&[wanted(one)], LIMIT).unwrap();
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/remote/T-1"]), one.to_string());
        assert_eq!(push_one(&a, Some(one), Some(two)), PushOutcome::Accepted);
        b.fetch(&[wanted(two)], LIMIT).unwrap();
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/remote/T-1"]), two.to_string());
        assert!(!net.path("b").join("FETCH_HEAD").exists());
        let nowhere = net.commit("a", "nowhere");
        let gone = [wanted(two), self::wanted("refs/orch/leases/none", nowhere, "refs/orch/remote/none")];
        assert_eq!(b.fetch(&gone, LIMIT).unwrap_err().kind, RemoteFailure::MissingObject);
        assert!(b.fetch(&[self::wanted("x:y", two, "refs/z")], LIMIT).is_err());
        b.fetch(&[], LIMIT).unwrap();
    }
}

/// The story: each fetch named refs, and on a slow link one of them had always gone by the time it asked. A machine
/// beside seven busy ones listed and fetched twenty times in eight seconds and had nothing of it (soak).
#[test]
fn a_fetch_brings_what_was_listed_although_the_refs_have_moved_on() {
    for (git, way) in ways() {
        let net = Net::new();
        let (a, b) = (net.remote("a"), way(&net, "b").with_git(git));
        let (one, two) = (net.commit("a", "one"), net.commit("a", "two"));
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        assert_eq!(push_one(&a, Some(one), Some(two)), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, one, "refs/orch/x")], LIMIT).unwrap();
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/x"]), one.to_string());
        assert_eq!(push_one(&a, Some(two), None), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, two, "refs/orch/x")], LIMIT).unwrap();
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/x"]), two.to_string());
    }
}

/// A host of protocol 0 hands out only what its refs hold: there it is the name that is asked for.
#[test]
fn a_host_that_hands_out_only_its_refs_is_asked_by_name() {
    for git in executables() {
        let net = Net::new();
        let old = net.path("old-git");
        let script = format!(
            "#!/bin/sh\nfor a; do shift; [ \"$a\" = protocol.version=2 ] && a=protocol.version=0; \
             set -- \"$@\" \"$a\"; done\nexec {git} \"$@\"\n"
        );
        program(&old, &script);
        let (a, b) = (net.remote("a"), net.by_client("b").with_git(Git::new(&old)));
        let (one, two) = (net.commit("a", "one"), net.commit("a", "two"));
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        assert_eq!(push_one(&a, Some(one), Some(two)), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, one, "refs/orch/x")], LIMIT).unwrap();
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/x"]), two.to_string(), "what it holds now");
        assert_eq!(push_one(&a, Some(two), None), PushOutcome::Accepted);
        let gone = b.fetch(&[wanted(LEASE, one, "refs/orch/z")], LIMIT).unwrap_err();
        assert_eq!(gone.kind, RemoteFailure::MissingObject, "{gone}");
    }
}

#[test]
fn a_missing_remote_is_named_and_its_pushes_are_unknown() {
    let net = Net::new();
    let nowhere = GitRemote::new(&net.path("a"), "/nonexistent/hub.git", None);
    let error = nowhere.refs(&["refs/"], LIMIT).unwrap_err();
    assert_eq!(error.kind, RemoteFailure::NotFound);
    assert!(error.message.contains("/nonexistent/hub.git"), "{error}");
    let outcome = push_one(&nowhere, None, Some(net.commit("a", "one")));
    assert!(matches!(outcome, PushOutcome::Unknown(text) if text.contains("/nonexistent/hub.git")));
}

#[test]
fn without_git_nothing_is_sent() {
    let net = Net::new();
    let remote = net.remote("a").with_git(Git::new("/nonexistent/git"));
    assert_eq!(remote.refs(&["refs/"], LIMIT).unwrap_err().kind, RemoteFailure::Tool);
    assert!(is_refused(&push_one(&remote, None, Some(Oid([1; 20])))));
    assert!(is_refused(&push_one(&net.remote("a"), None, None)));
    let none = net.remote("a").push(&[update(LEASE, None, Some(Oid([1; 20])))], Duration::ZERO);
    assert!(is_refused(&none[0]));
}

#[test]
fn an_object_that_is_not_here_is_never_accepted() {
    let net = Net::new();
    assert_ne!(push_one(&net.remote("a"), None, Some(Oid([1; 20]))), PushOutcome::Accepted);
    assert_eq!(net.at_hub(LEASE), None);
}

/// Eight pushers of different objects, one ref, no protection but the remote's: one wins.
#[test]
fn one_winner_of_a_race() {
    let net = Net::new();
    let values: Vec<_> = (0..8).map(|n| net.commit("a", &n.to_string())).collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = values
            .iter()
            .map(|value| scope.spawn(|| push_one(&net.remote("a"), None, Some(*value))))
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let winners: Vec<_> =
        values.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == PushOutcome::Accepted).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(net.at_hub(LEASE), Some(*winners[0].0));
}

/// More refs than one command line holds, with the longest names that tasks may have.
#[test]
fn very_many_refs_go_in_several_commands() {
    let net = Net::new();
    let a = net.remote("a");
    let one = net.commit("a", "one");
    let name = |n: usize| format!("refs/orch/leases/{n:064}");
    let updates: Vec<_> = (0..900).map(|n| update(&name(n), None, Some(one))).collect();
    assert!(chunks(&updates, size_of_update).count() > 1);
    assert!(a.push(&updates, LIMIT).iter().all(|outcome| *outcome == PushOutcome::Accepted));
    assert!(a.push_atomic(&updates, LIMIT).iter().all(is_refused));
    let listed = a.refs(&["refs/orch/leases/"], LIMIT).unwrap();
    assert_eq!(listed.len(), 900);
    let wanted: Vec<_> =
        (0..900).map(|n| wanted(&name(n), one, &format!("refs/orch/remote/{n:064}"))).collect();
    net.remote("b").fetch(&wanted, LIMIT).unwrap();
    assert_eq!(net.git("b", &["for-each-ref", "--count=1000"]).lines().count(), 900);
}

#[test]
fn chunks_lose_and_repeat_nothing() {
    let items: Vec<usize> = (0..50).map(|n| n * 1000).chain([10 * MOST_ARGUMENTS, 1]).collect();
    let together: Vec<_> = chunks(&items, |size| *size).flatten().copied().collect();
    assert_eq!(together, items);
    assert!(
        chunks(&items, |size| *size)
            .all(|chunk| chunk.len() == 1 || chunk.iter().sum::<usize>() <= MOST_ARGUMENTS)
    );
    assert_eq!(chunks(&items[..0], |size| *size).count(), 0);
}

/// A configuration that would spoil every push and fetch, and an environment as inside a hook.
#[test]
fn the_user_s_configuration_and_hooks_do_not_matter() {
    let net = Net::new();
    for (key, value) in [
        ("push.gpgSign", "true"),
        ("push.followTags", "true"),
        ("push.pushOption", "ci.skip"),
        ("push.default", "nothing"),
        ("fetch.prune", "true"),
        ("submodule.recurse", "true"),
        ("core.hooksPath", "/"),
        ("color.ui", "always"),
        ("push.useForceIfIncludes", "true"),
        ("fetch.output", "compact"),
    ] {
        net.git("a", &["config", key, value]);
    }
    let one = net.commit("a", "one");
    assert_eq!(push_one(&net.remote("a"), None, Some(one)), PushOutcome::Accepted);
    assert_eq!(net.at_hub(LEASE), Some(one));
    net.remote("a").fetch(&[wanted(LEASE, one, "refs/orch/x")], LIMIT).unwrap();
}

#[test]
fn credentials_in_the_url_are_not_shown() {
    let remote = GitRemote::new(Path::new("/x"), "https://user:token@host/r.git", None);
    assert_eq!(remote.url(), "https://host/r.git");
}

/// An `ssh` that ignores the polite signal and starts a child, both of which would live for a minute; the
/// code repository's configuration names it.
#[test]
fn the_limit_kills_ssh_and_its_children() {
    let net = Net::new();
    let alive = Alive::new(net.dir.path());
    let ssh = net.path("ssh");
    program(&ssh, &format!("#!/bin/sh\ntrap '' TERM\n{}\nsleep 60 &\nwait\n", alive.script()));
    let code = net.path("code");
    sh(Command::new("git").args(["init", "-q"]).arg(&code));
    sh(Command::new("git").arg("-C").arg(&code).args(["config", "core.sshCommand"]).arg(&ssh));
    let remote = GitRemote::new(&net.path("a"), "ssh://nowhere.invalid/r", Some(&code));
    let error = remote.refs(&["refs/"], Duration::from_secs(3)).unwrap_err();
    assert_eq!(error.kind, RemoteFailure::Timeout);
    alive.assert_was_and_is_gone();
}

/// `git daemon` on a port of its own; dropping it ends its process group.
struct Daemon {
    child: Child,
    port: u16,
}

impl Daemon {
    fn serving(net: &Net) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("git");
        command.args([
            "daemon",
            "--reuseaddr",
            "--listen=127.0.0.1",
            "--export-all",
            "--enable=receive-pack",
        ]);
        command.arg(format!("--port={port}")).arg(format!("--base-path={}", net.dir.path().display()));
        command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < LIMIT, "git daemon does not listen");
            std::thread::yield_now();
        }
        Daemon { child, port }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}

#[test]
fn the_same_holds_over_the_network() {
    let net = Net::new();
    let daemon = Daemon::serving(&net);
    let url = format!("git://127.0.0.1:{}/hub", daemon.port);
    for (at, git) in gits().into_iter().enumerate() {
        let remote = |name: &str| GitRemote::new(&net.path(name), &url, None).with_git(git.clone());
        let (one, two) = (net.commit("a", &format!("one {at}")), net.commit("b", &format!("two {at}")));
        assert_eq!(push_one(&remote("a"), None, Some(one)), PushOutcome::Accepted);
        assert!(is_refused(&push_one(&remote("b"), None, Some(two))));
        assert_eq!(remote("b").refs(&["refs/orch/"], LIMIT).unwrap(), [(LEASE.to_owned(), one)]);
        remote("b").fetch(&[wanted(LEASE, one, "refs/orch/remote/T-1")], LIMIT).unwrap();
        assert_eq!(push_one(&remote("b"), Some(one), Some(two)), PushOutcome::Accepted);
        assert_eq!(push_one(&remote("a"), Some(two), None), PushOutcome::Accepted);
    }
    drop(daemon);
    let error = GitRemote::new(&net.path("a"), &url, None).refs(&["refs/"], LIMIT).unwrap_err();
    assert_eq!(error.kind, RemoteFailure::Unreachable, "{error}");
}
