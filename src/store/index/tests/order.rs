//! Whether what a use names is all that matters to it: whatever can be done in either order is done in either order.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::store::layout::{key_of, shard_of_key};
use crate::store::place::Month;

thread_local!(static USES: RefCell<Vec<Use>> = const { RefCell::new(Vec::new()) });

type Act = (&'static str, fn(&mut Index) -> String);

fn told<T: std::fmt::Debug>(answer: Result<T, IndexError>) -> String {
    format!("{:?}", answer.unwrap())
}

fn july() -> Month {
    Month::parse("2026-07").unwrap()
}

fn with(name: &str, change: impl FnOnce(&mut Facts)) -> Row {
    let mut facts = facts(name);
    change(&mut facts);
    row(name, facts)
}

/// Three tasks, of which one needs another, one in the archive, notes and folders; and so many that wake at 5,000.
fn full(sleepers: u32) -> MemoryIndex {
    let memory = MemoryIndex::new().unwrap();
    let mut index = Index::open_in_memory(&memory, "boot").unwrap();
    let needs_a = with("B-1", |b| {
        b.needs = vec![id("A-1")];
        b.parent = Some(id("A-1"));
        b.idempotency_key = Some("k".to_owned());
    });
    let archived = Row {
        place: Place::Archive(july()),
        ..with("D-1", |d| {
            d.status = Status::Done;
            d.epoch = 4;
        })
    };
    index.put(&[row("A-1", facts("A-1")), needs_a, archived]).unwrap();
    let asleep: Vec<Row> =
        (0..sleepers).map(|n| with(&format!("S-{n}"), |s| s.not_before = Some(Timestamp(5_000)))).collect();
    index.put(&asleep).unwrap();
    index.set_meta("x", "1").unwrap();
    index.mark("m ", &["A-1"]).unwrap();
    let stamp = DirStamp { mtime_ns: 1, ctime_ns: 1, inode: 1 };
    let shard = shard_of_key(key_of(&id("A-1")));
    index.put_dir_stamps(&[(Dir::Shard(shard), stamp), (Dir::Month(july()), stamp)], "looked", "1").unwrap();
    memory
}

fn pick_at(index: &mut Index, now: i64) -> String {
    picked(index, now, 3).join(" ")
}

const QUERIES: &[Act] = &[
    ("get", |i| told(i.get(&id("A-1")))),
    ("get another", |i| told(i.get(&id("B-1")))),
    ("place", |i| told(i.place(&id("A-1")))),
    ("uncommitted", |i| told(i.uncommitted(9))),
    ("in_progress", |i| told(i.in_progress())),
    ("holding_machines", |i| told(i.holding_machines())),
    ("problems", |i| told(i.problems())),
    ("with_key", |i| told(i.with_key("k"))),
    ("children", |i| told(i.children(&id("A-1")))),
    ("counts", |i| told(i.counts())),
    ("max_epoch", |i| told(i.max_epoch(&id("D-1")))),
    ("ids", |i| told(i.ids().map(BTreeSet::from_iter))),
    ("meta", |i| told(i.meta("x"))),
    // The tokens are random.
    ("marked", |i| {
        told(i.marked("m ").map(|marks| marks.into_iter().map(|mark| mark.0).collect::<Vec<_>>()))
    }),
    ("dependants", |i| told(i.dependants(&id("A-1")))),
    ("needs", |i| told(i.needs(&id("B-1")))),
    ("doomed", |i| told(i.doomed(9))),
    ("edges", |i| told(i.edges())),
    ("path", |i| told(i.path(&[id("B-1")], &id("A-1")))),
    ("list", |i| told(i.list(&Filter { limit: Some(5), ..Filter::default() }))),
    ("list ready", |i| {
        let ready = Some((Timestamp(4_000), Duration::from_secs(3600)));
        told(i.list(&Filter { ready, ..Filter::default() }))
    }),
    ("pick", |i| pick_at(i, 4_000)),
    ("pick and wake", |i| pick_at(i, 6_000)),
    ("knows_more_than", |i| told(i.knows_more_than(3))),
    ("all_known", |i| told(i.all_known())),
    ("known_in", |i| told(i.known_in(shard_of_key(key_of(&id("A-1")))))),
    ("known_of_month", |i| told(i.known_of_month(july()))),
    ("months", |i| told(i.months())),
    ("known_of", |i| told(i.known_of(&[id("A-1"), id("C-1")]))),
    ("dir_stamps", |i| told(i.dir_stamps())),
    ("briefs", |i| told(i.briefs())),
    ("count_uncommitted", |i| told(i.count_uncommitted())),
];

const CHANGES: &[Act] = &[
    ("put", |i| told(i.put(&[with("A-1", |a| a.status = Status::Cancelled)]))),
    ("put another", |i| told(i.put(&[with("B-1", |b| b.epoch = 9)]))),
    ("archive", |i| told(i.put(&[Row { place: Place::Archive(july()), ..row("A-1", facts("A-1")) }]))),
    ("put a new one", |i| told(i.put(&[with("C-1", |c| c.needs = vec![id("A-1"), id("B-1")])]))),
    ("put_new", |i| told(i.put_new([row("E-1", facts("E-1"))].iter()))),
    ("remove", |i| told(i.remove(&[id("B-1")]))),
    ("set_bases", |i| told(i.set_bases(&[(id("A-1"), Some(Oid([3; 20])))]))),
    ("set_meta", |i| told(i.set_meta("x", "2"))),
    ("mark", |i| told(i.mark("m ", &["B-1"]))),
    ("unmark", |i| {
        let marks =
            i.unseen(|c| c.query_row("SELECT value FROM meta WHERE name = 'm A-1'", [], |r| r.get(0)));
        let token: String = marks.unwrap_or_default();
        told(i.unmark("m ", &[("A-1", &token)]))
    }),
    ("put_dir_stamps", |i| {
        let stamp = DirStamp { mtime_ns: 2, ctime_ns: 2, inode: 2 };
        told(i.put_dir_stamps(&[(Dir::Tasks, stamp)], "looked", "2"))
    }),
];

/// Everything in it, but for random tokens and the order of the rows.
fn content(memory: &MemoryIndex) -> BTreeSet<String> {
    let index = Index::open_in_memory(memory, "boot").unwrap();
    let all = index.unseen(|c| {
        let mut found = BTreeSet::new();
        for table in ["meta", "dir", "task", "doc", "need"] {
            let mut statement = c.prepare(&format!("SELECT * FROM {table}"))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let mark = table == "meta" && row.get::<_, String>(0)?.starts_with("m ");
                let values: rusqlite::Result<Vec<rusqlite::types::Value>> =
                    (0..if mark { 1 } else { columns }).map(|at| row.get(at)).collect();
                found.insert(format!("{table} {:?}", values?));
            }
        }
        Ok(found)
    });
    all.unwrap()
}

/// What both are told, the first of the list first, and what is there afterwards.
fn done(full: &MemoryIndex, first: Act, second: Act) -> (String, String, BTreeSet<String>) {
    let memory = full.fork().unwrap();
    let mut index = Index::open_in_memory(&memory, "boot").unwrap();
    let (one, two) = (first.1(&mut index), second.1(&mut index));
    (one, two, content(&memory))
}

fn uses(full: &MemoryIndex, act: Act) -> Vec<Use> {
    let memory =
        full.fork().unwrap().with_before_use(|used| USES.with_borrow_mut(|uses| uses.push(used.clone())));
    let mut index = Index::open_in_memory(&memory, "boot").unwrap();
    act.1(&mut index);
    let uses = USES.take();
    assert!(!uses.is_empty(), "{} is not announced", act.0);
    uses
}

/// One of them writes what the other names, or a part in a set that the other names.
fn meet(one: &Use, other: &Use) -> bool {
    let reaches = |writer: &Use, other: &Use| {
        let touched = writer.parts.iter().cloned().chain(writer.parts.iter().filter_map(Part::set));
        writer.writes && touched.into_iter().any(|part| other.parts.contains(&part))
    };
    reaches(one, other) || reaches(other, one)
}

#[test]
fn uses_that_have_no_part_in_common_can_be_done_in_either_order() {
    let (small, large) = (full(1), full(300));
    let (mut apart, mut noticed) = (0, 0);
    for second in QUERIES.iter().chain(CHANGES) {
        let full = if second.0 == "pick and wake" { &large } else { &small };
        for first in CHANGES.iter().filter(|first| first.0 != second.0) {
            let (one, other) = (done(full, *first, *second), done(full, *second, *first));
            let same = (&one.0, &one.1, &one.2) == (&other.1, &other.0, &other.2);
            noticed += u32::from(!same);
            let (theirs, ours) = (uses(full, *first), uses(full, *second));
            if !theirs.iter().any(|one| ours.iter().any(|other| meet(one, other))) {
                apart += 1;
                assert!(same, "{} and {} name nothing in common: {theirs:?} {ours:?}", first.0, second.0);
            }
        }
    }
    assert!(apart > 100, "most pairs have nothing to do with each other: {apart}");
    assert!(noticed > 60, "where the order matters, it shows: {noticed}");
}
