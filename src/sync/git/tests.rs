//! Tests of the local repository against the `git` executable.

use std::process::Command;

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    objects: GitObjects,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let git_dir = dir.path().join("state/.git");
    let objects = GitObjects::init(&git_dir, "refs/heads/orch-state", Outside::real(&git_dir)).unwrap();
    Fixture { dir, objects }
}

impl Fixture {
    fn git(&self, args: &[&str]) -> String {
        self.git_with_input(args, b"")
    }

    fn git_with_input(&self, args: &[&str], input: &[u8]) -> String {
        use std::io::Write as _;
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(self.objects.git_dir()).args(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, base: Option<Oid>, changes: &[(&str, Option<&str>)]) -> Oid {
        let parents: Vec<_> = base.into_iter().collect();
        self.try_commit(base, &parents, changes).unwrap()
    }

    fn try_commit(
        &self,
        base: Option<Oid>,
        parents: &[Oid],
        changes: &[(&str, Option<&str>)],
    ) -> Result<Oid, ObjectsError> {
        let changes: Vec<_> = changes
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.map(|text| text.as_bytes().to_vec())))
            .collect();
        let (author, message) = ("worker-1", "claim T-1\n");
        self.objects.commit(&NewCommit {
            base,
            changes: &changes,
            parents,
            author,
            at_s: 1_700_000_000,
            message,
        })
    }

    /// A commit whose tree was made by hand, as nobody honest would.
    fn commit_of_tree(&self, tree: &str) -> Oid {
        let env = ["-c", "user.name=x", "-c", "user.email=x@x"];
        Oid::parse(&self.git(&[&env[..], &["commit-tree", "-m", "hostile", tree]].concat())).unwrap()
    }

    fn raw_tree(&self, entries: &[(&str, &[u8], Oid)]) -> String {
        let mut bytes = Vec::new();
        for (mode, name, oid) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(&oid.0);
        }
        self.git_with_input(&["hash-object", "-t", "tree", "-w", "--literally", "--stdin"], &bytes)
    }

    fn paths(&self, commit: Oid) -> Vec<String> {
        self.objects.diff(None, Some(commit)).unwrap().into_iter().map(|change| change.path).collect()
    }
}

fn entry(oid: Oid) -> Option<TreeEntry> {
    Some(TreeEntry { oid, is_file: true })
}

#[test]
fn git_itself_reads_what_was_written() {
    let fixture = fixture();
    let commit = fixture.commit(None, &[("tasks/ab/T-1.yaml", Some("id: T-1\n")), ("a", Some(""))]);
    fixture.objects.swap_ref("refs/heads/orch-state", None, Some(commit)).unwrap();
    assert_eq!(fixture.git(&["show", "HEAD:tasks/ab/T-1.yaml"]), "id: T-1");
    assert_eq!(
        fixture.git(&["log", "--format=%an|%ae|%at|%B"]),
        "worker-1|orch@orch.invalid|1700000000|claim T-1"
    );
    fixture.git(&["fsck", "--strict"]);
    assert_eq!(fixture.git(&["rev-parse", "--is-bare-repository"]), "true");
    // Opening again, and creating again, change nothing.
    let git_dir = fixture.dir.path().join("state/.git");
    let again = GitObjects::init(&git_dir, "refs/heads/orch-state", Outside::real(&git_dir)).unwrap();
    assert_eq!(again.get_ref("refs/heads/orch-state").unwrap(), Some(commit));
    let info = GitObjects::open(&git_dir, Outside::real(&git_dir)).unwrap().commit_info(commit).unwrap();
    assert_eq!((info.author.as_str(), info.message.as_str()), ("worker-1", "claim T-1\n"));
    assert_eq!((info.at_s, info.parents.len()), (1_700_000_000, 0));
}

#[test]
fn opening_nothing_says_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error =
        GitObjects::open(&dir.path().join("none"), Outside::real(dir.path())).unwrap_err().to_string();
    assert!(error.contains("none") && error.contains("orch init"), "{error}");
}

#[test]
fn commits_build_on_their_base() {
    let fixture = fixture();
    let first = fixture.commit(None, &[("t/a", Some("1")), ("t/b", Some("2")), ("u/c", Some("3"))]);
    let second = fixture.commit(Some(first), &[("t/a", Some("x")), ("u/c", None), ("never/was", None)]);
    assert_eq!(fixture.paths(second), ["t/a", "t/b"]);
    let objects = &fixture.objects;
    let blob = |text: &str| entry(objects.hash_blob(text.as_bytes()));
    let want = [
        TreeChange { path: "t/a".into(), old: blob("1"), new: blob("x") },
        TreeChange { path: "u/c".into(), old: blob("3"), new: None },
    ];
    assert_eq!(objects.diff(Some(first), Some(second)).unwrap(), want);
    assert_eq!(objects.entry(second, "t/a").unwrap(), blob("x"));
    assert!(objects.entry(second, "t").unwrap().is_some_and(|entry| !entry.is_file), "a directory");
    for absent in ["u/c", "t/a/below", "zz/y"] {
        assert_eq!(objects.entry(second, absent).unwrap(), None, "{absent}");
    }
    assert_eq!(objects.blob(objects.hash_blob(b"x")).unwrap(), b"x");
    let empty = fixture.commit(Some(second), &[("t/a", None), ("t/b", None)]);
    assert_eq!(fixture.paths(empty), Vec::<String>::new());
    assert_eq!(objects.diff(Some(second), None).unwrap().len(), 2);
}

#[test]
fn ancestry() {
    let fixture = fixture();
    let first = fixture.commit(None, &[("a", Some("1"))]);
    let second = fixture.commit(Some(first), &[("a", Some("2"))]);
    let stranger = fixture.commit(None, &[("a", Some("3"))]);
    let objects = &fixture.objects;
    assert!(objects.is_ancestor(first, second).unwrap());
    assert!(objects.is_ancestor(second, second).unwrap());
    assert!(!objects.is_ancestor(second, first).unwrap());
    assert!(!objects.is_ancestor(stranger, second).unwrap());
    let nobody = Oid([7; 20]);
    assert!(matches!(objects.is_ancestor(nobody, second), Err(ObjectsError::Missing(oid)) if oid == nobody));
}

#[test]
fn missing_objects_are_named() {
    let fixture = fixture();
    let nobody = Oid([7; 20]);
    let objects = &fixture.objects;
    let is_it = |error: ObjectsError| matches!(error, ObjectsError::Missing(oid) if oid == nobody);
    assert!(is_it(objects.blob(nobody).unwrap_err()));
    assert!(is_it(objects.commit_info(nobody).unwrap_err()));
    assert!(is_it(objects.diff(None, Some(nobody)).unwrap_err()));
    assert!(is_it(objects.entry(nobody, "a").unwrap_err()));
    assert!(is_it(objects.swap_ref("refs/x", None, Some(nobody)).unwrap_err()));
    assert!(is_it(fixture.try_commit(Some(nobody), &[], &[]).unwrap_err()));
    assert!(is_it(fixture.try_commit(None, &[nobody], &[]).unwrap_err()));
    assert!(!objects.has(nobody));
    // A commit whose sub-tree is gone.
    let blob = Oid::parse(&fixture.git_with_input(&["hash-object", "-w", "--stdin"], b"x")).unwrap();
    let tree = fixture.raw_tree(&[("100644", b"a", blob), ("40000", b"t", nobody)]);
    let commit = fixture.commit_of_tree(&tree);
    assert!(is_it(objects.diff(None, Some(commit)).unwrap_err()));
    assert!(is_it(objects.entry(commit, "t/x").unwrap_err()));
    assert!(is_it(fixture.try_commit(Some(commit), &[], &[("t/x", Some("y"))]).unwrap_err()));
}

#[test]
fn refs_are_compared_and_swapped() {
    let fixture = fixture();
    let one = fixture.commit(None, &[("a", Some("1"))]);
    let two = fixture.commit(None, &[("a", Some("2"))]);
    let name = "refs/orch/leases/T-1";
    let swap = |old, new| fixture.objects.swap_ref(name, old, new);
    let lost =
        |result: Result<(), ObjectsError>| matches!(result, Err(ObjectsError::Changed(ref at)) if at == name);
    assert!(lost(swap(Some(one), Some(two))), "update of what is not there");
    assert!(lost(swap(Some(one), None)), "deletion of what is not there");
    swap(None, None).unwrap();
    swap(None, Some(one)).unwrap();
    assert!(lost(swap(None, Some(two))), "created twice");
    assert!(lost(swap(None, Some(one))), "created twice with the same value");
    assert!(lost(swap(Some(two), Some(one))), "stale");
    swap(Some(one), Some(two)).unwrap();
    assert_eq!(fixture.objects.get_ref(name).unwrap(), Some(two));
    // Packed refs count as well.
    fixture.git(&["pack-refs", "--all"]);
    assert_eq!(fixture.objects.get_ref(name).unwrap(), Some(two));
    assert!(lost(swap(None, Some(one))));
    assert!(lost(swap(Some(one), None)));
    swap(Some(two), Some(one)).unwrap();
    fixture.git(&["pack-refs", "--all"]);
    swap(Some(one), None).unwrap();
    assert_eq!(fixture.objects.get_ref(name).unwrap(), None);
    assert_eq!(fixture.git(&["for-each-ref"]), "");
}

#[test]
fn refs_are_listed_below_a_prefix() {
    let fixture = fixture();
    let one = fixture.commit(None, &[("a", Some("1"))]);
    for name in ["refs/orch/leases/b", "refs/orch/leases/a", "refs/orch/leasesx", "refs/heads/orch-state"] {
        fixture.objects.swap_ref(name, None, Some(one)).unwrap();
    }
    let names = |prefix: &str| -> Vec<String> {
        fixture.objects.refs(prefix).unwrap().into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names("refs/orch/leases/"), ["refs/orch/leases/a", "refs/orch/leases/b"]);
    assert_eq!(names("refs/orch/leases"), ["refs/orch/leases/a", "refs/orch/leases/b"]);
    assert_eq!(names("refs/heads/orch-state"), ["refs/heads/orch-state"]);
    assert_eq!(names("refs/heads/orch"), Vec::<String>::new());
    fixture.git(&["pack-refs", "--all"]);
    assert_eq!(names("refs/").len(), 4);
}

#[test]
fn names_that_are_none_are_errors() {
    let fixture = fixture();
    let one = fixture.commit(None, &[("a", Some("1"))]);
    for name in ["HEAD", "refs/\0x", "refs/*", "refs/a b", "refs/../x", "refs/x.lock", ""] {
        assert!(fixture.objects.swap_ref(name, None, Some(one)).is_err(), "{name:?}");
    }
    for path in ["", "/a", "a//b", "../a", "a/..", ".git/config", "a\0b", "a/.GIT/x"] {
        assert!(fixture.try_commit(None, &[], &[(path, Some("x"))]).is_err(), "{path:?}");
    }
    assert_eq!(fixture.git(&["for-each-ref"]), "");
}

#[test]
fn authors_and_messages_of_any_kind_make_a_sound_commit() {
    let fixture = fixture();
    for (author, message) in [("", ""), ("<>", "a\0b"), ("a\nb <c>", "\u{1b}[31m"), ("...", "x"), ("ä", "ä")]
    {
        let commit = NewCommit { base: None, changes: &[], parents: &[], author, at_s: -5, message };
        let oid = fixture.objects.commit(&commit).unwrap();
        assert!(!fixture.objects.commit_info(oid).unwrap().author.is_empty());
    }
}

/// Two threads with a handle each, and no other protection, create the same ref again and again.
#[test]
fn only_one_creates() {
    let fixture = fixture();
    let one = fixture.commit(None, &[("a", Some("1"))]);
    let two = fixture.commit(None, &[("a", Some("2"))]);
    let git_dir = fixture.objects.git_dir().to_owned();
    let rounds = 150;
    let barrier = std::sync::Barrier::new(2);
    let attempt = |value: Oid| {
        let objects = GitObjects::open(&git_dir, Outside::real(&git_dir)).unwrap();
        (0..rounds)
            .map(|round| {
                barrier.wait();
                objects.swap_ref(&format!("refs/orch/r{round}"), None, Some(value)).is_ok()
            })
            .collect::<Vec<_>>()
    };
    let (a, b) = std::thread::scope(|scope| {
        let other = scope.spawn(|| attempt(one));
        (attempt(two), other.join().unwrap())
    });
    for round in 0..rounds {
        assert!(a[round] ^ b[round], "round {round}: {} and {}", a[round], b[round]);
        let want = if a[round] { two } else { one };
        assert_eq!(fixture.objects.get_ref(&format!("refs/orch/r{round}")).unwrap(), Some(want));
    }
}

/// A kill -9 in the moment of a ref update left `x.lock` behind, and every later command failed on it.
#[test]
fn a_lock_file_that_a_killed_process_left_is_waited_for_and_then_removed() {
    let fixture = fixture();
    let one = fixture.commit(None, &[("a", Some("1"))]);
    let lock = fixture.objects.git_dir().join("refs/orch/x.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, b"").unwrap();
    let started = std::time::Instant::now();
    fixture.objects.swap_ref("refs/orch/x", None, Some(one)).unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1), "a living process would have had its second");
    assert!(!lock.exists());
    assert_eq!(fixture.objects.get_ref("refs/orch/x").unwrap(), Some(one));
}

#[test]
fn hostile_trees_are_reported_and_never_followed() {
    let fixture = fixture();
    let blob =
        Oid::parse(&fixture.git_with_input(&["hash-object", "-w", "--stdin"], b"/etc/passwd")).unwrap();
    let good = fixture.commit(None, &[("t/a", Some("1"))]);
    let inner = fixture.raw_tree(&[("100644", b"config", blob)]);
    let inner = Oid::parse(&inner).unwrap();
    let tree = fixture.raw_tree(&[
        ("100755", b"exec", blob),
        ("120000", b"link", blob),
        ("160000", b"module", Oid([9; 20])),
        ("100644", b"..", blob),
        ("40000", b"..", inner),
        ("40000", b".git", inner),
        ("100644", b"a/b", blob),
        ("100644", b"bad\xff", blob),
        ("100644", b"twice", blob),
        ("100644", b"twice", inner),
        ("40000", b"t", inner),
    ]);
    let hostile = fixture.commit_of_tree(&tree);
    let found = fixture.objects.diff(None, Some(hostile)).unwrap();
    let files: Vec<_> = found
        .iter()
        .filter(|change| change.new.is_some_and(|entry| entry.is_file))
        .map(|change| change.path.as_str())
        .collect();
    assert_eq!(files, ["exec", "t/config", "twice", "twice"]);
    for name in ["link", "module", "..", ".git", "a/b", "bad\u{fffd}"] {
        assert!(found.iter().any(|change| change.path == name), "{name} is not reported");
    }
    // Both directions against an honest tree end, too.
    assert!(!fixture.objects.diff(Some(good), Some(hostile)).unwrap().is_empty());
    assert!(!fixture.objects.diff(Some(hostile), Some(good)).unwrap().is_empty());
    // A tree where a blob is expected, and the other way round.
    assert!(fixture.objects.blob(inner).is_err());
    assert!(fixture.objects.commit_info(blob).is_err());
}

#[test]
fn links_are_replaced_and_never_written_through() {
    let fixture = fixture();
    let blob = Oid::parse(&fixture.git_with_input(&["hash-object", "-w", "--stdin"], b"/etc")).unwrap();
    let tree = fixture.raw_tree(&[("120000", b"link", blob), ("160000", b"module", Oid([9; 20]))]);
    let hostile = fixture.commit_of_tree(&tree);
    for name in ["link", "module"] {
        let found = fixture.objects.entry(hostile, name).unwrap();
        assert_eq!(found.map(|entry| entry.is_file), Some(false), "{name}");
    }
    assert!(fixture.try_commit(Some(hostile), &[], &[("link/x", Some("y"))]).is_err());
    let link_replaced = fixture.commit(Some(hostile), &[("link", Some("y"))]);
    assert_eq!(fixture.objects.entry(link_replaced, "link").unwrap().map(|entry| entry.is_file), Some(true));
}

#[test]
fn a_link_that_turns_into_a_file_is_a_change() {
    let fixture = fixture();
    let text = fixture.objects.hash_blob(b"same");
    fixture.git_with_input(&["hash-object", "-w", "--stdin"], b"same");
    let link = fixture.commit_of_tree(&fixture.raw_tree(&[("120000", b"x", text)]));
    let file = fixture.commit_of_tree(&fixture.raw_tree(&[("100644", b"x", text)]));
    let want = [TreeChange {
        path: "x".into(),
        old: Some(TreeEntry { oid: text, is_file: false }),
        new: entry(text),
    }];
    assert_eq!(fixture.objects.diff(Some(link), Some(file)).unwrap(), want);
}

/// Twenty levels, each naming the level below sixteen times: 16^20 leaves if somebody walked them all.
#[test]
fn a_tree_bomb_ends() {
    let fixture = fixture();
    let blob = Oid::parse(&fixture.git_with_input(&["hash-object", "-w", "--stdin"], b"x")).unwrap();
    let mut tree = fixture.raw_tree(&[("100644", b"leaf", blob)]);
    for _ in 0..20 {
        tree = fixture.raw_tree(&[("40000", b"deep", Oid::parse(&tree).unwrap())]);
    }
    let deep = fixture.commit_of_tree(&tree);
    let found = fixture.objects.diff(None, Some(deep)).unwrap();
    assert_eq!(found.len(), 1);
    assert!(!found[0].new.unwrap().is_file);
    assert_eq!(found[0].path.matches('/').count(), 16);
}

#[test]
fn maintenance_relieves_the_pressure() {
    let fixture = fixture();
    assert_eq!(fixture.objects.pressure().unwrap(), Pressure::default());
    let mut tip = None;
    let mut names = 0..;
    while fixture.objects.pressure().unwrap().loose == 0 {
        let text = format!("{}", names.next().unwrap());
        tip = Some(fixture.commit(tip, &[("a", Some(&text))]));
    }
    fixture.objects.swap_ref("refs/heads/orch-state", None, tip).unwrap();
    fixture.objects.maintain().unwrap();
    // A newer git keeps what nothing reaches in a pack of its own.
    let after = fixture.objects.pressure().unwrap();
    assert!(after.loose == 0 && (1..=2).contains(&after.packs), "{after:?}");
    // The handle that was open all the time finds what has moved into the pack.
    assert_eq!(fixture.paths(tip.unwrap()), ["a"]);
    assert!(fixture.objects.is_ancestor(tip.unwrap(), tip.unwrap()).unwrap());
}
