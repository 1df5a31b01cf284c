//! Strategies for any task that fits the bounds, also ones that no history leads to.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::option::of;
use proptest::prelude::*;

use crate::protocol::id::{OpId, TaskId};
use crate::protocol::op::{Action, Op, Patch, ProcessRef, Role, Verdict};
use crate::protocol::task::{
    Definition, ExecStep, Lease, Limits, OnNeedFailed, Outcome, Parts, Priority, Progress, Reason,
    RetryPolicy, Review, Run, State, Status, Task,
};
use crate::protocol::time::Timestamp;
use crate::store::emit::tests::{nasty, value};
use crate::store::wire::Word;

fn one_of<T: Word + std::fmt::Debug>() -> impl Strategy<Value = T> {
    (0..T::WORDS.len()).prop_map(|at| T::WORDS[at].1)
}

fn line() -> impl Strategy<Value = String> {
    nasty().prop_map(|t| {
        let kept: String =
            t.chars().filter(|c| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')).take(40).collect();
        if kept.trim().is_empty() { "x".to_owned() } else { kept }
    })
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0i64..4_000_000_000_000).prop_map(Timestamp)
}

fn span() -> impl Strategy<Value = Duration> {
    (1_000u64..2_000_000_000).prop_map(Duration::from_millis)
}

fn id() -> impl Strategy<Value = TaskId> {
    "[A-Za-z0-9][A-Za-z0-9_-]{0,20}".prop_map(|t| TaskId::parse(&t).expect("the pattern is the rule"))
}

fn ids() -> impl Strategy<Value = Vec<TaskId>> {
    prop::collection::btree_set(id(), 0..4).prop_map(|s| s.into_iter().collect())
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(line(), 0..4)
}

fn tags() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(line(), 0..4).prop_map(|s| s.into_iter().collect())
}

fn step() -> impl Strategy<Value = ExecStep> {
    let clean = || nasty().prop_map(|t| t.replace('\0', ""));
    let env = prop::collection::btree_map("[A-Z_]{1,8}", clean(), 0..3);
    (prop::collection::vec(line(), 1..4), of(line()), of(clean()), env, of(span()), any::<bool>()).prop_map(
        |(argv, name, cwd, env, timeout, continue_on_error)| ExecStep {
            argv,
            name,
            cwd,
            env,
            timeout,
            continue_on_error,
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    prop_oneof![prop::collection::vec(step(), 1..3).prop_map(Run::Exec), line().prop_map(Run::Agent)]
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    (
        of(1u32..1000),
        of(prop::collection::vec(span(), 0..4)),
        of((0u32..=1000).prop_map(|n| f64::from(n) / 1000.0)),
    )
        .prop_map(|(max_attempts, backoff, jitter)| RetryPolicy { max_attempts, backoff, jitter })
}

fn limits() -> impl Strategy<Value = Limits> {
    (
        of(span()),
        of(span()),
        of(span()),
        of(0u64..1 << 53),
        of((0u32..1_000_000).prop_map(|n| f64::from(n) / 1000.0)),
    )
        .prop_map(|(lease, runtime, stall, tokens, cost_usd)| Limits {
            lease,
            runtime,
            stall,
            tokens,
            cost_usd,
        })
}

fn extra() -> impl Strategy<Value = BTreeMap<String, crate::protocol::value::Value>> {
    prop::collection::btree_map(
        nasty().prop_map(|t| format!("x{}", t.chars().take(20).collect::<String>())),
        value(),
        0..3,
    )
}

pub fn definition() -> impl Strategy<Value = Definition> {
    let first =
        (line(), nasty(), one_of::<Priority>(), lines(), ids(), one_of::<OnNeedFailed>(), of(id()), tags());
    let second =
        (of(moment()), of(moment()), of(line()), one_of::<Review>(), of(run()), retry(), limits(), extra());
    (first, second).prop_map(|(a, b)| Definition {
        title: a.0,
        description: a.1,
        priority: a.2,
        success_criteria: a.3,
        needs: a.4,
        on_need_failed: a.5,
        parent: a.6,
        tags: a.7,
        due_at: b.0,
        not_before: b.1,
        idempotency_key: b.2,
        review: b.3,
        run: b.4,
        retry: b.5,
        limits: b.6,
        extra: b.7,
    })
}

fn process() -> impl Strategy<Value = ProcessRef> {
    (any::<u32>(), 0u64..1 << 53, nasty()).prop_map(|(pid, start, boot)| ProcessRef { pid, start, boot })
}

fn progress() -> impl Strategy<Value = Progress> {
    (of(0u8..=100), of(nasty())).prop_map(|(percent, note)| Progress { percent, note })
}

fn epoch() -> impl Strategy<Value = u64> {
    0u64..(1 << 53) - 1
}

fn patch() -> impl Strategy<Value = Patch> {
    (definition(), definition()).prop_filter_map("equal", |(a, b)| Patch::between(&a, &b))
}

fn action() -> impl Strategy<Value = Action> {
    let artifacts = prop::collection::vec(nasty(), 0..3);
    prop_oneof![
        definition().prop_map(|d| Action::Add(Box::new(d))),
        patch().prop_map(|p| Action::Edit(Box::new(p))),
        nasty().prop_map(|text| Action::Note { text }),
        of(moment()).prop_map(|until| Action::Snooze { until }),
        (0u64..1 << 52, 1u64..5, span(), of(process()), of(epoch())).prop_map(
            |(base, more, ttl, process, over)| Action::Claim { base, epoch: base + more, ttl, process, over }
        ),
        (epoch(), of(progress())).prop_map(|(epoch, progress)| Action::Heartbeat { epoch, progress }),
        (epoch(), nasty(), of(0u8..=100), of(nasty()))
            .prop_map(|(epoch, note, percent, file)| Action::Checkpoint { epoch, note, percent, file }),
        (epoch(), nasty(), artifacts, of(nasty()))
            .prop_map(|(epoch, notes, artifacts, bundle)| Action::Done { epoch, notes, artifacts, bundle }),
        (epoch(), one_of::<Reason>(), nasty(), any::<bool>(), of(moment()), of(nasty())).prop_map(
            |(epoch, reason, notes, permanent, retry_at, bundle)| Action::Fail {
                epoch,
                reason,
                notes,
                permanent,
                retry_at,
                bundle
            }
        ),
        (epoch(), of(one_of::<Reason>()), of(nasty())).prop_map(|(epoch, reason, notes)| Action::Release {
            epoch,
            reason,
            notes
        }),
        (epoch(), nasty()).prop_map(|(epoch, notes)| Action::Block { epoch, notes }),
        (epoch(), of(nasty())).prop_map(|(epoch, notes)| Action::Unblock { epoch, notes }),
        (epoch(), nasty()).prop_map(|(epoch, notes)| Action::Cancel { epoch, notes }),
        (epoch(), of(nasty())).prop_map(|(epoch, notes)| Action::Retry { epoch, notes }),
        (epoch(), nasty(), of(nasty()), of(lines())).prop_map(
            |(epoch, notes, description, success_criteria)| Action::Replan {
                epoch,
                notes,
                description,
                success_criteria
            }
        ),
        (epoch(), one_of::<Verdict>(), nasty()).prop_map(|(epoch, verdict, notes)| Action::Review {
            epoch,
            verdict,
            notes
        }),
        (epoch(), epoch(), of(moment())).prop_map(|(epoch, beat, retry_at)| Action::Recover {
            epoch,
            beat,
            retry_at
        }),
        (epoch(), id()).prop_map(|(epoch, need)| Action::NeedFailed { epoch, need }),
    ]
}

pub fn op() -> impl Strategy<Value = Op> {
    (moment(), any::<[u8; 10]>(), line(), of(line()), one_of::<Role>(), action()).prop_map(
        |(at, random, by, machine, role, action)| Op {
            id: OpId::new(at.0, random),
            at,
            by,
            machine: machine.unwrap_or_default(),
            role,
            action,
        },
    )
}

fn lease() -> impl Strategy<Value = Lease> {
    (line(), line(), epoch(), epoch(), span(), [moment(), moment(), moment()], of(process()), of(progress()))
        .prop_map(
            |(
                session,
                machine,
                epoch,
                beat,
                ttl,
                [acquired_at, renewed_at, expires_at],
                process,
                progress,
            )| Lease {
                session,
                machine,
                epoch,
                beat,
                ttl,
                acquired_at,
                renewed_at,
                expires_at,
                process,
                progress,
            },
        )
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        lease().prop_map(State::InProgress),
        Just(State::Pending),
        Just(State::InReview),
        Just(State::Done),
        Just(State::Failed),
        Just(State::Blocked),
        Just(State::Cancelled),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (
        one_of::<Status>(),
        one_of::<Reason>(),
        nasty(),
        of(nasty()),
        prop::collection::vec(nasty(), 0..3),
        moment(),
    )
        .prop_map(|(outcome, reason, notes, bundle, artifacts, at)| Outcome {
            outcome,
            reason,
            notes,
            bundle,
            artifacts,
            at,
        })
}

pub fn task() -> impl Strategy<Value = Task> {
    (id(), definition(), state(), any::<u32>(), epoch(), of(outcome()), prop::collection::vec(op(), 1..3))
        .prop_map(|(id, def, state, attempt, epoch, result, history)| {
            Task::from(Parts { id, def, state, attempt, epoch, result, history })
        })
}
