//! Numbers for monitoring, as samples and in the text format of Prometheus.
//!
//! No label holds anything that grows with the number of tasks or sessions.

use crate::protocol::transition::status_word;

use super::error::{Error, Result};
use super::queue::Queue;
use super::status::{self, Report};

/// One metric with its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name, in the style of Prometheus.
    pub name: &'static str,
    /// What it counts, and in which unit.
    pub help: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// Values with their label, if there is one.
    pub samples: Vec<(Option<(&'static str, String)>, f64)>,
}

/// Every metric. A value that is not known has no sample.
///
/// # Errors
/// Local files or the index cannot be read.
pub fn metrics(q: &mut Queue) -> Result<Vec<Metric>> {
    let now = q.now();
    let report = status::status(q)?;
    let waited = report.oldest_ready.map_or(0.0, |since| now.since(since).as_secs_f64());
    let mut all = of(&report, waited);
    if q.is_shared() {
        let pushes = q.store.pushes().map_err(|e| Error::from_store(&e))?;
        all.push(Metric {
            name: "orch_pushes_total",
            help: "Pushes of this machine since it was started or its index was made anew.",
            kind: "counter",
            samples: vec![(None, pushes.total as f64)],
        });
        all.push(Metric {
            name: "orch_push_retries_total",
            help: "Those pushes of which something was not accepted: they were repeated or given up.",
            kind: "counter",
            samples: vec![(None, pushes.repeated as f64)],
        });
    }
    Ok(all)
}

fn of(report: &Report, oldest_ready_s: f64) -> Vec<Metric> {
    let here = report.leases.iter().filter(|lease| lease.here).count();
    let elsewhere = report.leases.len() - here;
    let expired = report.leases.iter().filter(|lease| lease.left.is_zero()).count();
    let flag = |yes: bool| f64::from(u8::from(yes));
    let mut all = vec![
        Metric {
            name: "orch_tasks",
            help: "Tasks by status.",
            kind: "gauge",
            samples: report
                .counts
                .iter()
                .map(|(status, n)| (Some(("status", status_word(*status).to_owned())), *n as f64))
                .collect(),
        },
        gauge(
            "orch_archived",
            "Ended tasks in the archive; they are not among orch_tasks.",
            report.archived as f64,
        ),
        gauge("orch_ready", "Tasks that wait for nothing but a claim.", report.ready as f64),
        gauge("orch_oldest_ready_age_seconds", "Time since the oldest ready task was added.", oldest_ready_s),
        Metric {
            name: "orch_leases",
            help: "Leases by whether this machine holds them.",
            kind: "gauge",
            samples: vec![
                (Some(("machine", "this".to_owned())), here as f64),
                (Some(("machine", "other".to_owned())), elsewhere as f64),
            ],
        },
        gauge("orch_leases_expired", "Leases whose own time has run out.", expired as f64),
        gauge(
            "orch_unpublished",
            "Tasks with changes that are not committed or published yet.",
            report.unpublished as f64,
        ),
        gauge("orch_quarantined", "Task files that cannot be used.", report.quarantined as f64),
        gauge(
            "orch_stray_files",
            "Files below tasks/ or archive/ that belong to no task.",
            report.strays as f64,
        ),
        Metric {
            name: "orch_rejected_total",
            help: "Operations of this machine that the register refused.",
            kind: "counter",
            samples: vec![(None, report.rejected as f64)],
        },
        gauge("orch_paused", "1 while nothing can be claimed.", flag(report.paused.is_some())),
        gauge(
            "orch_alarm",
            "1 while the remote branch has lost what this machine has seen.",
            flag(report.alarm.is_some()),
        ),
    ];
    if let Some(age) = report.fetch_age {
        all.push(gauge("orch_fetch_age_seconds", "Time since the remote was looked at.", age.as_secs_f64()));
    }
    all
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Metric {
    Metric { name, help, kind: "gauge", samples: vec![(None, value)] }
}

/// The text format of Prometheus, version 0.0.4.
#[must_use]
pub fn text(metrics: &[Metric]) -> String {
    let mut out = String::new();
    for Metric { name, help, kind, samples } in metrics {
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (label, value) in samples {
            match label {
                Some((key, word)) => out.push_str(&format!("{name}{{{key}=\"{word}\"}} {value}\n")),
                None => out.push_str(&format!("{name} {value}\n")),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::{Yard, add, claim};

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "SECRET-1", &[]);
        add(&mut q, "SECRET-2", &[]);
        claim(&mut q, "SECRET-1");
        let shown = text(&metrics(&mut q).unwrap());
        for line in [
            "# TYPE orch_tasks gauge",
            "orch_tasks{status=\"pending\"} 1",
            "orch_tasks{status=\"in_progress\"} 1",
            "orch_tasks{status=\"done\"} 0",
            "orch_ready 1",
            "orch_leases{machine=\"this\"} 1",
            "orch_unpublished 0",
            "# TYPE orch_rejected_total counter",
            "orch_rejected_total 0",
            "orch_quarantined 0",
        ] {
            assert!(shown.lines().any(|l| l == line), "{line} is missing in\n{shown}");
        }
        assert!(!shown.contains("SECRET") && !shown.contains("orch_fetch_age_seconds"), "{shown}");
        let sample = |line: &str| {
            line.split(' ').count() == 2 && line.split(' ').nth(1).unwrap().parse::<f64>().is_ok()
        };
        assert!(shown.lines().filter(|line| !line.starts_with('#')).all(sample), "{shown}");
    }

    #[test]
    fn a_shared_queue_tells_the_age_of_its_knowledge() {
        let yard = Yard::shared();
        let mut q = yard.queue("a");
        assert!(text(&metrics(&mut q).unwrap()).contains("\norch_fetch_age_seconds "));
    }
}
