//! Reports about the queue as a whole as the `data` of the JSON envelope.

use serde_json::{Map, Value, json};

use super::data::moment;
use crate::protocol::id::TaskId;
use crate::protocol::time::format_span;
use crate::protocol::transition::status_word;
use crate::store::json::to_json;
use crate::store::wire::op_to_value;
use crate::usecase::gc::Collected;
use crate::usecase::graph::Graph;
use crate::usecase::import::Imported;
use crate::usecase::log::Entry;
use crate::usecase::metrics::Metric;
use crate::usecase::sessions::Session;
use crate::usecase::status::{Held, Report};
use crate::usecase::verify::{Trouble, Verified};
use crate::usecase::workers::Worker;

/// A span in whole seconds, as people write it.
fn span(span: std::time::Duration) -> String {
    format_span(std::time::Duration::from_secs(span.as_secs()))
}

/// An operation as in the file, with its task, and with the reason where it was refused.
#[must_use]
pub fn entry(entry: &Entry) -> Value {
    let mut out = Map::new();
    out.insert("task".to_owned(), json!(entry.task.as_str()));
    if let Value::Object(op) = to_json(&op_to_value(&entry.op)) {
        out.extend(op);
    }
    out.insert("rejected".to_owned(), json!(entry.rejected));
    Value::Object(out)
}

/// A lease.
#[must_use]
pub fn held(held: &Held) -> Value {
    json!({
        "task": held.task.as_str(),
        "title": held.title,
        "session": held.session,
        "machine": held.machine,
        "here": held.here,
        "epoch": held.epoch,
        "beat": held.beat,
        "percent": held.progress.percent,
        "note": held.progress.note,
        "acquired_at": moment(held.acquired_at),
        "renewed_at": moment(held.renewed_at),
        "expires_at": moment(held.expires_at),
        "renewed_ago": span(held.renewed_ago),
        "left": span(held.left),
    })
}

/// The queue at a glance.
#[must_use]
pub fn status(report: &Report) -> Value {
    let counts: Map<String, Value> =
        report.counts.iter().map(|(status, n)| (status_word(*status).to_owned(), json!(n))).collect();
    json!({
        "counts": counts,
        "archived": report.archived,
        "total": report.counts.iter().map(|(_, n)| n).sum::<u64>(),
        "ready": report.ready,
        "oldest_ready": report.oldest_ready.map(moment),
        "paused": report.paused,
        "quarantined": report.quarantined,
        "strays": report.strays,
        "unpublished": report.unpublished,
        "rejected": report.rejected,
        "fetch_age": report.fetch_age.map(span),
        "alarm": report.alarm,
        "remote": report.remote,
        "branch": report.branch,
        "machine": report.machine,
        "leases": report.leases.iter().map(held).collect::<Vec<_>>(),
    })
}

/// Holders with what they hold.
#[must_use]
pub fn workers(workers: &[Worker]) -> Value {
    let one = |worker: &Worker| {
        json!({
            "session": worker.session,
            "machine": worker.machine,
            "here": worker.here,
            "seen_ago": span(worker.seen_ago),
            "tasks": worker.holds.iter().map(held).collect::<Vec<_>>(),
        })
    };
    workers.iter().map(one).collect()
}

/// Sessions with what they did.
#[must_use]
pub fn sessions(sessions: &[Session]) -> Value {
    let one = |s: &Session| {
        json!({
            "session": s.session,
            "machine": s.machine,
            "first_at": moment(s.first_at),
            "last_at": moment(s.last_at),
            "last_act": s.last_act,
            "operations": s.operations,
            "held": s.held,
            "holds": s.holds.iter().map(|(id, epoch)| json!({"task": id.as_str(), "epoch": epoch})).collect::<Vec<_>>(),
            "checkpoint": s.checkpoint.as_ref().map(|left| json!({
                "task": left.task.as_str(),
                "epoch": left.epoch,
                "at": moment(left.at),
                "note": left.note,
            })),
            "claimed": s.claimed,
            "done": s.done,
            "failed": s.failed,
            "lost": s.lost,
        })
    };
    sessions.iter().map(one).collect()
}

/// Nodes, edges and cycles. `status` is null for a need that is not known here.
#[must_use]
pub fn graph(graph: &Graph) -> Value {
    let nodes = graph.nodes.iter().map(|node| {
        json!({
            "id": node.id.as_str(),
            "title": node.title,
            "status": node.status.map(status_word),
            "priority": format!("{:?}", node.priority),
        })
    });
    let edges = graph.edges.iter().map(|(task, need)| json!({"task": task.as_str(), "need": need.as_str()}));
    let cycles = graph.cycles.iter().map(|path| path.iter().map(|id| id.as_str()).collect::<Vec<_>>());
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
        "cycles": cycles.collect::<Vec<_>>(),
    })
}

/// What a verification found.
#[must_use]
pub fn verified(report: &Verified) -> Value {
    let one = |trouble: &Trouble| {
        json!({
            "task": trouble.task.as_ref().map(|id| id.as_str()),
            "file": trouble.file,
            "line": trouble.line,
            "column": trouble.column,
            "what": trouble.what,
            "promise": trouble.promise,
        })
    };
    json!({
        "ok": report.ok(),
        "tasks": report.tasks,
        "problems": report.problems.iter().map(one).collect::<Vec<_>>(),
        "warnings": report.warnings.iter().map(one).collect::<Vec<_>>(),
    })
}

/// Metrics by name: a number, or a map from label to number.
#[must_use]
pub fn metrics(metrics: &[Metric]) -> Value {
    // A count is a whole number, also for programs that tell the two apart.
    let number = |value: f64| if value.fract() == 0.0 { json!(value as i64) } else { json!(value) };
    let value = |metric: &Metric| match metric.samples.as_slice() {
        [(None, value)] => number(*value),
        samples => {
            let labelled =
                samples.iter().filter_map(|(label, v)| Some((label.as_ref()?.1.clone(), number(*v))));
            Value::Object(labelled.collect())
        }
    };
    Value::Object(metrics.iter().map(|metric| (metric.name.to_owned(), value(metric))).collect())
}

/// What an import did.
#[must_use]
pub fn imported(report: &Imported) -> Value {
    let ids = report.imported.iter().map(|id| id.as_str()).collect::<Vec<_>>();
    json!({
        "imported": ids.len(),
        "skipped": report.skipped.len(),
        "tasks": ids,
        "published": report.published,
    })
}

/// What retention removed, or would remove.
#[must_use]
pub fn collected(report: &Collected, dry_run: bool) -> Value {
    let bundles = report.bundles.iter();
    let bundles = bundles.map(|b| json!({"path": b.path, "bytes": b.bytes, "age": span(b.age)}));
    json!({
        "dry_run": dry_run,
        "bundles": bundles.collect::<Vec<_>>(),
        "bytes": report.bundles.iter().map(|b| b.bytes).sum::<u64>(),
        "temps": report.temps,
        "observations": report.observations,
        "sessions": report.sessions,
        "ended": report.ended,
        "archived": report.archived.iter().map(TaskId::as_str).collect::<Vec<_>>(),
        "left": report.left,
    })
}
