//! The local repository: objects that are git's to the byte, and refs that are compared and swapped.

use orch::world::{CommitInfo, NewCommit, Objects, ObjectsError, Oid, TreeChange, TreeEntry};
use sha1::{Digest, Sha1};

use super::{Outcome, Statement, ensure, fails, fine, same, try_all};

/// One repository, opened twice.
pub struct ObjectsPlace {
    /// An empty repository.
    pub objects: Box<dyn Objects>,
    /// The same one, as another process has opened it.
    pub other: Box<dyn Objects>,
    /// What must live as long as the place.
    pub keep: Box<dyn std::any::Any>,
}

/// Changes of a commit: paths, and bytes or removal.
type Changes<'a> = &'a [(&'a str, Option<&'a str>)];

impl ObjectsPlace {
    fn write(&self, base: Option<Oid>, parents: &[Oid], changes: Changes<'_>) -> Result<Oid, ObjectsError> {
        let changes: Vec<(String, Option<Vec<u8>>)> = changes
            .iter()
            .map(|(path, bytes)| ((*path).to_owned(), bytes.map(|bytes| bytes.as_bytes().to_vec())))
            .collect();
        let message = "subject\n\nbody\n";
        self.objects.commit(&NewCommit {
            base,
            changes: &changes,
            parents,
            author: "Ada L",
            at_s: 1_700_000_000,
            message,
        })
    }

    fn commit(&self, base: Option<Oid>, changes: Changes<'_>) -> Result<Oid, String> {
        fine(self.write(base, base.as_slice(), changes))
    }

    fn blob(&self, commit: Oid, path: &str) -> Result<Option<String>, String> {
        let Some(entry) = fine(self.objects.entry(commit, path))? else { return Ok(None) };
        Ok(Some(String::from_utf8_lossy(&fine(self.other.blob(entry.oid))?).into_owned()))
    }

    fn differing(&self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<String>, String> {
        let found = fine(self.objects.diff(old, new))?;
        Ok(found
            .iter()
            .map(|TreeChange { path, old, new }| {
                let sign = match (old, new) {
                    (None, Some(_)) => '+',
                    (Some(_), None) => '-',
                    _ => '~',
                };
                format!("{sign}{path}")
            })
            .collect())
    }
}

/// The object id that git gives.
fn hash(kind: &str, body: &[u8]) -> Oid {
    let mut hasher = Sha1::new();
    hasher.update(format!("{kind} {}\0", body.len()));
    hasher.update(body);
    Oid(hasher.finalize().into())
}

/// A tree as git writes it: entries are sorted as if the names of directories ended with a slash.
fn tree(entries: &[(&str, &str, Oid)]) -> Oid {
    let body: Vec<u8> = entries
        .iter()
        .flat_map(|(mode, name, oid)| [format!("{mode} {name}\0").as_bytes(), &oid.0].concat())
        .collect();
    hash("tree", &body)
}

/// What sync and audit rely on.
pub fn objects(make: &dyn Fn() -> ObjectsPlace) -> Vec<String> {
    let mut failed = try_all(make, &CONTENT);
    failed.extend(try_all(make, &DIFFS));
    failed.extend(try_all(make, &REFS));
    failed
}

const CONTENT: [Statement<ObjectsPlace>; 8] = [
    ("a blob's id is the one that git gives these bytes, and hashing stores nothing", |p| {
        same("the id of nothing", p.objects.hash_blob(b""), hash("blob", b""))?;
        let known = Oid::parse("ce013625030ba8dba906f756967f9e9ca394464a");
        same("the id of a known text", Some(p.objects.hash_blob(b"hello\n")), known)?;
        ensure(!p.objects.has(p.objects.hash_blob(b"hello\n")), "it was stored")
    }),
    ("a commit's id is the one that git gives this tree, author, time and message", identities),
    ("what is written is there at once, for another process as well", |p| {
        let commit = p.commit(None, &[("a/b", Some("x"))])?;
        ensure(p.objects.has(commit) && p.other.has(commit), "the commit is not")?;
        let entry = fine(p.other.entry(commit, "a/b"))?.ok_or("the entry is not")?;
        same("the blob", fine(p.other.blob(entry.oid))?, b"x".to_vec())
    }),
    ("a commit builds on the tree of its base; the last of two changes of one path counts", |p| {
        let base = p.commit(None, &[("a/1", Some("one")), ("a/2", Some("two")), ("b", Some("b"))])?;
        let next =
            p.commit(Some(base), &[("a/1", Some("x")), ("a/1", Some("new")), ("b", None), ("no", None)])?;
        same("a changed file", p.blob(next, "a/1")?, Some("new".to_owned()))?;
        same("an untouched one", p.blob(next, "a/2")?, Some("two".to_owned()))?;
        same("a removed one", p.blob(next, "b")?, None)?;
        same("the base", p.blob(base, "a/1")?, Some("one".to_owned()))
    }),
    ("a directory that loses its last file is gone", |p| {
        let base = p.commit(None, &[("a/b/c", Some("x")), ("d", Some("y"))])?;
        let next = p.commit(Some(base), &[("a/b/c", None)])?;
        same("the directory", fine(p.objects.entry(next, "a"))?, None)?;
        same("what is left", p.differing(None, Some(next))?, vec!["+d".to_owned()])
    }),
    ("an entry is a file, a directory that is no file, or nothing", |p| {
        let commit = p.commit(None, &[("dir/file", Some("x"))])?;
        let file = fine(p.objects.entry(commit, "dir/file"))?;
        same("a file", file, Some(TreeEntry { oid: hash("blob", b"x"), is_file: true }))?;
        let dir = fine(p.objects.entry(commit, "dir"))?;
        let oid = tree(&[("100644", "file", hash("blob", b"x"))]);
        same("a directory", dir, Some(TreeEntry { oid, is_file: false }))?;
        for absent in ["none", "dir/none", "dir/file/x", "dirf"] {
            same(absent, fine(p.objects.entry(commit, absent))?, None)?;
        }
        Ok(())
    }),
    ("a commit tells its parents, message, author and time", |p| {
        let one = p.commit(None, &[("a", Some("1"))])?;
        let two = p.commit(None, &[("a", Some("2"))])?;
        let merge = fine(p.write(Some(one), &[one, two], &[]))?;
        let wanted = CommitInfo {
            parents: vec![one, two],
            message: "subject\n\nbody\n".to_owned(),
            author: "Ada L".to_owned(),
            at_s: 1_700_000_000,
        };
        same("what it tells", fine(p.other.commit_info(merge))?, wanted)
    }),
    ("what is missing is an error, and a path that leads out of a tree as well", |p| {
        let none = Oid([7; 20]);
        ensure(!p.objects.has(none), "it has what nobody wrote")?;
        for (what, error) in [
            ("a blob", p.objects.blob(none).err()),
            ("a commit", p.objects.commit_info(none).err()),
            ("a difference", p.objects.diff(None, Some(none)).err()),
            ("an entry", p.objects.entry(none, "a").err()),
            ("a base", p.write(Some(none), &[], &[]).err()),
            ("a parent", p.write(None, &[none], &[]).err()),
        ] {
            let named = matches!(error, Some(ObjectsError::Missing(oid)) if oid == none);
            ensure(named, &format!("{what} that is not there gave {error:?}"))?;
        }
        for path in ["", "/a", "a//b", "../a", "a/../b", "a/./b", ".git/config", "a/.GIT/b"] {
            fails(&format!("a file at {path:?}"), &p.write(None, &[], &[(path, Some("x"))]))?;
        }
        Ok(())
    }),
];

fn identities(p: &ObjectsPlace) -> Outcome {
    let changes = [("a/x", Some("1")), ("a.b", Some("2")), ("a0", Some("3")), ("b/c/d", Some("4"))];
    let first = p.commit(None, &changes)?;
    let blob = |text: &str| hash("blob", text.as_bytes());
    let deep = tree(&[("40000", "c", tree(&[("100644", "d", blob("4"))]))]);
    // A directory counts as `a/`, which stands between `a.b` and `a0`.
    let root = tree(&[
        ("100644", "a.b", blob("2")),
        ("40000", "a", tree(&[("100644", "x", blob("1"))])),
        ("100644", "a0", blob("3")),
        ("40000", "b", deep),
    ]);
    let text = |parents: &str| {
        let who = "Ada L <orch@orch.invalid> 1700000000 +0000";
        format!("tree {root}\n{parents}author {who}\ncommitter {who}\n\nsubject\n\nbody\n")
    };
    same("the first commit", first, hash("commit", text("").as_bytes()))?;
    let next = p.commit(Some(first), &[])?;
    same("its child", next, hash("commit", text(&format!("parent {first}\n")).as_bytes()))?;
    same("the first one again", p.commit(None, &changes)?, first)
}

const DIFFS: [Statement<ObjectsPlace>; 3] = [
    ("a difference names the leaves that differ, sorted, with both sides", |p| {
        let one =
            p.commit(None, &[("a/1", Some("1")), ("a/2", Some("2")), ("b", Some("b")), ("z/z", Some("z"))])?;
        let two = p.commit(Some(one), &[("a/1", Some("new")), ("b", None), ("a/3", Some("3"))])?;
        let wanted = ["~a/1", "+a/3", "-b"].map(str::to_owned).to_vec();
        same("the difference", p.differing(Some(one), Some(two))?, wanted)?;
        let leaf = |text: &str| Some(TreeEntry { oid: hash("blob", text.as_bytes()), is_file: true });
        let first = fine(p.objects.diff(Some(one), Some(two)))?.swap_remove(0);
        same("the sides of the first", (first.old, first.new), (leaf("1"), leaf("new")))?;
        let wanted = ["~a/1", "-a/3", "+b"].map(str::to_owned).to_vec();
        same("the way back", p.differing(Some(two), Some(one))?, wanted)
    }),
    ("without one side everything is new, or gone; between equals nothing differs", |p| {
        let one = p.commit(None, &[("a/1", Some("1")), ("a.b", Some("2"))])?;
        let wanted = |sign| ["a.b", "a/1"].map(|path| format!("{sign}{path}")).to_vec();
        same("all of it", p.differing(None, Some(one))?, wanted('+'))?;
        same("all of it gone", p.differing(Some(one), None)?, wanted('-'))?;
        let again = fine(p.write(Some(one), &[one], &[]))?;
        ensure(again != one, "two commits have one id")?;
        same("between equal trees", p.differing(Some(one), Some(again))?, Vec::new())?;
        same("between nothing and nothing", p.differing(None, None)?, Vec::new())
    }),
    ("a file that becomes a directory is removed, and what is in it is added", |p| {
        let one = p.commit(None, &[("a", Some("1"))])?;
        // In two steps: one commit need not be able to do both.
        let none = p.commit(Some(one), &[("a", None)])?;
        let two = p.commit(Some(none), &[("a/b", Some("1"))])?;
        same("the difference", p.differing(Some(one), Some(two))?, vec!["-a".to_owned(), "+a/b".to_owned()])
    }),
];

const REFS: [Statement<ObjectsPlace>; 7] = [
    ("a ref is compared and swapped", |p| {
        let (one, two) = (p.commit(None, &[("a", Some("1"))])?, p.commit(None, &[("a", Some("2"))])?);
        let name = "refs/orch/remote/leases/T-1";
        fine(p.objects.swap_ref(name, None, Some(one)))?;
        same("what it is", fine(p.other.get_ref(name))?, Some(one))?;
        for (what, old, new) in [
            ("a second creation", None, Some(two)),
            ("a swap from another value", Some(two), Some(one)),
            ("a deletion of another value", Some(two), None),
            ("a deletion of nothing", None, None),
        ] {
            let error = p.other.swap_ref(name, old, new).err();
            let changed = matches!(&error, Some(ObjectsError::Changed(changed)) if changed == name);
            ensure(changed, &format!("{what} gave {error:?}"))?;
            same("what it is then", fine(p.objects.get_ref(name))?, Some(one))?;
        }
        fine(p.other.swap_ref(name, Some(one), Some(two)))?;
        fine(p.objects.swap_ref(name, Some(two), None))?;
        same("what it is in the end", fine(p.other.get_ref(name))?, None)?;
        let error = p.objects.swap_ref(name, Some(two), None).err();
        ensure(matches!(error, Some(ObjectsError::Changed(_))), "it was deleted twice")
    }),
    ("deleting what is absent, expecting that, changes nothing", |p| {
        fine(p.objects.swap_ref("refs/orch/x", None, None))?;
        same("what there is", fine(p.objects.refs("refs/"))?, Vec::new())
    }),
    ("no ref points to what is not there", |p| {
        let error = p.objects.swap_ref("refs/orch/x", None, Some(Oid([7; 20]))).err();
        ensure(matches!(error, Some(ObjectsError::Missing(_))), &format!("it gave {error:?}"))?;
        same("what it is", fine(p.objects.get_ref("refs/orch/x"))?, None)
    }),
    ("refs are listed below a prefix or by name, sorted", |p| {
        let one = p.commit(None, &[("a", Some("1"))])?;
        for name in ["refs/orch/b/2", "refs/orch/b/1", "refs/orch/bb", "refs/orch/a", "refs/heads/x"] {
            fine(p.objects.swap_ref(name, None, Some(one)))?;
        }
        for (prefix, wanted) in [
            ("refs/orch/b/", &["refs/orch/b/1", "refs/orch/b/2"][..]),
            ("refs/orch/b", &["refs/orch/b/1", "refs/orch/b/2"]),
            ("refs/orch/a", &["refs/orch/a"]),
            ("refs/none/", &[]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|name| ((*name).to_owned(), one)).collect();
            same(prefix, fine(p.other.refs(prefix))?, wanted)?;
        }
        Ok(())
    }),
    ("what is no full ref name is an error", |p| {
        let one = p.commit(None, &[("a", Some("1"))])?;
        for name in
            ["", "x", "heads/x", "refs/a*", "refs/a\0b", "refs/a b", "refs/a..b", "refs/a.lock", "refs/a/"]
        {
            fails(&format!("a swap of {name:?}"), &p.objects.swap_ref(name, None, Some(one)))?;
        }
        Ok(())
    }),
    ("ancestry follows parents; a commit is its own ancestor", |p| {
        let root = p.commit(None, &[("a", Some("1"))])?;
        let left = p.commit(Some(root), &[("a", Some("2"))])?;
        let right = p.commit(Some(root), &[("a", Some("3"))])?;
        let merge = fine(p.write(Some(left), &[left, right], &[]))?;
        for (ancestor, tip, wanted) in [
            (root, root, true),
            (root, merge, true),
            (right, merge, true),
            (left, right, false),
            (merge, root, false),
        ] {
            same("an ancestor", fine(p.objects.is_ancestor(ancestor, tip))?, wanted)?;
        }
        let none = Oid([7; 20]);
        let missing = |result: Result<bool, ObjectsError>| matches!(result, Err(ObjectsError::Missing(_)));
        ensure(missing(p.objects.is_ancestor(none, root)), "a missing ancestor is no error")?;
        ensure(missing(p.objects.is_ancestor(root, none)), "a missing tip is no error")
    }),
    ("maintenance loses nothing and relieves the pressure", |p| {
        let before = fine(p.objects.pressure())?;
        same("the packs of an empty repository", before.packs, 0)?;
        let mut tip = None;
        let mut all = Vec::new();
        // One loose object in 256 is seen; a thousand are surely felt.
        for n in 0..400 {
            let text = n.to_string();
            tip = Some(p.commit(tip, &[("a", Some(text.as_str()))])?);
            all.extend(tip);
        }
        fine(p.objects.swap_ref("refs/heads/x", None, tip))?;
        let loaded = fine(p.objects.pressure())?;
        ensure(loaded.loose > 0, "1200 loose objects are not felt")?;
        fine(p.objects.maintain())?;
        let after = fine(p.objects.pressure())?;
        ensure(after.loose < loaded.loose && after.packs <= 2, &format!("{after:?} after {loaded:?}"))?;
        same("the ref", fine(p.other.get_ref("refs/heads/x"))?, tip)?;
        ensure(all.iter().all(|oid| p.objects.has(*oid)), "a commit is lost")
    }),
];
