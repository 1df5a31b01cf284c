//! Tests of the index: against naive models, with many writers, and with damaged files.

mod order;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::protocol::id::TaskId;
use crate::protocol::task::{OnNeedFailed, Priority, Status};
use crate::protocol::time::Timestamp;
use crate::store::layout::Layout;
use crate::store::place::Place;
use crate::store::test_disk::TestDisk;
use crate::world::{Oid, Stat};

fn id(text: &str) -> TaskId {
    TaskId::parse(text).unwrap()
}

fn facts(name: &str) -> Facts {
    Facts {
        status: Status::Pending,
        priority: Priority::P2,
        on_need_failed: OnNeedFailed::Block,
        due_at: None,
        created_at: Timestamp(1_000),
        updated_at: Timestamp(1_000),
        not_before: None,
        epoch: 0,
        beat: 0,
        attempt: 0,
        holder: None,
        idempotency_key: None,
        title: format!("title of {name}"),
        tags: Vec::new(),
        needs: Vec::new(),
        parent: None,
        doc: format!("{{\"id\":\"{name}\",\"description\":\"Text of {name}\"}}"),
        history: format!("history of {name}"),
    }
}

fn row(name: &str, facts: Facts) -> Row {
    let stat = Stat { size: 5, mtime_ns: 6, ctime_ns: 7, inode: u64::MAX - 8, ..Stat::default() };
    Row {
        id: id(name),
        stat,
        oid: Oid([3; 20]),
        base: None,
        place: Place::Tasks,
        facts: Some(facts),
        problem: None,
    }
}

fn memory() -> Index {
    Index::open_in_memory(&MemoryIndex::new().unwrap(), "boot").unwrap()
}

fn picked(index: &mut Index, now: i64, limit: usize) -> Vec<String> {
    let pick = Pick { now: Timestamp(now), ageing: Duration::from_secs(3600), limit, skip: &[] };
    index.pick(&pick).unwrap().into_iter().map(|c| c.id.to_string()).collect()
}

#[test]
fn new_rows_never_replace_known_ones() {
    let mut index = memory();
    let known = Row { base: Some(Oid([9; 20])), ..row("A-1", facts("A-1")) };
    index.put(std::slice::from_ref(&known)).unwrap();
    index.put_new([row("a-1", facts("a-1")), row("B-1", facts("B-1"))].iter()).unwrap();
    assert_eq!(index.get(&id("A-1")).unwrap(), Some(known));
    assert_eq!(index.get(&id("B-1")).unwrap(), Some(row("B-1", facts("B-1"))));
}

#[test]
fn a_row_comes_back_as_it_was_put() {
    let mut index = memory();
    let mut full = facts("A-1");
    full.due_at = Some(Timestamp(-5));
    full.not_before = Some(Timestamp(9));
    full.status = Status::InProgress;
    full.holder = Some(Holder { session: "agent:1".into(), machine: "m-1".into() });
    (full.epoch, full.beat, full.attempt) = (7, 3, 2);
    full.tags = vec!["a b".into(), "c".into()];
    full.needs = vec![id("B-1"), id("C-1")];
    full.parent = Some(id("P-1"));
    full.idempotency_key = Some("key".into());
    let mut whole = row("A-1", full);
    whole.base = Some(Oid([9; 20]));
    index.put(std::slice::from_ref(&whole)).unwrap();
    assert_eq!(index.get(&id("a-1")).unwrap(), Some(whole.clone()));
    assert_eq!(index.get(&id("a-2")).unwrap(), None);
    assert_eq!(index.in_progress().unwrap(), [whole.clone()]);
    assert_eq!(index.with_key("key").unwrap(), [whole.clone()]);
    assert_eq!(index.children(&id("p-1")).unwrap(), [whole.clone()]);
    assert_eq!(index.uncommitted(10).unwrap(), [whole.id.clone()]);
    index.set_bases(&[(id("A-1"), Some(whole.oid))]).unwrap();
    assert_eq!(index.uncommitted(10).unwrap(), []);
    assert_eq!(index.dependants(&id("B-1")).unwrap(), [id("A-1")]);
    index.remove(&[id("A-1")]).unwrap();
    assert_eq!(index.get(&id("A-1")).unwrap(), None);
    assert_eq!(index.dependants(&id("B-1")).unwrap(), []);
}

#[test]
fn a_quarantined_file_keeps_its_last_facts_and_leaves_the_queue() {
    let mut index = memory();
    let good = row("A-1", facts("A-1"));
    let problem = Problem { text: "priority: P9 is none".into(), line: Some(4), column: Some(11) };
    index.put(std::slice::from_ref(&good)).unwrap();
    let bad = Row { facts: None, oid: Oid([4; 20]), problem: Some(problem.clone()), ..good.clone() };
    let strange = Row { id: id("B-1"), ..bad.clone() };
    index.put(&[bad.clone(), strange.clone()]).unwrap();
    let known = Row { facts: good.facts.clone(), ..bad };
    assert_eq!(index.problems().unwrap(), [known, strange]);
    assert_eq!(picked(&mut index, 5_000, 9), Vec::<String>::new());
    assert_eq!(index.list(&Filter::default()).unwrap(), []);
    assert_eq!(index.uncommitted(9).unwrap(), []);
    assert_eq!(index.counts().unwrap(), Counts { problems: 2, ..Counts::default() });
    index.put(std::slice::from_ref(&good)).unwrap();
    assert_eq!(picked(&mut index, 5_000, 9), ["A-1"]);
    assert_eq!(index.get(&id("A-1")).unwrap(), Some(good));
}

#[test]
fn the_highest_epoch_survives_an_older_file() {
    let mut index = memory();
    for epoch in [3, 1] {
        index.put(&[row("A-1", Facts { epoch, ..facts("A-1") })]).unwrap();
    }
    assert_eq!(index.max_epoch(&id("A-1")).unwrap(), 3);
    assert_eq!(index.get(&id("A-1")).unwrap().unwrap().facts.unwrap().epoch, 1);
    assert_eq!(index.max_epoch(&id("B-1")).unwrap(), 0);
}

#[test]
fn tasks_rise_with_time_but_never_above_the_top() {
    let mut index = memory();
    let hour = 3_600_000;
    let at = |priority, created| Facts { priority, created_at: Timestamp(created), ..facts("x") };
    index
        .put(&[
            row("young-P1", at(Priority::P1, 9 * hour)),
            row("old-P3", at(Priority::P3, 0)),
            row("new-P0", at(Priority::P0, 9 * hour + 5)),
            row("mid-P2", at(Priority::P2, 8 * hour + 7)),
        ])
        .unwrap();
    // At ten hours the P1 has just reached P0, where the P3 has been for long; the P2 has risen to P1.
    assert_eq!(picked(&mut index, 10 * hour, 9), ["old-P3", "young-P1", "new-P0", "mid-P2"]);
    assert_eq!(picked(&mut index, 10 * hour - 1, 9), ["old-P3", "new-P0", "mid-P2", "young-P1"]);
    assert_eq!(picked(&mut index, 10 * hour, 1), ["old-P3"]);
    let none = Pick { now: Timestamp(10 * hour), ageing: Duration::ZERO, limit: 9, skip: &[id("new-P0")] };
    let order: Vec<_> = index.pick(&none).unwrap().into_iter().map(|c| c.id.to_string()).collect();
    assert_eq!(order, ["young-P1", "mid-P2", "old-P3"]);
}

#[test]
fn many_sleepers_wake_at_once_and_go_back_to_sleep_with_the_clock() {
    let mut index = memory();
    let rows: Vec<Row> = (0..600)
        .map(|n| row(&format!("T-{n}"), Facts { not_before: Some(Timestamp(50_000)), ..facts("x") }))
        .collect();
    index.put(&rows).unwrap();
    assert_eq!(picked(&mut index, 49_999, 9), Vec::<String>::new());
    for _ in 0..2 {
        assert_eq!(picked(&mut index, 50_000, 1_000).len(), 600);
    }
    assert_eq!(picked(&mut index, 49_999, 9), Vec::<String>::new());
}

#[test]
fn lists_filter_search_and_order() {
    let mut index = memory();
    let held = Facts {
        status: Status::InProgress,
        holder: Some(Holder { session: "s-1".into(), machine: "m".into() }),
        ..facts("held")
    };
    let tagged = Facts { priority: Priority::P1, tags: vec!["docs".into(), "x".into()], ..facts("tagged") };
    let korean = Facts { title: "안녕 ÄRGER".into(), doc: "{\"description\":null}".into(), ..facts("k") };
    let blocked = Facts { needs: vec![id("held")], ..facts("needy") };
    index.put(&[row("done", Facts { status: Status::Done, ..facts("done") }), row("held", held)]).unwrap();
    index.put(&[row("tagged", tagged), row("korean", korean), row("needy", blocked)]).unwrap();
    let mut list = |filter: Filter| -> Vec<String> {
        index.list(&filter).unwrap().into_iter().map(|entry| entry.id.to_string()).collect()
    };
    let all = Filter::default();
    assert_eq!(list(all.clone()), ["tagged", "korean", "needy", "held", "done"]);
    assert_eq!(list(Filter { limit: Some(2), ..all.clone() }), ["tagged", "korean"]);
    assert_eq!(
        list(Filter { status: vec![Status::Done, Status::InProgress], ..all.clone() }),
        ["held", "done"]
    );
    assert_eq!(list(Filter { priority: vec![Priority::P1], ..all.clone() }), ["tagged"]);
    assert_eq!(list(Filter { owner: Some("s-1".into()), ..all.clone() }), ["held"]);
    assert_eq!(list(Filter { tag: vec!["x".into(), "docs".into()], ..all.clone() }), ["tagged"]);
    assert_eq!(list(Filter { tag: vec!["x".into(), "y".into()], ..all.clone() }), Vec::<String>::new());
    for (text, found) in
        [("ärger", "korean"), ("안녕", "korean"), ("TEXT OF DONE", "done"), ("nEEd", "needy")]
    {
        assert_eq!(list(Filter { search: Some(text.into()), ..all.clone() }), [found], "{text}");
    }
    let ready = Filter { ready: Some((Timestamp(2_000), Duration::ZERO)), ..all };
    assert_eq!(list(ready.clone()), ["tagged", "korean"]);
    assert_eq!(list(Filter { limit: Some(1), ..ready.clone() }), ["tagged"]);
    assert_eq!(list(Filter { search: Some("안".into()), ..ready }), ["korean"]);
}

#[test]
fn a_cycle_is_named_before_it_is_closed() {
    let mut index = memory();
    let chain = [("A", vec![]), ("B", vec!["A"]), ("C", vec!["B", "X"]), ("D", vec!["C", "A"])];
    for (name, needs) in &chain {
        let needs = needs.iter().map(|need| id(need)).collect();
        index.put(&[row(name, Facts { needs, ..facts(name) })]).unwrap();
    }
    // A is to need D: from D there is a way to A already.
    let way = index.path(&[id("D")], &id("a")).unwrap().unwrap();
    assert_eq!((way.first(), way.last()), (Some(&id("D")), Some(&id("A"))));
    assert_eq!(index.path(&[id("A"), id("B")], &id("D")).unwrap(), None);
    assert_eq!(index.path(&[id("A")], &id("A")).unwrap(), Some(vec![id("A")]));
    assert_eq!(index.edges().unwrap().len(), 3);
    assert_eq!(index.needs(&id("C")).unwrap(), [(id("B"), Some(Status::Pending)), (id("X"), None)]);
}

fn arb_status() -> impl Strategy<Value = Status> {
    prop_oneof![6 => Just(Status::Pending), 1 => prop::sample::select(Status::ALL.to_vec())]
}

fn arb_priority() -> impl Strategy<Value = Priority> {
    prop::sample::select(vec![Priority::P0, Priority::P1, Priority::P2, Priority::P3])
}

prop_compose! {
    fn arb_task()(
        status in arb_status(),
        priority in arb_priority(),
        due in prop::option::of(0i64..6),
        created in 0i64..40,
        start in prop::option::of(0i64..60),
        key in prop::option::weighted(0.2, 0u8..4),
        onf in prop::sample::select(vec![OnNeedFailed::Block, OnNeedFailed::Skip, OnNeedFailed::Run]),
        needs in prop::collection::btree_set(0u8..24, 0..4),
    ) -> Facts {
        Facts {
            status, priority,
            on_need_failed: onf,
            due_at: due.map(Timestamp),
            created_at: Timestamp(created),
            not_before: start.map(Timestamp),
            idempotency_key: key.map(|k| k.to_string()),
            needs: needs.into_iter().map(|n| id(&format!("T-{n}"))).collect(),
            ..facts("x")
        }
    }
}

/// The queue by the words of the specification, over a plain map.
fn naive(tasks: &BTreeMap<u8, Facts>, now: i64, ageing: i64) -> Vec<String> {
    let satisfied = |need: &TaskId, onf: OnNeedFailed| {
        let number: u8 = need.as_str()[2..].parse().unwrap();
        tasks.get(&number).is_some_and(|t| match t.status {
            Status::Done => true,
            Status::Failed | Status::Cancelled => onf == OnNeedFailed::Run,
            _ => false,
        })
    };
    let done_twin = |key: &str| {
        tasks.values().any(|t| t.status == Status::Done && t.idempotency_key.as_deref() == Some(key))
    };
    let mut ready: Vec<_> = tasks
        .iter()
        .filter(|(_, t)| t.status == Status::Pending)
        .filter(|(_, t)| t.needs.iter().all(|need| satisfied(need, t.on_need_failed)))
        .filter(|(_, t)| t.not_before.is_none_or(|at| at.0 <= now))
        .filter(|(_, t)| !t.idempotency_key.as_deref().is_some_and(done_twin))
        .map(|(number, t)| {
            let risen = if ageing == 0 { 0 } else { (now - t.created_at.0).max(0) / ageing };
            let level = (t.priority as i64 - risen).max(0);
            (level, t.due_at.map_or(i64::MAX, |at| at.0), t.created_at, format!("T-{number}"))
        })
        .collect();
    ready.sort();
    ready.into_iter().map(|(_, _, _, name)| name).collect()
}

fn check_counters(index: &Index, tasks: &BTreeMap<u8, Facts>) -> Result<(), TestCaseError> {
    for (number, task) in tasks {
        let (mut unmet, mut doomed) = (0, 0);
        for need in &task.needs {
            let status = tasks.get(&need.as_str()[2..].parse().unwrap()).map(|t| t.status);
            let failed = matches!(status, Some(Status::Failed | Status::Cancelled));
            let run = task.on_need_failed == OnNeedFailed::Run;
            unmet += i64::from(!(status == Some(Status::Done) || (failed && run)));
            doomed += i64::from(failed && !run);
        }
        let counted: (i64, i64) = index
            .unseen(|c| {
                c.query_row("SELECT unmet, doomed FROM task WHERE id = ?1", [format!("T-{number}")], |r| {
                    Ok((r.get(0)?, r.get(1)?))
                })
            })
            .unwrap();
        prop_assert_eq!(counted, (unmet, doomed), "T-{}", number);
    }
    let doomed = index.doomed(99).unwrap();
    prop_assert!(doomed.iter().all(|row| row.facts.as_ref().is_some_and(|f| f.status == Status::Pending)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Needs may name tasks that do not exist, that come later, or themselves; rows come and go in batches.
    #[test]
    fn order_and_counters_equal_the_naive_ones(
        batches in prop::collection::vec(
            (prop::collection::vec((0u8..24, arb_task()), 1..8), prop::collection::vec(0u8..24, 0..2)),
            1..8,
        ),
        moments in prop::collection::vec((0i64..80, 0i64..30, 1usize..30), 3),
    ) {
        let mut index = memory();
        let mut tasks = BTreeMap::new();
        for (puts, removes) in batches {
            let rows: Vec<Row> = puts.iter().map(|(n, f)| row(&format!("T-{n}"), f.clone())).collect();
            // The same task twice in one batch: the later row counts.
            index.put(&rows).unwrap();
            tasks.extend(puts);
            index.remove(&removes.iter().map(|n| id(&format!("T-{n}"))).collect::<Vec<_>>()).unwrap();
            for number in removes {
                tasks.remove(&number);
            }
            check_counters(&index, &tasks)?;
        }
        for (now, ageing, limit) in moments {
            let expected = naive(&tasks, now, ageing);
            let skip: Vec<TaskId> = expected.iter().step_by(3).map(|name| id(name)).collect();
            let span = Duration::from_millis(ageing as u64);
            for skip in [&[][..], &skip] {
                let pick = Pick { now: Timestamp(now), ageing: span, limit, skip };
                let order: Vec<String> =
                    index.pick(&pick).unwrap().into_iter().map(|c| c.id.to_string()).collect();
                let expected: Vec<String> =
                    expected.iter().filter(|n| !skip.contains(&id(n))).take(limit).cloned().collect();
                prop_assert_eq!(order, expected, "now {} ageing {} limit {}", now, ageing, limit);
            }
        }
    }
}

/// Enough dated and risen tasks that windows are walked in queue order, not sorted in memory.
#[test]
fn large_windows_are_in_order_too() {
    let mut index = memory();
    let mut tasks = Vec::new();
    let mut state = 7u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below) as i64
    };
    for n in 0..3_000 {
        let due = (next(3) > 0).then(|| Timestamp(next(500)));
        let priority = [Priority::P0, Priority::P1, Priority::P2, Priority::P3][next(4) as usize];
        let created_at = Timestamp(next(1_000));
        tasks.push((n, Facts { due_at: due, priority, created_at, ..facts("x") }));
    }
    let rows: Vec<Row> = tasks.iter().map(|(n, f)| row(&format!("T-{n}"), f.clone())).collect();
    index.put(&rows).unwrap();
    for (now, ageing) in [(1_000, 400), (1_000, 0), (1_000, 2_000), (700, 300)] {
        let mut expected: Vec<_> = tasks
            .iter()
            .map(|(n, t)| {
                let risen = if ageing == 0 { 0 } else { (now - t.created_at.0).max(0) / ageing };
                let level = (t.priority as i64 - risen).max(0);
                (level, t.due_at.map_or(i64::MAX, |at| at.0), t.created_at, format!("T-{n}"))
            })
            .collect();
        expected.sort();
        for limit in [1, 300, 2_000, 4_000] {
            let ageing = Duration::from_millis(ageing as u64);
            let pick = Pick { now: Timestamp(now), ageing, limit, skip: &[] };
            let order: Vec<_> = index.pick(&pick).unwrap().into_iter().map(|c| c.id.to_string()).collect();
            let expected: Vec<_> = expected.iter().take(limit).map(|t| t.3.clone()).collect();
            assert_eq!(order, expected, "now {now}");
        }
    }
}

#[test]
fn another_boot_or_damage_gives_an_empty_index() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let fill = |boot: &str| {
        let mut index = Index::open(&TestDisk, &layout, boot).unwrap();
        let rows: Vec<Row> = (0..200).map(|n| row(&format!("T-{n}"), facts("x"))).collect();
        index.put(&rows).unwrap();
    };
    let count = |boot: &str| Index::open(&TestDisk, &layout, boot).unwrap().ids().unwrap().len();
    fill("one");
    assert_eq!(count("one"), 200);
    assert_eq!(count("two"), 0);
    fill("two");
    let whole = fs::read(layout.index()).unwrap();
    let garbage = vec![0x55u8; whole.len()];
    for bytes in [&b""[..], b"not a database at all", &garbage, &whole[..100], &whole[..5000]] {
        fs::write(layout.index(), bytes).unwrap();
        let index = Index::open(&TestDisk, &layout, "two");
        let usable = index.and_then(|mut index| {
            index.put(&[row("A-1", facts("A-1"))])?;
            index.get(&id("A-1"))
        });
        match usable {
            Ok(found) => assert!(found.is_some()),
            // Damage further in shows when it is met; then it is built anew on request.
            Err(e) => {
                assert!(e.is_damaged(), "{e}");
                let mut index = Index::rebuild(&TestDisk, &layout, "two").unwrap();
                index.put(&[row("A-1", facts("A-1"))]).unwrap();
            }
        }
        assert!(Index::open(&TestDisk, &layout, "two").unwrap().get(&id("A-1")).unwrap().is_some());
        fs::write(layout.index(), &whole).unwrap();
    }
    fs::remove_file(layout.index()).unwrap();
    assert_eq!(count("two"), 0);
}

/// An index in memory is one for all who open it, also while one of them makes it anew.
#[test]
fn an_index_in_memory_is_shared_by_all_who_open_it() {
    let memory = MemoryIndex::new().unwrap();
    let mut one = Index::open_in_memory(&memory, "one").unwrap();
    one.put(&[row("A-1", facts("A-1"))]).unwrap();
    let two = Index::open_in_memory(&memory.clone(), "one").unwrap();
    assert!(two.get(&id("A-1")).unwrap().is_some());
    let strange = Index::open_in_memory(&MemoryIndex::new().unwrap(), "one").unwrap();
    assert!(strange.get(&id("A-1")).unwrap().is_none());
    Index::rebuild_in_memory(&memory, "one").unwrap();
    assert!(two.get(&id("A-1")).unwrap().is_none());
    one.put(&[row("A-2", facts("A-2"))]).unwrap();
    assert!(two.get(&id("A-2")).unwrap().is_some());
    drop((one, two));
    assert!(Index::open_in_memory(&memory, "one").unwrap().get(&id("A-2")).unwrap().is_some());
    assert!(Index::open_in_memory(&memory, "two").unwrap().get(&id("A-2")).unwrap().is_none());
}

/// A copy has what was there and goes its own way; each use of it is announced, reading and writing told apart.
#[test]
fn an_index_in_memory_is_copied_and_announces_its_uses() {
    use std::cell::Cell;
    thread_local!(static USES: Cell<(u32, u32)> = const { Cell::new((0, 0)) });
    let memory = MemoryIndex::new().unwrap();
    let mut one = Index::open_in_memory(&memory, "one").unwrap();
    one.put(&[row("A-1", facts("A-1"))]).unwrap();
    let copy = memory.fork().unwrap().with_before_use(|used| {
        let (reads, wrote) = USES.get();
        USES.set((reads + u32::from(!used.writes), wrote + u32::from(used.writes)));
    });
    let mut two = Index::open_in_memory(&copy, "one").unwrap();
    assert!(two.get(&id("A-1")).unwrap().is_some());
    assert_eq!(USES.get(), (1, 0));
    two.put(&[row("A-2", facts("A-2"))]).unwrap();
    assert_eq!(USES.get(), (1, 1));
    assert!(one.get(&id("A-2")).unwrap().is_none() && two.get(&id("A-2")).unwrap().is_some());
}

/// Each page in turn is overwritten: every operation either works or says that the index is damaged, and
/// building it anew always works.
#[test]
fn a_damaged_page_is_reported_as_damage_or_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let mut index = Index::open(&TestDisk, &layout, "b").unwrap();
    let rows: Vec<Row> = (0..100).map(|n| row(&format!("T-{n}"), facts("x"))).collect();
    index.put(&rows).unwrap();
    drop(index);
    let whole = fs::read(layout.index()).unwrap();
    let mut noticed = 0;
    for page in 0..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xa5);
        fs::write(layout.index(), &bytes).unwrap();
        let Ok(mut index) = Index::open(&TestDisk, &layout, "b") else { panic!("page {page}") };
        let outcome = index.put(&rows).and_then(|()| index.list(&Filter::default())).map(|found| found.len());
        match outcome {
            Ok(found) => assert_eq!(found, 100, "page {page}"),
            Err(e) => {
                assert!(e.is_damaged(), "page {page}: {e}");
                noticed += 1;
                drop(index);
                let mut index = Index::rebuild(&TestDisk, &layout, "b").unwrap();
                index.put(&rows).unwrap();
                assert_eq!(index.list(&Filter::default()).unwrap().len(), 100);
            }
        }
    }
    assert!(noticed > 3, "{noticed}");
}

#[test]
fn eight_writers_with_short_lives_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let layout = &layout;
            scope.spawn(move || {
                for turn in 0..25 {
                    // Opened anew each time, as by a process; the first ones race to set it up.
                    let mut index = Index::open(&TestDisk, layout, "boot").unwrap();
                    let name = format!("T-{writer}-{turn}");
                    let needs = vec![id(&format!("T-{}-{turn}", (writer + 1) % 8))];
                    index.put(&[row(&name, Facts { needs, ..facts(&name) })]).unwrap();
                    let done = Facts { status: Status::Done, ..facts(&name) };
                    index.put(&[row(&format!("D-{writer}-{turn}"), done)]).unwrap();
                    assert!(index.get(&id(&name)).unwrap().is_some());
                }
            });
        }
    });
    let mut index = Index::open(&TestDisk, &layout, "boot").unwrap();
    let counts = index.counts().unwrap();
    assert_eq!(counts.by_status, BTreeMap::from([(Status::Pending, 200), (Status::Done, 200)]));
    assert_eq!(picked(&mut index, 9_000, 9), Vec::<String>::new());
}

/// The story: every statement with `LIMIT ?` was prepared twice, and again for each other number; it was a sixth of the
/// time of a simulation.
#[test]
fn a_statement_is_prepared_once_whatever_its_limit_is() {
    let again = memory().unseen(|c| {
        let mut statement = c.prepare_cached("SELECT id FROM task LIMIT ?1")?;
        for limit in [1, 2, 1000] {
            statement.query_map([limit], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        }
        Ok(statement.get_status(rusqlite::StatementStatus::RePrepare))
    });
    assert_eq!(again.unwrap(), 0);
}

/// What fails in the middle leaves nothing behind, and the next one can write.
#[test]
fn a_transaction_that_fails_changes_nothing() {
    let mut index = memory();
    let failed = index.writes(Vec::new).run(|c| {
        super::query::put_meta(c, "a", "1")?;
        c.execute("INSERT INTO nowhere VALUES(1)", []).map(drop)
    });
    assert!(failed.is_err());
    assert_eq!(index.meta("a").unwrap(), None);
    index.set_meta("a", "2").unwrap();
    assert_eq!(index.meta("a").unwrap().as_deref(), Some("2"));
}
