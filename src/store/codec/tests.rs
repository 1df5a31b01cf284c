//! Round trips, damage and hand edits of task files.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::protocol::id::OpId;
use crate::protocol::op::{Action, Op, Role};
use crate::protocol::task::{Lease, Parts, Priority, Progress, State};
use crate::protocol::time::Timestamp;
use crate::store::wire::arbitrary;

fn op(n: u8, by: &str, action: Action) -> Op {
    let at = Timestamp(1_770_541_200_000 + i64::from(n) * 1000);
    Op {
        id: OpId::new(at.0, [n; 10]),
        at,
        by: by.to_owned(),
        machine: "m-7f3a".to_owned(),
        role: Role::Author,
        action,
    }
}

fn id(text: &str) -> TaskId {
    TaskId::parse(text).expect("a good id")
}

pub fn sample() -> Task {
    let def = Definition {
        title: "Bring the README up to date".to_owned(),
        description: "Say what each command does.\n\n- one line each: no more\n".to_owned(),
        priority: Priority::P1,
        success_criteria: vec!["README names every command".to_owned(), "tests pass".to_owned()],
        needs: vec![id("ORCH-009")],
        tags: vec!["docs".to_owned()],
        extra: [("colour".to_owned(), Value::str("blue"))].into(),
        ..Definition::default()
    };
    let at = Timestamp(1_770_541_202_000);
    let lease = Lease {
        session: "agent:main:7".to_owned(),
        machine: "m-7f3a".to_owned(),
        epoch: 1,
        beat: 4,
        ttl: Duration::from_secs(900),
        acquired_at: at,
        renewed_at: at,
        expires_at: at.after(Duration::from_secs(900)),
        process: None,
        progress: Some(Progress { percent: Some(40), note: Some("commands listed".to_owned()) }),
    };
    let claim = Action::Claim { base: 0, epoch: 1, ttl: Duration::from_secs(900), process: None, over: None };
    let history = vec![op(1, "jq@house", Action::Add(Box::new(def.clone()))), op(2, "agent:main:7", claim)];
    Task::from(Parts {
        id: id("ORCH-010"),
        def,
        state: State::InProgress(lease),
        attempt: 1,
        epoch: 1,
        result: None,
        history,
    })
}

fn sample_text() -> String {
    String::from_utf8(encode(&sample())).expect("text")
}

fn problem(text: &str) -> Problem {
    match decode(text.as_bytes()) {
        Ok(decoded) => panic!("accepted as {decoded:?}\n{text}"),
        Err(problem) => problem,
    }
}

#[test]
fn the_file_looks_like_this() {
    let text = sample_text();
    let body = seal::split(&text).expect("sealed").body;
    assert_eq!(
        body,
        "\
format: 1
id: ORCH-010
title: Bring the README up to date
description: |
  Say what each command does.

  - one line each: no more
priority: P1
status: in_progress
success_criteria: [README names every command, tests pass]
needs: [ORCH-009]
tags: [docs]
attempt: 1
epoch: 1
lease: {session: \"agent:main:7\", machine: m-7f3a, epoch: 1, beat: 4, ttl: 15m, acquired_at: 2026-02-08T09:00:02.000Z, renewed_at: 2026-02-08T09:00:02.000Z, expires_at: 2026-02-08T09:15:02.000Z, progress: {percent: 40, note: commands listed}}
colour: blue
history:
  - {op: 01KGY7NDK8040G2081040G2081, at: 2026-02-08T09:00:01.000Z, by: jq@house, machine: m-7f3a, do: add, title: Bring the README up to date, description: \"Say what each command does.\\n\\n- one line each: no more\\n\", priority: P1, success_criteria: [README names every command, tests pass], needs: [ORCH-009], tags: [docs], extra: {colour: blue}}
  - {op: 01KGY7NEJG081040G2081040G2, at: 2026-02-08T09:00:02.000Z, by: \"agent:main:7\", machine: m-7f3a, do: claim, epoch: 1, ttl: 15m}
"
    );
}

#[test]
fn no_prefix_and_no_flipped_bit_is_another_valid_task() {
    let bytes = encode(&sample());
    let whole = decode(&bytes).expect("its own bytes");
    assert_eq!((whole.seal, &whole.task), (Seal::Valid, &sample()));
    let harmless = |changed: &[u8]| match decode(changed) {
        Err(_) => true,
        Ok(decoded) => decoded.seal == Seal::Broken,
    };
    for end in 0..bytes.len() {
        assert!(harmless(&bytes[..end]), "the first {end} bytes were accepted");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            assert!(harmless(&flipped), "bit {bit} of byte {at} was accepted");
        }
    }
}

#[test]
fn a_file_without_its_seal_is_damaged() {
    let text = sample_text();
    for cut in [text.len() - 2, text.len() - 70, text.len() / 2, 0] {
        assert_eq!(problem(&text[..cut]).kind, ProblemKind::Damaged, "{cut}");
    }
    assert_eq!(problem(&format!("{text}{}", "\0".repeat(100))).kind, ProblemKind::Damaged);
    assert_eq!(
        decode(b"\xff\xfe").map_err(|p| (p.kind, p.line, p.column)),
        Err((ProblemKind::Damaged, 1, 1))
    );
}

#[test]
fn a_hand_edit_breaks_the_seal_and_is_read() {
    let edited = sample_text().replace("priority: P1\nstatus", "priority: P0 # now!\nstatus");
    let decoded = decode(edited.as_bytes()).expect("a good edit");
    assert_eq!((decoded.seal, decoded.task.def().priority), (Seal::Broken, Priority::P0));
    for text in [
        sample_text().replace('\n', "\r\n"),
        format!("\u{feff}{}", sample_text()),
        format!("{}\n", sample_text()),
    ] {
        let decoded = decode(text.as_bytes()).expect("an editor's habits");
        assert_eq!(decoded.task, sample());
    }
    assert_eq!(decode(sample_text().replace('\n', "\r\n").as_bytes()).map(|d| d.seal), Ok(Seal::Broken));
}

#[test]
fn an_invalid_edit_is_reported_with_its_place_and_the_nearest_word() {
    let cases = [
        ("priority: P1\nstatus", "priority: P9\nstatus", 8, 11, "priority: `P9` is none of P0, P1, P2, P3"),
        ("status: in_progress", "status: in_progres", 9, 9, "did you mean `in_progress`?"),
        ("ttl: 15m, acq", "ttl: 15x, acq", 15, 75, "lease.ttl: `15x` is no duration"),
        ("do: claim, epoch: 1", "do: claim, epohc: 1", 19, 5, "is `epohc` meant to be it?"),
        ("needs: [ORCH-009]\ntags", "needs: ORCH-009\ntags", 11, 8, "needs: expected a list"),
        ("title: Bring", "title: {Bring", 4, 12, "not valid YAML"),
        ("title: Bring the README up to date\ndesc", "title: 2026\ndesc", 3, 8, "put it in quotes"),
        (
            "\ntags: [docs]",
            "\ntags: [docs]\ntags: [x]",
            13,
            1,
            "the key `tags` stands here for the second time",
        ),
        ("tags: [docs]\n", "tags: [docs]\nretry: {max_atempts: 3}\n", 13, 9, "did you mean `max_attempts`?"),
        ("tags: [docs]\n", "tags: [*x]\n", 12, 8, "aliases"),
        ("tags: [docs]\n", "tags: [docs]\n\tx: y\n", 13, 1, "tab"),
        ("tags: [docs]\n", "<<<<<<< ours\ntags: [docs]\n", 12, 1, "conflict marker"),
    ];
    for (from, to, line, column, message) in cases {
        let text = sample_text();
        assert!(text.contains(from), "{from}");
        let problem = problem(&text.replacen(from, to, 1));
        assert!(problem.message.contains(message), "{to}: {problem}");
        let found = (problem.kind, problem.line, problem.column);
        assert_eq!(found, (ProblemKind::Invalid, line, column), "{to}: {problem}");
    }
}

#[test]
fn a_newer_format_is_told_from_an_error() {
    let problem = problem(&sample_text().replace("format: 1\n", "format: 2\n"));
    assert_eq!((problem.kind, problem.line, problem.column), (ProblemKind::NewerFormat, 1, 9));
}

#[test]
fn a_definition_alone_is_read_and_what_commands_change_is_refused() {
    let text = "title: Fix it\npriority: P0\nneeds: [B, A, B]\ncolour: blue\nid: X-1\n";
    let (found, def) = decode_definition(text.as_bytes()).expect("a good definition");
    assert_eq!(found, Some(id("X-1")));
    assert_eq!(def.needs, [id("A"), id("B")]);
    assert_eq!(def.extra.get("colour"), Some(&Value::str("blue")));
    let refused = |text: &str| {
        decode_definition(text.as_bytes()).map_or_else(|p| p.to_string(), |_| "accepted".to_owned())
    };
    assert!(refused("title: x\nstatus: done\n").starts_with("2:1: `status` is set by"));
    assert!(refused("titel: x\n").contains("`title` is missing; is `titel` meant to be it?"));
    assert_eq!(refused(""), "1:1: the file is empty");
    assert!(refused("format: 3\ntitle: x\n").contains("upgrade"));
}

proptest! {
    #[test]
    fn every_task_survives_a_file_and_a_line_of_json(task in arbitrary::task()) {
        let bytes = encode(&task);
        match decode(&bytes) {
            Ok(decoded) => prop_assert_eq!(decoded, Decoded { task: task.clone(), seal: Seal::Valid }),
            Err(problem) => prop_assert!(false, "{problem}\n{}", String::from_utf8_lossy(&bytes)),
        }
        let line = task_to_json_line(&task);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(task_from_json_line(&line), Ok(task));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn no_change_of_a_line_makes_it_panic(line in 0usize..17, text in crate::store::emit::tests::nasty()) {
        let sample = sample_text();
        let changed: Vec<&str> = sample.lines().enumerate().map(|(n, l)| if n == line { text.as_str() } else { l }).collect();
        if let Ok(decoded) = decode(changed.join("\n").as_bytes()) {
            prop_assert_eq!(decoded.seal, Seal::Broken);
        }
    }
}
