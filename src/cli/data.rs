//! Reports as the `data` of the JSON envelope: the keys of SPEC §10.

use serde_json::{Value, json};

use crate::protocol::gates::Gate;
use crate::protocol::task::Task;
use crate::protocol::time::Timestamp;
use crate::store::wire::{Form, task_to_value};
use crate::store::{json as store_json, time};
use crate::usecase::change::Changed;
use crate::usecase::claim::Claimed;
use crate::usecase::holder::Beat;
use crate::usecase::sync::Synced;
use crate::usecase::watch::Watched;
use crate::worker::job::Ran;
use crate::worker::manifest::reason_name;

/// A task with its history.
#[must_use]
pub fn task(task: &Task) -> Value {
    store_json::to_json(&task_to_value(task, Form::Json { history: true }))
}

/// Tasks without their histories, as JSON text: thousands are never in memory as trees at once.
#[must_use]
pub fn tasks(tasks: &[Task]) -> String {
    let one = |task| store_json::to_text(&task_to_value(task, Form::Json { history: false }));
    let mut text = String::from("[");
    for (at, task) in tasks.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "," });
        text.push_str(&one(task));
    }
    text.push(']');
    text
}

/// A moment.
#[must_use]
pub fn moment(at: Timestamp) -> Value {
    Value::String(time::format(at))
}

/// What `pick` and `claim` tell.
#[must_use]
pub fn claimed(claimed: &Claimed) -> Value {
    json!({
        "task": task(&claimed.task),
        "epoch": claimed.epoch,
        "session": claimed.session,
        "expires_at": moment(claimed.expires_at),
        "confirmed": claimed.confirmed,
        "retries": claimed.retries,
        "repeated": claimed.repeated,
    })
}

/// What `heartbeat` tells.
#[must_use]
pub fn beat(beat: &Beat) -> Value {
    json!({
        "expires_at": moment(beat.expires_at),
        "epoch": beat.epoch,
        "beat": beat.beat,
        "published": beat.published,
        "retries": beat.retries,
    })
}

/// What every other change tells.
#[must_use]
pub fn changed(changed: &Changed) -> Value {
    json!({
        "task": task(&changed.task),
        "published": changed.published,
        "repeated": changed.repeated,
        "retries": changed.retries,
    })
}

/// Gates with their verdicts.
#[must_use]
pub fn gates(gates: &[Gate]) -> Value {
    gates.iter().map(|gate| json!({ "name": gate.name, "open": gate.open, "detail": gate.detail })).collect()
}

/// What a look at all leases found.
#[must_use]
pub fn watched(watched: &Watched) -> Value {
    use crate::protocol::time::format_span;
    use crate::protocol::transition::status_word;
    let recovered = watched.recovered.iter().map(|one| {
        json!({ "id": one.id.as_str(), "session": one.session, "epoch": one.epoch, "to": status_word(one.to) })
    });
    let watching = watched.watching.iter().map(|one| {
        let (still, needed) = (format_span(one.still), format_span(one.needed));
        json!({ "id": one.id.as_str(), "session": one.session, "epoch": one.epoch,
                "still": still, "needed": needed })
    });
    json!({
        "recovered": recovered.collect::<Vec<_>>(),
        "watching": watching.collect::<Vec<_>>(),
        "folded": watched.folded,
    })
}

/// What came of attempts.
#[must_use]
pub fn attempts(attempts: &[Ran]) -> Value {
    let one = |ran: &Ran| {
        json!({
            "task": ran.task.as_str(),
            "epoch": ran.epoch,
            "attempt": ran.attempt,
            "session": ran.session,
            "reason": reason_name(ran.reason),
            "outcome": ran.outcome,
            "notes": ran.notes,
            "bundle": ran.bundle,
            "duration_ms": u64::try_from(ran.duration.as_millis()).unwrap_or(u64::MAX),
        })
    };
    json!({ "attempts": attempts.iter().map(one).collect::<Vec<_>>() })
}

/// What an exchange with the remote did.
#[must_use]
pub fn synced(synced: &Synced) -> Value {
    let rejected = synced.rejected.iter().map(|one| {
        // What is no operation of a task is a shared file that both sides changed.
        let task = one.file.is_none().then_some(&one.task);
        let op = one.file.is_none().then_some(&one.op);
        json!({ "op": op, "do": one.verb, "task": task, "file": one.file, "reason": one.reason })
    });
    json!({
        "fetched": synced.fetched,
        "pushed": synced.pushed,
        "folded": synced.folded,
        "replayed": synced.replayed,
        "rejected": rejected.collect::<Vec<_>>(),
        "retries": synced.retries,
    })
}
