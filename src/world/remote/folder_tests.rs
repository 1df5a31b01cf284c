//! Against real folders: what is not the same when git's client is not in between.

use super::*;

/// Commits with a file below a directory, one upon the other, each with text of its own.
fn history(net: &Net, name: &str, texts: &[&str]) -> Vec<Oid> {
    let index = net.path("index");
    let mut parent: Option<Oid> = None;
    let mut commits = Vec::new();
    for text in texts {
        fs::write(net.path("file"), text).unwrap();
        let blob = net.git(name, &["hash-object", "-w", net.path("file").to_str().unwrap()]);
        let with_index = |args: &[&str]| {
            let mut command = Command::new("git");
            command.arg("--git-dir").arg(net.path(name)).env("GIT_INDEX_FILE", &index);
            sh(command.args(args))
        };
        with_index(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},dir/file")]);
        let tree = with_index(&["write-tree"]);
        let above = parent.map(|parent| parent.to_string());
        let mut args = vec!["commit-tree", "-m", text, &tree];
        args.extend(above.iter().flat_map(|parent| ["-p", parent]));
        let commit = Oid::parse(&net.git(name, &args)).unwrap();
        parent = Some(commit);
        commits.push(commit);
    }
    commits
}

/// A `git` that writes down what it is asked for before it does that; with an answer, that is what `upload-pack` says.
fn talkative(net: &Net, git: &str, answer: Option<&[u8]>) -> (Git, impl Fn() -> Vec<String> + use<>) {
    let (script, log, canned) = (net.path("talkative"), net.path("log"), net.path("answer"));
    let instead = match answer {
        Some(bytes) => {
            fs::write(&canned, bytes).unwrap();
            format!("[ \"$1\" = upload-pack ] && exec cat {}\n", canned.display())
        }
        None => String::new(),
    };
    let text = format!("#!/bin/sh\necho \"$*\" >> {}\n{instead}exec {git} \"$@\"\n", log.display());
    program(&script, &text);
    let asked = move || {
        let lines = fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        let word = |line: &str| {
            let words = ["upload-pack", "unpack-objects", "index-pack", "fetch"];
            line.split(' ').find(|word| words.contains(word)).unwrap_or("another").to_owned()
        };
        lines.lines().map(word).collect()
    };
    (Git::new(script), asked)
}

/// Where something is here already a fetch starts the remote's program and the one that takes objects in, and no client.
#[test]
fn a_fetch_needs_no_client_once_something_is_here() {
    for git in executables() {
        let net = Net::new();
        let (talkative, asked) = talkative(&net, git, None);
        let (a, b) = (net.remote("a"), net.remote("b").with_git(talkative));
        let commits = history(&net, "a", &["one", "two"]);
        let (one, two) = (commits[0], commits[1]);
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, one, "refs/orch/x")], LIMIT).unwrap();
        assert_eq!(asked(), ["fetch"], "it may be large");
        assert_eq!(push_one(&a, Some(one), Some(two)), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, two, "refs/orch/x")], LIMIT).unwrap();
        assert_eq!(asked(), ["upload-pack", "unpack-objects"]);
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/x"]), two.to_string());
        net.git("b", &["fsck", "--strict", "--full", "--connectivity-only"]);
        // Nothing is lacking, and the ref is set all the same.
        b.fetch(&[wanted(LEASE, one, "refs/orch/y")], LIMIT).unwrap();
        assert_eq!(asked(), ["upload-pack", "unpack-objects"]);
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/y"]), one.to_string());
    }
}

/// What is here is not sent again. What a ref names but is not here any more is left out by the folder, and then it is
/// git's client that brings it.
#[test]
fn a_fetch_brings_what_is_lacking() {
    let net = Net::new();
    let (a, b) = (net.remote("a"), net.remote("b"));
    let commits = history(&net, "a", &["one", "two", "three"]);
    for (now, next) in [(None, commits[0]), (Some(commits[0]), commits[1]), (Some(commits[1]), commits[2])] {
        assert_eq!(push_one(&a, now, Some(next)), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, next, &format!("refs/orch/{next}"))], LIMIT).unwrap();
    }
    let loose = || net.git("b", &["count-objects"]).split(' ').next().unwrap().parse::<usize>().unwrap();
    // Of each its commit, two trees and a file.
    assert_eq!(loose(), 12);
    let tip = commits[2].to_string();
    fs::remove_file(net.path("b").join("objects").join(&tip[..2]).join(&tip[2..])).unwrap();
    b.fetch(&[wanted(LEASE, commits[2], "refs/orch/again")], LIMIT).unwrap();
    assert_eq!(loose(), 12);
    net.git("b", &["fsck", "--strict", "--full"]);
}

/// Hundreds of objects in files of their own would make every later look slower.
#[test]
fn many_objects_come_in_one_pack() {
    for git in executables() {
        let net = Net::new();
        let (talkative, asked) = talkative(&net, git, None);
        let (a, b) = (net.remote("a"), net.remote("b").with_git(talkative));
        let texts: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let commits = history(&net, "a", &texts.iter().map(String::as_str).collect::<Vec<_>>());
        let last = *commits.last().unwrap();
        assert_eq!(push_one(&a, None, Some(commits[0])), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, commits[0], "refs/orch/x")], LIMIT).unwrap();
        asked();
        assert_eq!(push_one(&a, Some(commits[0]), Some(last)), PushOutcome::Accepted);
        b.fetch(&[wanted(LEASE, last, "refs/orch/x")], LIMIT).unwrap();
        assert_eq!(asked(), ["upload-pack", "index-pack"]);
        net.git("b", &["fsck", "--strict", "--full"]);
        assert!(net.git("b", &["count-objects", "-v"]).contains("packs: 1"));
    }
}

/// A commit whose tree is nowhere must not be taken for one that is here: nothing would ever bring the rest.
#[test]
fn half_of_what_was_wanted_is_not_taken() {
    for git in executables() {
        let net = Net::new();
        let commits = history(&net, "a", &["one", "two"]);
        let (one, two) = (commits[0], commits[1]);
        assert_eq!(push_one(&net.remote("a"), None, Some(one)), PushOutcome::Accepted);
        net.remote("b").fetch(&[wanted(LEASE, one, "refs/orch/x")], LIMIT).unwrap();
        let list = net.path("list");
        fs::write(&list, format!("{two}\n")).unwrap();
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(net.path("a")).args(["pack-objects", "--stdout", "-q"]);
        let pack = command.stdin(fs::File::open(&list).unwrap()).output().unwrap().stdout;
        let mut answer = b"000eversion 2\n0000000dpackfile\n".to_vec();
        answer.extend(format!("{:04x}\u{1}", pack.len() + 5).as_bytes());
        answer.extend(&pack);
        answer.extend(b"0000");
        let (lying, asked) = talkative(&net, git, Some(&answer));
        let b = net.remote("b").with_git(lying);
        // By its name the client would bring what the ref holds now.
        let nowhere = wanted("refs/orch/leases/none", two, "refs/orch/y");
        let error = b.fetch(&[nowhere], LIMIT).unwrap_err();
        assert_eq!(error.kind, RemoteFailure::MissingObject, "what the client says: {error}");
        assert_eq!(asked()[..3], ["upload-pack", "unpack-objects", "fetch"]);
        assert_eq!(net.git("b", &["for-each-ref", "--format=%(refname)"]), "refs/orch/x");
    }
}

/// Where the answer is none, or nothing can be taken in, git's client is asked as if nothing had been tried.
#[test]
fn what_is_not_understood_is_left_to_the_client() {
    let net = Net::new();
    let commits = history(&net, "a", &["one", "two"]);
    let (one, two) = (commits[0], commits[1]);
    assert_eq!(push_one(&net.remote("a"), None, Some(one)), PushOutcome::Accepted);
    net.remote("b").fetch(&[wanted(LEASE, one, "refs/orch/x")], LIMIT).unwrap();
    assert_eq!(push_one(&net.remote("a"), Some(one), Some(two)), PushOutcome::Accepted);
    let no_pack = b"000eversion 2\n0000000dpackfile\n000d\x01no pack0000";
    for answer in [b"something else".as_slice(), no_pack] {
        let (odd, asked) = talkative(&net, "git", Some(answer));
        net.remote("b").with_git(odd).fetch(&[wanted(LEASE, two, "refs/orch/x")], LIMIT).unwrap();
        assert_eq!(asked(), ["upload-pack", "fetch"]);
        assert_eq!(net.git("b", &["rev-parse", "refs/orch/x"]), two.to_string());
    }
}

/// A push that is given up must not leave a lock of its ref behind: it is `receive-pack` itself that is spoken to, and a
/// hook of the remote takes its time while the lock is held.
#[test]
fn a_push_that_takes_too_long_is_unknown_and_leaves_the_ref_free() {
    let net = Net::new();
    let hook = net.path("hub").join("hooks/reference-transaction");
    program(&hook, "#!/bin/sh\n[ \"$1\" = prepared ] || exit 0\necho held >&2\nsleep 1.5\n");
    let (one, two) = (net.commit("a", "one"), net.commit("a", "two"));
    let a = net.remote("a");
    let outcome = a.push(&[update(LEASE, None, Some(one))], Duration::from_millis(1000)).remove(0);
    let PushOutcome::Unknown(why) = &outcome else { panic!("{outcome:?}") };
    assert!(why.contains("no answer within 1 s") && why.contains("held"), "{why}");
    fs::remove_file(&hook).unwrap();
    let now = net.at_hub(LEASE);
    assert_eq!(push_one(&a, now, Some(two)), PushOutcome::Accepted, "no lock is left");
}

/// A claim does not wait for the remote to be tidied up; a push of a branch has it looked at, as ever.
#[test]
fn a_remote_is_tidied_up_by_pushes_of_a_branch_alone() {
    for git in gits() {
        let net = Net::new();
        for (key, value) in [
            ("receive.unpackLimit", "1"),
            ("gc.autoPackLimit", "1"),
            ("gc.autoDetach", "false"),
            ("maintenance.autoDetach", "false"),
        ] {
            net.git("hub", &["config", key, value]);
        }
        let packs = || {
            let files = fs::read_dir(net.path("hub").join("objects/pack")).unwrap();
            files
                .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack"))
                .count()
        };
        let a = net.remote("a").with_git(git);
        let mut now = None;
        for n in 0..3 {
            let next = Some(net.commit("a", &n.to_string()));
            assert_eq!(push_one(&a, now, next), PushOutcome::Accepted);
            now = next;
        }
        assert_eq!(packs(), 3);
        let branch = update("refs/heads/work", None, Some(net.commit("a", "branch")));
        assert_eq!(a.push(&[branch], LIMIT), [PushOutcome::Accepted]);
        // One of what is reached, and with newer gits one of what is not.
        assert!(packs() <= 2, "{} packs", packs());
    }
}

/// Each push listed the remote's refs once more in a process of its own: for them as refs of an alternate of themselves.
#[test]
fn a_push_does_not_list_the_refs_of_alternates() {
    for git in executables() {
        let net = Net::new();
        let commits = history(&net, "a", &["one", "two"]);
        let (one, two) = (commits[0], commits[1]);
        // A true one: what the first commit needs is in it alone.
        net.git("b", &["fetch", "--quiet", net.path("a").to_str().unwrap(), &format!("{one}:refs/orch/one")]);
        let alternates = net.path("hub").join("objects/info/alternates");
        fs::write(alternates, format!("{}\n", net.path("b").join("objects").display())).unwrap();
        let (script, log) = (net.path("traced"), net.path("events"));
        program(&script, &format!("#!/bin/sh\nGIT_TRACE2_EVENT={} exec {git} \"$@\"\n", log.display()));
        let a = net.remote("a").with_git(Git::new(script));
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        assert_eq!(push_one(&a, Some(one), Some(two)), PushOutcome::Accepted);
        let events = fs::read_to_string(&log).unwrap();
        let started = |word: &str| {
            events.lines().filter(|line| line.contains("\"child_start\"") && line.contains(word)).count()
        };
        assert_eq!((started("unpack-objects"), started("rev-list"), started("for-each-ref")), (2, 2, 0));
        net.git("hub", &["fsck", "--strict", "--full"]);
    }
}

/// A `git` that writes down its arguments, one line a time, and then that its program has begun to speak.
struct Noting {
    git: Git,
    log: PathBuf,
}

impl Noting {
    fn new(net: &Net, git: &str) -> Self {
        let (script, log) = (net.path("noting"), net.path("noted"));
        let text = format!(
            "#!/bin/sh\necho \"$*\" >> {0}\n{git} \"$@\" | {{ head -c 4; echo speaks >> {0}; cat; }}\n",
            log.display()
        );
        program(&script, &text);
        Noting { git: Git::new(script), log }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// How many have been started.
    fn started(&self) -> usize {
        self.lines().iter().filter(|line| line.contains("receive-pack")).count()
    }

    /// A remote with one that was started ahead and has seen the refs.
    fn ahead(&self, remote: GitRemote) -> GitRemote {
        let before = self.lines().len();
        let remote = remote.with_git(self.git.clone()).started_ahead();
        while self.lines().len() < before + 2 {
            std::thread::yield_now();
        }
        remote
    }
}

#[test]
fn the_first_push_of_a_lease_speaks_to_what_was_started_ahead() {
    for git in executables() {
        let net = Net::new();
        let (one, two, branch) = (net.commit("a", "one"), net.commit("a", "two"), net.commit("a", "branch"));
        let noting = Noting::new(&net, git);
        let a = noting.ahead(net.remote("a"));
        assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
        assert_eq!(noting.started(), 1, "{:?}", noting.lines());
        assert_eq!(push_one(&a, Some(one), Some(two)), PushOutcome::Accepted);
        assert_eq!(noting.started(), 2, "{:?}", noting.lines());
        // A branch wants to be tidied up after, so it has one of its own.
        let a = noting.ahead(a);
        let outcomes = a.push(&[update("refs/heads/work", None, Some(branch))], LIMIT);
        assert_eq!(outcomes, [PushOutcome::Accepted]);
        assert_eq!(noting.started(), 4, "{:?}", noting.lines());
        assert_eq!((net.at_hub(LEASE), net.at_hub("refs/heads/work")), (Some(two), Some(branch)));
    }
}

/// What it said when it was started is old: nothing is refused for that, neither alone nor with others.
#[test]
fn what_was_started_ahead_refuses_nothing_that_came_after_it() {
    for git in executables() {
        let net = Net::new();
        let (one, two) = (net.commit("b", "one"), net.commit("a", "two"));
        let noting = Noting::new(&net, git);
        let a = noting.ahead(net.remote("a"));
        assert_eq!(push_one(&net.remote("b"), None, Some(one)), PushOutcome::Accepted);
        let other = "refs/orch/leases/T-2";
        let outcomes = a.push(&[update(other, None, Some(two)), update(LEASE, Some(one), Some(two))], LIMIT);
        assert_eq!(outcomes, [PushOutcome::Accepted, PushOutcome::Accepted]);
        assert_eq!((net.at_hub(other), net.at_hub(LEASE)), (Some(two), Some(two)));
        assert_eq!(noting.started(), 2, "{:?}", noting.lines());
    }
}

/// Nor is anything accepted for it: the ref is compared when it is moved.
#[test]
fn what_was_started_ahead_is_a_compare_and_swap() {
    for git in executables() {
        let net = Net::new();
        let (one, two) = (net.commit("b", "one"), net.commit("a", "two"));
        let noting = Noting::new(&net, git);
        let creator = noting.ahead(net.remote("a"));
        assert_eq!(push_one(&net.remote("b"), None, Some(one)), PushOutcome::Accepted);
        assert!(is_refused(&push_one(&creator, None, Some(two))), "created by the other one");
        assert_eq!(net.at_hub(LEASE), Some(one));
        let third = net.commit("b", "three");
        for new in [Some(two), None] {
            let late = noting.ahead(net.remote("a"));
            let now = net.at_hub(LEASE);
            assert_eq!(push_one(&net.remote("b"), now, Some(third)), PushOutcome::Accepted);
            let began = noting.started();
            assert!(is_refused(&push_one(&late, now, new)), "moved by the other one: {new:?}");
            assert_eq!(noting.started(), began, "it was asked");
            assert_eq!(net.at_hub(LEASE), Some(third));
            assert_eq!(push_one(&net.remote("b"), Some(third), Some(one)), PushOutcome::Accepted);
        }
    }
}

/// One that has ended, or cannot be started, is as good as none.
#[test]
fn what_was_started_ahead_and_has_ended_is_done_without() {
    let net = Net::new();
    let one = net.commit("a", "one");
    let (script, first) = (net.path("once"), net.path("first"));
    let text =
        format!("#!/bin/sh\n[ -e {0} ] || {{ touch {0}; exit 1; }}\nexec git \"$@\"\n", first.display());
    program(&script, &text);
    let a = net.remote("a").with_git(Git::new(script)).started_ahead();
    assert_eq!(push_one(&a, None, Some(one)), PushOutcome::Accepted);
    let none = net.remote("a").with_git(Git::new("/no/git/is/started")).started_ahead();
    assert!(is_refused(&push_one(&none, Some(one), None)));
}

/// What a push carries is whole, and no more than the other side lacks.
#[test]
fn a_pack_holds_what_the_other_side_lacks() {
    let net = Net::new();
    let first = history(&net, "a", &["text"])[0];
    let tree = net.git("a", &["rev-parse", &format!("{first}^{{tree}}")]);
    let second = net.git("a", &["commit-tree", "-m", "second", "-p", &first.to_string(), &tree]);
    let second = Oid::parse(&second).unwrap();
    let objects = |known: &[Oid]| {
        let pack = (crate::sync::git::TRANSFER.pack)(&net.path("a"), &[second], known).unwrap();
        u32::from_be_bytes(pack[8..12].try_into().unwrap())
    };
    assert_eq!(objects(&[]), 5, "two commits, two trees, a file");
    assert_eq!(objects(&[first]), 1);
    assert_eq!(objects(&[Oid([7; 20])]), 5, "what is not here cannot be left out");
    let a = net.remote("a");
    assert_eq!(push_one(&a, None, Some(first)), PushOutcome::Accepted);
    assert_eq!(push_one(&a, Some(first), Some(second)), PushOutcome::Accepted);
    net.git("hub", &["fsck", "--strict", "--full"]);
}
