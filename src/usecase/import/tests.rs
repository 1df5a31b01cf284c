//! Tests of importing, and of exporting and importing again.

use super::*;
use crate::protocol::op::Action;
use crate::protocol::task::{Priority, Status};
use crate::usecase::export::{self, export};
use crate::usecase::testing::{Yard, add, claim, finish, id};

fn exported(q: &Queue, format: export::Format) -> String {
    let mut text = String::new();
    export(q, format, &mut |_, _| {}, &mut |piece| {
        text.push_str(piece);
        Ok(())
    })
    .unwrap();
    text
}

fn names(ids: &[TaskId]) -> Vec<&str> {
    ids.iter().map(TaskId::as_str).collect()
}

fn note_of(q: &Queue, name: &str) -> String {
    let task = q.load(&id(name)).unwrap();
    let notes = task.history().iter().filter_map(|op| match &op.action {
        Action::Note { text } => Some(text.clone()),
        _ => None,
    });
    notes.collect::<Vec<_>>().join("\n")
}

fn filled(yard: &Yard) -> Queue {
    let mut q = yard.queue("from");
    add(&mut q, "A", &[]);
    add(&mut q, "B", &["A"]);
    add(&mut q, "C", &[]);
    finish(&mut q, "A");
    claim(&mut q, "C");
    q
}

#[test]
fn an_export_is_taken_over_with_its_history_and_only_once() {
    let source = Yard::local();
    let from = filled(&source);
    let text = exported(&from, export::Format::Jsonl);
    for yard in [Yard::local(), Yard::shared()] {
        let mut to = yard.queue("to");
        let report = import(&mut to, Format::Jsonl, &text).unwrap();
        let mut imported = names(&report.imported);
        imported.sort_unstable();
        assert_eq!((imported, report.skipped.len(), report.published), (vec!["A", "B", "C"], 0, true));
        for name in ["A", "B", "C"] {
            assert_eq!(to.load(&id(name)).unwrap(), from.load(&id(name)).unwrap());
        }
        let again = import(&mut to, Format::Jsonl, &text).unwrap();
        assert_eq!((again.imported.len(), names(&again.skipped)), (0, vec!["A", "B", "C"]));
        assert_eq!(to.notices(), Vec::<String>::new());
        let verified = crate::usecase::verify::verify(&mut to, &mut |_, _| {}).unwrap();
        assert!(verified.ok(), "{verified:?}");
    }
}

#[test]
fn what_was_imported_into_a_shared_queue_reaches_every_machine() {
    let text = exported(&filled(&Yard::local()), export::Format::Jsonl);
    let yard = Yard::shared();
    let mut a = yard.queue("a");
    let mut b = yard.queue("b");
    add(&mut b, "A", &[]);
    let report = import(&mut a, Format::Jsonl, &text).unwrap();
    assert_eq!(names(&report.skipped), ["A"], "the other machine was first");
    crate::usecase::sync::sync(&mut b).unwrap();
    for name in ["A", "B", "C"] {
        assert_eq!(a.load(&id(name)).unwrap(), b.load(&id(name)).unwrap());
    }
    assert_eq!(b.load(&id("C")).unwrap().status(), Status::InProgress);
    a.no_sync = true;
    let other = text.replace("\"id\":\"C\"", "\"id\":\"D\"");
    assert_eq!(import(&mut a, Format::Jsonl, &other).unwrap_err().code, "no_sync");
    assert!(a.load(&id("D")).is_err());
}

#[test]
fn a_malformed_line_lets_nothing_in() {
    let good = exported(&filled(&Yard::local()), export::Format::Jsonl);
    let yard = Yard::local();
    let mut q = yard.queue("a");
    let forged = good.lines().next().unwrap().replace("\"status\":\"done\"", "\"status\":\"failed\"");
    for (bad, line, what) in [
        (format!("{good}{{\"title\": 1}}\n"), 4, "title"),
        (format!("{{oops\n{good}"), 1, "JSON"),
        (format!("{good}{good}"), 4, "already"),
        (forged, 1, "replay"),
        ("{\"title\": \"t\", \"status\": \"done\"}".to_owned(), 1, "status"),
        ("{\"title\": \" \"}".to_owned(), 1, "title"),
    ] {
        let error = import(&mut q, Format::Jsonl, &bad).unwrap_err();
        assert_eq!(error.code, "invalid");
        assert!(error.message.contains(&format!("line {line}: ")) && error.message.contains(what), "{error}");
        assert!(q.store.ids().unwrap().is_empty(), "{what}");
    }
    let circle = "{\"id\":\"X\",\"title\":\"x\",\"needs\":[\"Y\"]}\n{\"id\":\"Y\",\"title\":\"y\",\"needs\":[\"X\"]}\n";
    let error = import(&mut q, Format::Jsonl, circle).unwrap_err();
    assert!(error.code == "cycle" && error.message.contains("X -> Y -> X"), "{error}");
    assert!(q.store.ids().unwrap().is_empty());
}

#[test]
fn definitions_without_an_id_are_found_again() {
    let yard = Yard::local();
    let mut q = yard.queue("a");
    let text = "{\"title\":\"one\",\"priority\":\"P0\"}\n\n{\"title\":\"two\"}\n{\"title\":\"two\"}\n";
    assert_eq!(import(&mut q, Format::Jsonl, text).unwrap().imported.len(), 3);
    let again = import(&mut q, Format::Jsonl, text).unwrap();
    assert_eq!((again.imported.len(), again.skipped.len()), (0, 3));
}

const TABLE: &str = "\
| ID | Priority | Status | Task | Success criteria | Owner | Due | Notes | Estimate |
|---|---|---|---|---|---|---|---|---|
| Q-1 | P0 | todo | First | a; b | | 2026-02-08 | see x/y | 3d |
| Q-2 | urgent | done | Second | | kim | soon | | |
| Q-3 | ?? | doing | Third | | lee | | | |
| Q-4 | | blocked | Fourth | | | | | |
| Q-5 | | failed | Fifth | | | | | |
| Q-6 | | wontfix | Sixth | | | | | |
| Q-7 | | in review | Seventh | | | | | |
| | low | half way | No id | | | | | |
";

#[test]
fn a_table_is_mapped_as_far_as_it_goes_and_the_rest_is_kept() {
    for yard in [Yard::local(), Yard::shared()] {
        let mut q = yard.queue("a");
        let report = import(&mut q, Format::Markdown, TABLE).unwrap();
        assert_eq!((report.imported.len(), report.skipped.len()), (8, 0));
        let task = |name: &str| q.load(&id(name)).unwrap();
        let statuses: Vec<Status> = (1..=7).map(|n| task(&format!("Q-{n}")).status()).collect();
        use Status::{Blocked, Cancelled, Done, Failed, InReview, Pending};
        assert_eq!(statuses, [Pending, Done, Pending, Blocked, Failed, Cancelled, InReview]);
        let first = task("Q-1");
        assert_eq!((first.def().priority, first.def().success_criteria.len()), (Priority::P0, 2));
        assert_eq!(
            first.def().due_at.map(crate::store::time::format).as_deref(),
            Some("2026-02-08T00:00:00.000Z")
        );
        assert!(first.history().iter().all(|op| op.role == Role::Source));
        assert_eq!(note_of(&q, "Q-1"), "see x/y\nEstimate: 3d");
        assert_eq!(note_of(&q, "Q-2"), "owner: kim\ndue: soon");
        assert_eq!(note_of(&q, "Q-3"), "owner: lee\nstatus: doing\npriority: ??");
        let notices = q.notices().join("\n");
        for part in
            ["line 4: Q-2: the due `soon`", "line 5: Q-3: the priority `??`", "line 10: ", "`half way`"]
        {
            assert!(notices.contains(part), "{part} is missing in {notices}");
        }
        let again = import(&mut q, Format::Markdown, &TABLE.replace("half way", "done")).unwrap();
        assert_eq!((again.imported.len(), again.skipped.len()), (0, 8), "the row without id is found again");
        let verified = crate::usecase::verify::verify(&mut q, &mut |_, _| {}).unwrap();
        assert!(verified.ok(), "{verified:?}");
    }
}

#[test]
fn an_exported_table_can_be_imported() {
    let source = Yard::local();
    let text = exported(&filled(&source), export::Format::Markdown);
    assert_eq!(text.lines().count(), 5, "{text}");
    let yard = Yard::local();
    let mut to = yard.queue("to");
    import(&mut to, Format::Markdown, &text).unwrap();
    let status = |name: &str| to.load(&id(name)).unwrap().status();
    assert_eq!((status("A"), status("B"), status("C")), (Status::Done, Status::Pending, Status::Pending));
    let changed = text.replace("title of B", "something else");
    import(&mut to, Format::Markdown, &changed).unwrap();
    assert!(to.notices().iter().any(|n| n.contains("B exists already with another title")));
}

#[test]
fn a_text_without_a_table_is_refused() {
    let yard = Yard::local();
    let mut q = yard.queue("a");
    let error =
        import(&mut q, Format::Markdown, "# nothing\n\n| a | b |\n|---|---|\n| 1 | 2 |\n").unwrap_err();
    assert!(error.code == "invalid" && error.message.contains("no queue table"), "{error}");
    assert_eq!(format_of("x.md", "{"), Format::Markdown);
    assert_eq!(format_of("x.JSONL", "|"), Format::Jsonl);
    assert_eq!((format_of("-", " {}"), format_of("-", "| a |")), (Format::Jsonl, Format::Markdown));
}
