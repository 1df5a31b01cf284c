//! The shared repository: compare-and-swap per ref, three outcomes, listings and fetches.

use std::time::Duration;

use orch::world::{NewCommit, Objects, Oid, PushOutcome, RefUpdate, Remote, RemoteFailure, Wanted};

use super::{Outcome, Statement, ensure, fails, fine, same, try_all};

const LIMIT: Duration = Duration::from_secs(60);
const LEASE: &str = "refs/orch/leases/T-1";

/// One machine: its way to the remote and its own repository.
pub struct Machine {
    /// The way.
    pub remote: Box<dyn Remote>,
    /// The repository.
    pub objects: Box<dyn Objects>,
}

/// Makes the remote refuse refs whose name contains a text.
pub type Forbid = Box<dyn Fn(&str)>;

/// Makes the remote go away, and says what kind of failure that is.
pub type Vanish = Box<dyn Fn() -> RemoteFailure>;

/// An empty remote and two machines that share it.
pub struct RemotePlace {
    /// The first.
    pub a: Machine,
    /// The second.
    pub b: Machine,
    /// From now on the remote refuses to move refs whose name contains this, with a word of its own, `rule 7`.
    pub forbid: Option<Forbid>,
    /// From now on nobody answers; gives the kind of failure that this is.
    pub vanish: Option<Vanish>,
    /// What must live as long as the place.
    pub keep: Box<dyn std::any::Any>,
}

impl Machine {
    fn commit(&self, text: &str, parents: &[Oid]) -> Result<Oid, String> {
        let changes = [("task".to_owned(), Some(text.as_bytes().to_vec()))];
        let (author, at_s, message) = ("orch", 1_700_000_000, "m\n");
        fine(self.objects.commit(&NewCommit {
            base: None,
            changes: &changes,
            parents,
            author,
            at_s,
            message,
        }))
    }

    fn push(&self, name: &str, expected: Option<Oid>, new: Option<Oid>) -> Result<PushOutcome, String> {
        let outcomes = self.remote.push(&[update(name, expected, new)], LIMIT);
        same("the number of outcomes", outcomes.len(), 1)?;
        outcomes.into_iter().next().ok_or_else(|| "no outcome".to_owned())
    }

    fn accepted(&self, name: &str, expected: Option<Oid>, new: Option<Oid>) -> Outcome {
        same("a fitting push", self.push(name, expected, new)?, PushOutcome::Accepted)
    }

    fn read(&self, name: &str) -> Result<Option<Oid>, String> {
        let found = fine(self.remote.refs(&[name], LIMIT))?;
        Ok(found.into_iter().find(|(found, _)| found == name).map(|(_, oid)| oid))
    }

    fn fetch(&self, from: &str, oid: Oid, to: &str) -> Outcome {
        fine(self.remote.fetch(&[wanted(from, oid, to)], LIMIT))
    }
}

fn wanted(name: &str, oid: Oid, local: &str) -> Wanted {
    Wanted { name: name.to_owned(), oid, local: local.to_owned() }
}

fn update(name: &str, expected: Option<Oid>, new: Option<Oid>) -> RefUpdate {
    RefUpdate { name: name.to_owned(), expected, new }
}

fn is_refused(outcome: &PushOutcome) -> bool {
    matches!(outcome, PushOutcome::Refused(_))
}

/// What claims, folds and fetches rely on.
pub fn remote(make: &dyn Fn() -> RemotePlace) -> Vec<String> {
    let mut failed = try_all(make, &PUSHES);
    failed.extend(try_all(make, &READS));
    failed
}

const PUSHES: [Statement<RemotePlace>; 9] = [
    ("a push is a compare-and-swap", swaps),
    ("the second of two identical pushes is not accepted", |p| {
        let (one, two) = (p.a.commit("same", &[])?, p.b.commit("same", &[])?);
        same("the commits", one, two)?;
        p.a.accepted(LEASE, None, Some(one))?;
        let outcome = p.b.push(LEASE, None, Some(two))?;
        ensure(outcome != PushOutcome::Accepted, "it was accepted")?;
        let outcome = p.a.push(LEASE, Some(one), Some(one))?;
        ensure(matches!(outcome, PushOutcome::Unknown(_)), &format!("`up to date` was {outcome:?}"))
    }),
    ("each ref of a push has its own fate, in the order of the updates", |p| {
        let one = p.a.commit("one", &[])?;
        let stranger = Oid([3; 20]);
        p.a.accepted(LEASE, None, Some(one))?;
        let outcomes = p.a.remote.push(
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
        let accepted: Vec<bool> = outcomes.iter().map(|outcome| *outcome == PushOutcome::Accepted).collect();
        same("what was accepted", accepted, vec![true, false, false, false, false, true])?;
        ensure(outcomes[1..5].iter().all(is_refused), &format!("{outcomes:?}"))?;
        same("what is there", (p.b.read(LEASE)?, p.b.read("refs/orch/leases/T-3")?), (Some(one), None))
    }),
    ("a ref that is named twice is moved once, and no update at all is refused", |p| {
        let (one, two) = (p.a.commit("one", &[])?, p.a.commit("two", &[])?);
        let outcomes =
            p.a.remote.push(&[update(LEASE, None, Some(one)), update(LEASE, None, Some(two))], LIMIT);
        ensure(outcomes[0] == PushOutcome::Accepted && is_refused(&outcomes[1]), &format!("{outcomes:?}"))?;
        ensure(is_refused(&p.a.push("refs/orch/none", None, None)?), "a deletion of nothing was sent")?;
        same("the outcomes of nothing", p.a.remote.push(&[], LIMIT), Vec::new())
    }),
    ("an atomic push is all or none", |p| {
        let one = p.a.commit("one", &[])?;
        let good = update("refs/heads/work", None, Some(one));
        let stale = update(LEASE, Some(Oid([3; 20])), Some(one));
        let outcomes = p.a.remote.push_atomic(&[good.clone(), stale], LIMIT);
        ensure(outcomes.iter().all(|outcome| *outcome != PushOutcome::Accepted), &format!("{outcomes:?}"))?;
        same("the number of outcomes", outcomes.len(), 2)?;
        same("the one that fits", p.b.read("refs/heads/work")?, None)?;
        let outcomes = p.a.remote.push_atomic(&[good.clone(), update(LEASE, None, Some(one))], LIMIT);
        same("the outcomes", outcomes, vec![PushOutcome::Accepted; 2])?;
        same("what is there", (p.b.read("refs/heads/work")?, p.b.read(LEASE)?), (Some(one), Some(one)))?;
        let outcomes = p.a.remote.push_atomic(&[good.clone(), good], LIMIT);
        ensure(outcomes.iter().all(is_refused), &format!("twice the same ref: {outcomes:?}"))
    }),
    ("an object that is not here is never accepted", |p| {
        let outcome = p.a.push(LEASE, None, Some(Oid([1; 20])))?;
        ensure(outcome != PushOutcome::Accepted, "it was")?;
        same("what is there", p.a.read(LEASE)?, None)
    }),
    ("without time nothing is sent", |p| {
        let one = p.a.commit("one", &[])?;
        let outcomes = p.a.remote.push(&[update(LEASE, None, Some(one))], Duration::ZERO);
        ensure(outcomes.iter().all(is_refused) && outcomes.len() == 1, &format!("{outcomes:?}"))?;
        same("what is there", p.a.read(LEASE)?, None)
    }),
    ("what the remote forbids is refused with its words, beside what it allows", |p| {
        let Some(forbid) = &p.forbid else { return Ok(()) };
        forbid("leases");
        let one = p.a.commit("one", &[])?;
        let outcomes =
            p.a.remote
                .push(&[update(LEASE, None, Some(one)), update("refs/heads/ok", None, Some(one))], LIMIT);
        let told = matches!(&outcomes[0], PushOutcome::Refused(why) if why.contains("rule 7"));
        ensure(told && outcomes[1] == PushOutcome::Accepted, &format!("{outcomes:?}"))?;
        same("what is there", (p.b.read(LEASE)?, p.b.read("refs/heads/ok")?), (None, Some(one)))
    }),
    ("when nobody answers, pushes are unknown and reading is an error of its kind", |p| {
        let Some(vanish) = &p.vanish else { return Ok(()) };
        let one = p.a.commit("one", &[])?;
        p.a.accepted(LEASE, None, Some(one))?;
        let kind = vanish();
        let error = |result: Result<(), orch::world::RemoteError>| result.err().map(|error| error.kind);
        same("a listing", error(p.a.remote.refs(&["refs/"], LIMIT).map(drop)), Some(kind))?;
        let another = Oid::parse(&"1".repeat(40)).ok_or("an object")?;
        same(
            "a fetch",
            error(p.a.remote.fetch(&[wanted(LEASE, another, "refs/orch/x")], LIMIT)),
            Some(kind),
        )?;
        let outcome = p.a.push(LEASE, Some(one), None)?;
        ensure(matches!(outcome, PushOutcome::Unknown(_)), &format!("a push was {outcome:?}"))
    }),
];

fn swaps(p: &RemotePlace) -> Outcome {
    let (one, two) = (p.a.commit("one", &[])?, p.b.commit("two", &[])?);
    p.a.accepted(LEASE, None, Some(one))?;
    for (what, expected, new) in [
        ("a second creation", None, Some(two)),
        ("a swap from another value", Some(two), Some(two)),
        ("a deletion of another value", Some(two), None),
    ] {
        let outcome = p.b.push(LEASE, expected, new)?;
        ensure(is_refused(&outcome), &format!("{what} was {outcome:?}"))?;
        same("what is there", p.a.read(LEASE)?, Some(one))?;
    }
    // Neither is an ancestor of the other: heartbeats replace the tip.
    p.b.accepted(LEASE, Some(one), Some(two))?;
    same("what is there", p.a.read(LEASE)?, Some(two))?;
    // Whoever deletes needs no object of the ref.
    p.a.accepted(LEASE, Some(two), None)?;
    same("what is there", p.b.read(LEASE)?, None)?;
    let outcome = p.a.push(LEASE, Some(two), None)?;
    ensure(outcome != PushOutcome::Accepted, "it was deleted twice")?;
    p.a.accepted(LEASE, None, Some(one))
}

const READS: [Statement<RemotePlace>; 6] = [
    ("a listing shows what was pushed, to everybody, at once", |p| {
        let mut before = None;
        for n in 0..6 {
            let (from, to) = if n % 2 == 0 { (&p.a, &p.b) } else { (&p.b, &p.a) };
            let new = from.commit(&n.to_string(), &[])?;
            from.accepted(LEASE, before, Some(new))?;
            same("what is there", (from.read(LEASE)?, to.read(LEASE)?), (Some(new), Some(new)))?;
            before = Some(new);
        }
        Ok(())
    }),
    ("a listing holds the refs below the prefixes and no others, sorted, each once", |p| {
        let one = p.a.commit("one", &[])?;
        let names = [
            "refs/heads/main",
            "refs/heads/orch-state",
            "refs/heads/refs/orch/leases/x",
            "refs/orch/leases/A",
            "refs/orch/leases/B",
        ];
        for name in names {
            p.a.accepted(name, None, Some(one))?;
        }
        let list = |prefixes: &[&str]| -> Result<Vec<String>, String> {
            Ok(fine(p.b.remote.refs(prefixes, LIMIT))?.into_iter().map(|(name, _)| name).collect())
        };
        for (prefixes, wanted) in [
            (&["refs/orch/leases/"][..], &[3, 4][..]),
            (&["refs/orch/leases/", "refs/heads/orch-state"], &[1, 3, 4]),
            (&["refs/orch/leases/", "refs/orch/"], &[3, 4]),
            (&["refs/heads/orch-state"], &[1]),
            (&["refs/none/"], &[]),
            (&[], &[]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|at: &usize| names[*at].to_owned()).collect();
            same(&format!("{prefixes:?}"), list(prefixes)?, wanted)?;
        }
        Ok(())
    }),
    ("a fetch brings a ref with all its objects and sets the local one, whatever it was", |p| {
        let root = p.a.commit("root", &[])?;
        let (one, two) = (p.a.commit("one", &[root])?, p.a.commit("two", &[])?);
        let local = "refs/orch/remote/leases/T-1";
        p.a.accepted(LEASE, None, Some(one))?;
        p.b.fetch(LEASE, one, local)?;
        same("the local ref", fine(p.b.objects.get_ref(local))?, Some(one))?;
        ensure(p.b.objects.has(one) && p.b.objects.has(root), "the history is not here")?;
        let task = fine(p.b.objects.entry(one, "task"))?.ok_or("its tree is not here")?;
        same("its file", fine(p.b.objects.blob(task.oid))?, b"one".to_vec())?;
        p.a.accepted(LEASE, Some(one), Some(two))?;
        p.b.fetch(LEASE, two, local)?;
        same("the local ref then", fine(p.b.objects.get_ref(local))?, Some(two))?;
        let names = fine(p.b.objects.refs("refs/"))?;
        same("all local refs", names, vec![(local.to_owned(), two)])
    }),
    ("a fetch brings what a listing showed, whatever became of the refs", |p| {
        let (one, two) = (p.a.commit("one", &[])?, p.a.commit("two", &[])?);
        let other = "refs/orch/leases/T-2";
        p.a.accepted(LEASE, None, Some(one))?;
        p.a.accepted(other, None, Some(one))?;
        p.a.accepted(LEASE, Some(one), Some(two))?;
        p.a.accepted(other, Some(one), None)?;
        fine(
            p.b.remote.fetch(&[wanted(LEASE, one, "refs/orch/x"), wanted(other, one, "refs/orch/y")], LIMIT),
        )?;
        let local = |name: &str| fine(p.b.objects.get_ref(name));
        same("the local refs", (local("refs/orch/x")?, local("refs/orch/y")?), (Some(one), Some(one)))?;
        ensure(p.b.objects.has(one), "it is not here")
    }),
    ("a fetch of what is not there fails as a whole, and one of nothing succeeds", |p| {
        let (one, unknown) = (p.a.commit("one", &[])?, p.a.commit("unknown", &[])?);
        p.a.accepted(LEASE, None, Some(one))?;
        let both =
            [wanted("refs/orch/leases/none", unknown, "refs/orch/x"), wanted(LEASE, one, "refs/orch/y")];
        let error = p.b.remote.fetch(&both, LIMIT).err().map(|error| error.kind);
        same("the kind of error", error, Some(RemoteFailure::MissingObject))?;
        same("the other ref", fine(p.b.objects.get_ref("refs/orch/y"))?, None)?;
        let bad = [wanted("x:y", one, "refs/z")];
        fails("a fetch of what is no name", &p.b.remote.fetch(&bad, LIMIT))?;
        fine(p.b.remote.fetch(&[], LIMIT))
    }),
    ("the URL is told without credentials", |p| {
        let url = p.a.remote.url();
        ensure(!url.is_empty() && !url.contains('@'), &format!("it is {url:?}"))?;
        same("the other machine's", p.b.remote.url(), url)
    }),
];
