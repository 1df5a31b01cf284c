//! The page: the verdict first, then objectives, plots and tables. One file without scripts and without anything from
//! the network; dark and light by the reader's own setting.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::plot::{Bar, Chart, Line, clock, escape, short, timeline};
use super::{Report, mib, millis, number, outcome, outcomes, planted, trend};
use crate::gate::Line as Objective;
use crate::record::Verdict;

/// The page.
#[must_use]
pub fn html(report: &Report) -> String {
    let run = &report.checkpoint;
    let title = format!("soak {}: {}", run.profile, report.release().word());
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><title>{}</title><style>{STYLE}</style></head><body><main>",
        escape(&title)
    );
    let objectives = report.objectives();
    head(report, &objectives, &mut out);
    objectives_table(&objectives, &mut out);
    violations(report, &mut out);
    plots(report, &mut out);
    faults_table(report, &mut out);
    tables(report, &mut out);
    planted_bugs(report, &mut out);
    out.push_str("</main></body></html>\n");
    out
}

/// The verdict that a release needs: violations and objectives.
fn head(report: &Report, objectives: &[Objective], out: &mut String) {
    let run = &report.checkpoint;
    let all = objectives.iter().all(|line| line.unasked.is_none());
    let (class, says) = match (report.verdict(), report.release(), &run.end) {
        (Verdict::Held, Verdict::Held, _) if all => ("good", "Everything held."),
        (Verdict::Held, Verdict::Held, _) => ("good", "Everything that was asked held."),
        (Verdict::Held, ..) => ("bad", "Nothing broke, but objectives did not hold."),
        (Verdict::Broken, ..) => ("bad", "Something did not hold."),
        (Verdict::Invalid, _, Some(_)) => ("warn", "This run is invalid: it shows nothing."),
        (Verdict::Invalid, _, None) => ("warn", "This run has not ended."),
    };
    let _ = write!(
        out,
        "<header class=\"{class}\"><h1>{says}</h1><p>soak <b>{}</b>: {}. It ran {} of {} in {} part{}; {}.</p>\
         <p>Violations: {}. Objectives: {}.</p></header>",
        escape(&run.profile),
        escape(&run.about),
        clock(number(run.elapsed) / 1000.0),
        clock(number(run.wanted) / 1000.0),
        run.part + 1,
        if run.part == 0 { "" } else { "s" },
        escape(report.why()),
        report.violations.len(),
        outcomes(objectives)
    );
    out.push_str("<ul class=\"tiles\">");
    let numbers = report.numbers();
    for name in ["claims", "finished", "recovered", "faults", "violations"] {
        let value = short(numbers.get(name).copied().unwrap_or(0.0));
        let _ = write!(out, "<li><b>{value}</b><span>{name}</span></li>");
    }
    out.push_str("</ul>");
    for note in run.invalid.iter().chain(&run.notes) {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(note));
    }
    let _ = write!(
        out,
        "<p class=\"small\">{} machines with {} agents each · seed {} · {} · harness at {}</p>",
        run.fleet.0,
        run.fleet.1,
        run.seed,
        escape(&run.orch),
        escape(&run.commit)
    );
}

fn objectives_table(objectives: &[Objective], out: &mut String) {
    out.push_str(
        "<h2>Objectives</h2><div class=\"wide\"><table><thead><tr><th></th><th>objective</th>\
         <th class=\"num\">measured</th><th>target</th></tr></thead><tbody>",
    );
    for line in objectives {
        let word = outcome(line);
        let class = match word {
            "held" => "good",
            "missed" => "bad",
            "not asked" => "none",
            _ => "warn",
        };
        let why = line.aside().map(|why| format!("<br><span class=\"small\">{}</span>", escape(why)));
        let _ = write!(
            out,
            "<tr><td><span class=\"mark {class}\">{word}</span></td><td>{}{}</td><td class=\"num\">{}</td><td>{}</td></tr>",
            escape(&line.says),
            why.unwrap_or_default(),
            escape(&line.measured()),
            escape(&line.target)
        );
    }
    out.push_str("</tbody></table></div>");
}

fn violations(report: &Report, out: &mut String) {
    if report.violations.is_empty() {
        return;
    }
    let _ =
        write!(out, "<h2>Violations</h2><p>{} in all.</p><ol class=\"violations\">", report.violations.len());
    for violation in report.violations.iter().take(50) {
        let at = clock(number(violation.at));
        let (kind, what) = (escape(&violation.kind), escape(&violation.what));
        let _ = write!(out, "<li><b>{kind}</b> at {at}<pre>{what}</pre></li>");
    }
    out.push_str("</ol>");
}

fn plots(report: &Report, out: &mut String) {
    let seconds = number(report.checkpoint.elapsed) / 1000.0;
    out.push_str("<h2>Over time</h2>");
    let chart = |title, unit, caption: String, log, lines| Chart {
        title,
        unit,
        caption,
        seconds,
        steps: &[],
        log,
        lines,
    };
    let over = |names: &[&str], share: &str| -> Vec<Line> {
        let line = |name: &&str| Line {
            name: (*name).to_owned(),
            points: report.points(|line| line["latency"][*name][share].as_f64()),
        };
        names.iter().map(line).collect()
    };
    let verbs = ["claim", "done", "heartbeat", "sync"];
    out.push_str(&faults(report, seconds));
    out.push_str(&chart("Latency, median", "ms", String::new(), true, over(&verbs, "p50")).figure());
    out.push_str(&chart("Latency, 99th percentile", "ms", String::new(), true, over(&verbs, "p99")).figure());
    let due = clock(number(report.checkpoint.lease.0) / 1000.0);
    let caption = format!("a lease is stale after {due}");
    out.push_str(
        &chart("Recovery of vanished sessions", "ms", caption, false, over(&["recovery"], "max")).figure(),
    );
    let finished = report.points(|line| line["counts"]["finished"].as_f64());
    let lines = vec![
        Line { name: "finished".to_owned(), points: finished },
        Line { name: "claims".to_owned(), points: report.points(|line| line["counts"]["claims"].as_f64()) },
    ];
    out.push_str(&chart("Work done", "tasks", String::new(), false, lines).figure());
    let caption = report.numbers().get("retries_per_push").map(|ratio| {
        format!("{ratio:.3} in all, of those that claims and syncs tell; by all pushes, watchdogs' too")
    });
    let caption = caption.unwrap_or_default();
    out.push_str(&chart("Retries per push, so far", "retries", caption, false, repeated(report)).figure());
    out.push_str("<h2>Growth</h2>");
    let rss = report.points(|line| line["watchdog"]["rss_kib"].as_f64().map(|kib| kib / 1024.0));
    let [rss_slope, fds_slope, remote_slope, clones_slope, state_slope] = report.slopes().map(trend_text);
    let lines = vec![Line { name: "the steady watchdog".to_owned(), points: rss }];
    out.push_str(&chart("Resident memory", "MiB", rss_slope, false, lines).figure());
    let fds = vec![Line {
        name: "the steady watchdog".to_owned(),
        points: report.points(|line| line["watchdog"]["fds"].as_f64()),
    }];
    out.push_str(&chart("Open files", "files", fds_slope, false, fds).figure());
    let lasting: Vec<(f64, f64)> =
        report.growth.iter().map(|g| (number(g.at) / 1000.0, number(g.bytes) / 1024.0)).collect();
    let caption =
        report.bytes_per_finished().map(|bytes| format!("{} bytes per finished task", short(bytes)));
    let lines = vec![Line { name: "state branch, packed".to_owned(), points: lasting }];
    out.push_str(&chart("Lasting history", "KiB", caption.unwrap_or_default(), false, lines).figure());
    let caption = format!("with loose objects; remote: {remote_slope}; mean of the machines: {clones_slope}");
    let git = sizes(report, Some("remote"), "clones");
    out.push_str(&chart("Size of .git", "MiB", caption, false, git).figure());
    let caption = format!("without .git; mean of the machines: {state_slope}");
    let state = sizes(report, None, "states");
    out.push_str(&chart("Size of state/", "MiB", caption, false, state).figure());
    out.push_str("<h2>Percentiles</h2>");
    out.push_str(&percentiles(report));
}

fn trend_text((_, unit, slope): (&str, &str, Option<trend::Slope>)) -> String {
    let Some(slope) = slope else { return "no slope yet".to_owned() };
    let (median, low, high) = (short(slope.median), short(slope.low), short(slope.high));
    format!("slope {median} {unit} over the last half (95 %: {low} to {high})")
}

/// Sizes of one field of the series that stands by itself, and of one that holds a number for each machine.
fn sizes(report: &Report, alone: Option<&str>, each: &str) -> Vec<Line> {
    let of =
        |name: String, value: &dyn Fn(&Value) -> Option<f64>| Line { name, points: report.points(value) };
    let alone = alone.map(|field| of(field.to_owned(), &|line| line[field].as_f64().map(mib)));
    let machines = 0..report.checkpoint.fleet.0.min(5);
    let each = machines.map(|m| of(format!("m{m}"), &|line| line[each][m].as_f64().map(mib)));
    alone.into_iter().chain(each).collect()
}

/// Retries per push so far: both are counted at their own moments, and a single interval would show that and not them.
fn repeated(report: &Report) -> Vec<Line> {
    let ratio = |line: &Value| {
        let pushes = line["counts"]["pushes"].as_f64().filter(|pushes| *pushes > 0.0)?;
        Some(line["counts"]["retries"].as_f64().unwrap_or(0.0) / pushes)
    };
    vec![Line { name: "retries per push".to_owned(), points: report.points(ratio) }]
}

fn faults(report: &Report, seconds: f64) -> String {
    let mut bars: Vec<Bar> = report
        .violations
        .iter()
        .map(|v| {
            let (from, says) = (number(v.at), format!("{}: {}", v.kind, v.what));
            Bar { row: "violations".to_owned(), from, to: from, says }
        })
        .collect();
    for fault in &report.faults {
        let (from, to) = (number(fault.from) / 1000.0, number(fault.to) / 1000.0);
        let place = fault.machine.map_or_else(|| "everywhere".to_owned(), |machine| format!("m{machine}"));
        let says = format!("{} {place} at {}, for {:.1} s", fault.kind, clock(from), to - from);
        bars.push(Bar { row: fault.kind.clone(), from, to, says });
    }
    timeline("Faults", seconds, &bars)
}

fn percentiles(report: &Report) -> String {
    const SHARES: [f64; 6] = [0.5, 0.75, 0.9, 0.99, 0.999, 1.0];
    let steps = ["p50", "p75", "p90", "p99", "p99.9", "max"];
    let verbs = ["claim", "done", "heartbeat", "sync", "recovery", "calm.claim", "calm.git"];
    let lines = verbs.iter().filter_map(|verb| {
        let histogram = report.checkpoint.numbers.latency.get(*verb)?;
        let points =
            (0_u32..).zip(SHARES).filter_map(|(at, share)| Some((f64::from(at), millis(histogram, share)?)));
        Some(Line { name: (*verb).to_owned(), points: points.collect() })
    });
    let lines = lines.collect();
    let caption = "calm.claim: by path, uncontended, at rest; calm.git: the like of its push and listing by git's client";
    let title = "Latency by percentile, whole run";
    Chart { title, unit: "ms", caption: caption.to_owned(), seconds: 0.0, steps: &steps, log: true, lines }
        .figure()
}

fn faults_table(report: &Report, out: &mut String) {
    let all = report.faults_by_kind();
    if all.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Faults by kind</h2><div class=\"wide\"><table><thead><tr><th>kind</th><th class=\"num\">struck</th>\
         <th class=\"num\">at least</th></tr></thead><tbody>",
    );
    for (kind, (count, demanded)) in all {
        // A run that goes on may still strike as often as it has to.
        let lacking = report.checkpoint.end.is_some() && demanded.is_some_and(|demanded| count < demanded);
        let class = if lacking { " class=\"mark bad\"" } else { "" };
        let demanded = demanded.map_or_else(|| "–".to_owned(), |demanded| demanded.to_string());
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"num\"><span{class}>{count}</span></td><td class=\"num\">{demanded}</td></tr>",
            escape(&kind)
        );
    }
    out.push_str("</tbody></table></div>");
    out.push_str(match &report.owed {
        Some(_) => "<p class=\"small\">“At least” is what the profile demands of a run of this length.</p>",
        None => "<p class=\"small\">This run did not write down what its profile demands.</p>",
    });
}

/// The table of planted bugs, where one was measured: another layer, so it counts for nothing in the verdict.
fn planted_bugs(report: &Report, out: &mut String) {
    let table = match &report.planted {
        Ok(Some(table)) => table,
        Ok(None) => return,
        Err(why) => {
            let _ = write!(out, "<h2>Planted bugs</h2><p class=\"note\">{}</p>", escape(why));
            return;
        }
    };
    let _ = write!(
        out,
        "<h2>Planted bugs</h2><p class=\"small\">One guard is taken away at a time; so many seeds the simulation took to \
         notice. Measured at {}{}.</p><div class=\"wide\"><table><thead><tr><th>guard taken away</th>\
         <th class=\"num\">seeds</th><th class=\"num\">limit</th><th>what broke</th></tr></thead><tbody>",
        escape(&table.commit),
        if table.commit == report.checkpoint.commit { "" } else { ", another commit than that of this run" }
    );
    for planted::Row { guard, broke, limit, seeds, .. } in &table.rows {
        let seeds =
            seeds.map_or_else(|| "<span class=\"mark bad\">not found</span>".to_owned(), |n| n.to_string());
        let broke = broke.as_deref().unwrap_or("nothing was noticed");
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"num\">{seeds}</td><td class=\"num\">{limit}</td><td>{}</td></tr>",
            escape(guard),
            escape(broke)
        );
    }
    out.push_str("</tbody></table></div>");
}

fn tables(report: &Report, out: &mut String) {
    let numbers = &report.checkpoint.numbers;
    out.push_str(
        "<h2>Latencies</h2><div class=\"wide\"><table><thead><tr><th>what</th><th class=\"num\">count</th>\
         <th class=\"num\">p50</th><th class=\"num\">p99</th><th class=\"num\">p99.9</th><th class=\"num\">max</th>\
         </tr></thead><tbody>",
    );
    let before = [
        ("fsync before the run", &report.checkpoint.fsync),
        ("push before the run", &report.checkpoint.push),
    ];
    let measured = numbers.latency.iter().map(|(name, histogram)| (name.as_str(), histogram));
    for (name, histogram) in measured.chain(before) {
        let at = |share| histogram.quantile(share).map_or_else(|| "–".to_owned(), span);
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td>\
             <td class=\"num\">{}</td><td class=\"num\">{}</td></tr>",
            escape(name),
            histogram.count(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    out.push_str("</tbody></table></div><h2>Counters</h2><ul class=\"counts\">");
    for (name, count) in &numbers.counts {
        let _ = write!(out, "<li><span>{}</span> <b>{count}</b></li>", escape(name));
    }
    out.push_str("</ul>");
}

fn span(span: Duration) -> String {
    let ms = span.as_secs_f64() * 1000.0;
    if ms >= 10_000.0 { format!("{:.1} s", ms / 1000.0) } else { format!("{} ms", short(ms)) }
}

const STYLE: &str = include_str!("page.css");
