//! The report on a run that was made up here, and the page as a real browser sees it.

use super::*;
use crate::soak::checkpoint::End;
use crate::soak::numbers::Numbers;
use std::process::Command;

fn run(violations: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Numbers::default();
    for (name, count) in [
        ("pushes", 800),
        ("retries", 20),
        ("claims", 200),
        ("finished", 150),
        ("recovered", 7),
        ("checks", 2),
        ("claims.tried", 1000),
    ] {
        numbers.counts.insert(name.to_owned(), count);
    }
    numbers.counts.insert("claims.unavailable".to_owned(), 2);
    numbers.counts.insert("faults.kill".to_owned(), 29);
    for name in ["claim", "done", "calm.claim", "sync", "recovery", "recovery.late", "convergence"] {
        let histogram = numbers.latency.entry(name.to_owned()).or_default();
        (1..100).for_each(|ms| histogram.record(Duration::from_millis(ms)));
    }
    let verdict = if violations { Verdict::Broken } else { Verdict::Held };
    let checkpoint = Checkpoint {
        profile: "smoke".to_owned(),
        about: "a run that was made up".to_owned(),
        seed: 1,
        commit: "0".repeat(40),
        orch: "orch 0.1.0".to_owned(),
        part: 0,
        began: 1_700_000_000,
        elapsed: 120_000,
        wanted: 120_000,
        fleet: (3, 2),
        lease: (6000, 1000),
        ports: vec![0, 0, 0],
        open: 3,
        numbers,
        fsync: Histogram::default(),
        push: Histogram::default(),
        notes: vec!["no clock offsets: <none>".to_owned()],
        invalid: Vec::new(),
        end: Some(End { verdict, why: "the time was over".to_owned() }),
    };
    checkpoint.write(dir.path()).unwrap();
    let write = |name: &str, lines: Vec<Value>| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    let sample = |n: u64| {
        let latency = json!({"count": 9, "p50": 40 + n, "p99": 90 + n, "max": 100 + n});
        json!({
            "at": n * 2000, "unix_ms": 1_700_000_000_000_u64 + n * 2000, "counts": {"claims": n * 3, "finished": n * 2, "pushes": n * 10, "retries": n / 4}, "clones": [n, n, n],
            "states": [n * 500, n * 500, n * 500], "remote": n * 1000,
            "latency": {"claim": latency, "done": latency, "recovery": latency},
            "watchdog": {"pid": 5, "rss_kib": 20_000 + n * 8, "fds": 5},
        })
    };
    write(sample::FILE, (1..60).map(sample).collect());
    write(
        "growth.jsonl",
        vec![
            json!({"at": 0, "finished": 0, "bytes": 0}),
            json!({"at": 100_000, "finished": 100, "bytes": 120_000}),
        ],
    );
    let kill = |n: u64| json!({"from": n * 3000, "to": n * 3000 + 5, "kind": "kill", "machine": 1});
    write("faults.jsonl", (1..30).map(kill).collect());
    let faults = [("kill", 20), ("cut", 10), ("clock", 5)].map(|(kind, least)| (kind.to_owned(), least));
    sample::Owed { whole: 240_000, faults: faults.into() }.write(dir.path()).unwrap();
    if violations {
        let lost =
            |n: u64| json!({"at": 60, "kind": "lost_operation", "what": format!("done of <T{n}> & more")});
        write("violations.jsonl", vec![lost(1), lost(2)]);
    }
    dir
}

#[test]
fn measures_are_what_the_run_says() {
    let dir = run(true);
    let report = Report::of(dir.path()).unwrap();
    let numbers = report.numbers();
    assert!(numbers.keys().all(|name| MEASURES.contains(&name.as_str())), "{numbers:?}");
    assert!((numbers["lost_operations"] - 2.0).abs() < 1e-9 && numbers["other_violations"].abs() < 1e-9);
    assert!((numbers["claim_availability_percent"] - 99.8).abs() < 1e-9);
    assert!((numbers["pushes"] - 800.0).abs() < 1e-9 && (numbers["retries_per_push"] - 0.025).abs() < 1e-9);
    assert!((numbers["git_bytes_per_finished"] - 1200.0).abs() < 1e-9);
    // Of kill, cut and clock this computer could not have the last.
    assert!((numbers["faults_left_out"] - 1.0).abs() < 1e-9);
    // 8 KiB in two seconds.
    assert!(
        (numbers["rss_slope_mib_per_hour"] - 14.0625).abs() < 1e-6,
        "{}",
        numbers["rss_slope_mib_per_hour"]
    );
    assert_eq!(report.verdict(), Verdict::Broken);
}

/// Faults that end every watchdog, and the end of a part, had the memory of the last one judged by its warm-up.
#[test]
fn memory_is_judged_by_the_process_that_was_followed_for_longest() {
    let (_dir, mut report) = good(|run| run.elapsed = 3_600_000);
    report.series.iter_mut().for_each(|line| line["unix_ms"] = json!(line["at"].as_u64().unwrap() * 30));
    assert!((report.numbers()["rss_hours"] - 58.0 / 60.0).abs() < 1e-9);
    report.series.iter_mut().skip(49).for_each(|line| line["watchdog"]["pid"] = json!(6));
    assert!((report.numbers()["rss_hours"] - 48.0 / 60.0).abs() < 1e-9, "{}", report.numbers()["rss_hours"]);
    // Another process that came to the same number.
    report.series.iter_mut().skip(20).take(5).for_each(|line| line["watchdog"]["pid"] = json!(7));
    assert!((report.numbers()["rss_hours"] - 23.0 / 60.0).abs() < 1e-9, "{}", report.numbers()["rss_hours"]);
}

#[test]
fn what_was_never_looked_at_is_not_zero() {
    let dir = run(false);
    let mut checkpoint = Checkpoint::read(dir.path()).unwrap();
    for name in ["checks", "pushes"] {
        checkpoint.numbers.counts.remove(name);
    }
    checkpoint.write(dir.path()).unwrap();
    let numbers = Report::of(dir.path()).unwrap().numbers();
    assert!(!numbers.contains_key("lost_operations") && !numbers.contains_key("git_bytes_per_heartbeat"));
    assert!(!numbers.contains_key("retries_per_push"), "a run of an older version counted no pushes");
}

#[test]
fn a_last_line_that_was_cut_off_is_left_out() {
    use std::io::Write;
    let dir = run(false);
    let path = dir.path().join(sample::FILE);
    let mut file = std::fs::File::options().append(true).open(path).unwrap();
    file.write_all(b"{\"at\": 12").unwrap();
    assert_eq!(Report::of(dir.path()).unwrap().series.len(), 59);
}

/// A run whose measures all meet the objectives, as long as nobody changes it.
fn good(change: impl FnOnce(&mut Checkpoint)) -> (tempfile::TempDir, Report) {
    let dir = run(false);
    let mut checkpoint = Checkpoint::read(dir.path()).unwrap();
    let claims = checkpoint.numbers.latency.entry("calm.claim".to_owned()).or_default();
    *claims = Histogram::default();
    claims.record(Duration::from_millis(20));
    checkpoint.numbers.counts.insert("calm.heartbeats".to_owned(), 3);
    checkpoint.numbers.counts.insert("claims.unavailable".to_owned(), 1);
    change(&mut checkpoint);
    checkpoint.write(dir.path()).unwrap();
    let report = Report::with(dir.path(), &dir.path().join("records")).unwrap();
    (dir, report)
}

fn two_were_unavailable(run: &mut Checkpoint) {
    run.numbers.counts.insert("claims.unavailable".to_owned(), 2);
}

fn page_of(dir: &Path, report: &Report) -> String {
    std::fs::read_to_string(report.write(dir).unwrap()).unwrap()
}

#[test]
fn the_page_needs_nothing_else_and_shows_the_verdict_first() {
    for (violations, word) in
        [(false, "Nothing broke, but objectives did not hold."), (true, "Something did not hold.")]
    {
        let dir = run(violations);
        let page = page_of(dir.path(), &Report::of(dir.path()).unwrap());
        assert!(page.find(word).unwrap() < page.find("<h2>").unwrap());
        for outside in ["<script", "http://", "https://", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.contains("done of &lt;T1&gt; &amp; more"), violations);
    }
}

/// The page of a run without violations said that everything held above a table with red lines.
#[test]
fn the_head_gives_the_verdict_that_a_release_needs() {
    let (dir, report) = good(|_| {});
    assert_eq!((report.verdict(), report.release()), (Verdict::Held, Verdict::Held));
    let page = page_of(dir.path(), &report);
    // Two minutes show no trend of memory.
    assert!(page.contains("<h1>Everything that was asked held.</h1>"), "{}", report.summary());
    assert!(page.contains("Objectives: 14 held, 1 not asked."));
    assert!(page.contains("<span class=\"mark none\">not asked</span>"));
    assert!(page.contains("rss_hours is 0.032, and this needs 0.14"));
    assert!(!page.contains("mark bad\">missed"));

    let (dir, report) = good(two_were_unavailable);
    assert_eq!((report.verdict(), report.release()), (Verdict::Held, Verdict::Broken));
    let page = page_of(dir.path(), &report);
    assert!(page.contains("<title>soak smoke: broken</title>"));
    assert!(page.contains("<header class=\"bad\"><h1>Nothing broke, but objectives did not hold.</h1>"));
    assert!(page.contains("Violations: 0. Objectives: 13 held, 1 missed, 1 not asked."));
    let said = "\n  objectives: 13 held, 1 missed, 1 not asked\n  - missed: availability of claim while the remote is up: 99.8 %, ≥ 99.9 %";
    assert!(report.summary().contains(said), "{}", report.summary());

    // A run that is long enough is asked everything; the made-up memory does not grow within its first hour.
    let (dir, mut report) = good(|run| run.elapsed = 3_600_000);
    for line in &mut report.series {
        line["unix_ms"] = json!(line["at"].as_u64().unwrap() * 30);
        line["watchdog"]["rss_kib"] = json!(20_000);
    }
    assert!(page_of(dir.path(), &report).contains("<h1>Everything held.</h1>"), "{}", report.summary());
}

#[test]
fn the_twin_holds_what_the_page_shows() {
    let (_dir, report) = good(two_were_unavailable);
    let twin = report.twin();
    assert_eq!((&twin["verdict"], &twin["release_verdict"]), (&json!("held"), &json!("broken")));
    let objective = |measure: &str| {
        twin["objectives"].as_array().unwrap().iter().find(|line| line["measure"] == measure).unwrap()
    };
    let line = objective("claim_availability_percent");
    assert_eq!(
        (&line["verdict"], &line["measured"], &line["target"], &line["unit"]),
        (&json!("missed"), &json!(99.8), &json!("≥ 99.9 %"), &json!("%"))
    );
    assert_eq!(objective("lost_operations")["verdict"], "held");
    let line = objective("rss_slope_mib_per_hour");
    assert_eq!((&line["verdict"], line["unasked"].is_string()), (&json!("not_asked"), true));
    let slope =
        |name: &str| (twin["slopes"][name]["unit"].clone(), twin["slopes"][name]["median"].as_f64().unwrap());
    // Each sample of two seconds adds 8 KiB of memory, 1000 bytes of the remote, one byte of each clone,
    // 500 bytes of the files beside it, and no open file.
    let per_hour = 1800.0 / 1024.0 / 1024.0;
    for (name, unit, expected) in [
        ("rss", "MiB per hour", 1800.0 * 8.0 / 1024.0),
        ("fds", "files per hour", 0.0),
        ("git_remote", "MiB per hour of load", 1000.0 * per_hour),
        ("git_clones_mean", "MiB per hour of load", per_hour),
        ("state_mean", "MiB per hour of load", 500.0 * per_hour),
    ] {
        let (found, median) = slope(name);
        assert_eq!(found, unit);
        assert!((median - expected).abs() < 1e-6, "{name}: {median} {expected}");
    }
    // Half of the whole length owes half. There was no clock to set.
    assert_eq!(twin["faults"]["kill"], json!({"count": 29, "demanded": 10}));
    assert_eq!(twin["faults"]["cut"], json!({"count": 0, "demanded": 5}));
    assert_eq!(twin["faults"]["clock"], json!({"count": 0, "demanded": null}));
}

#[test]
fn slopes_stand_beside_their_plots_and_faults_beside_what_was_demanded() {
    let (dir, report) = good(|_| {});
    let page = page_of(dir.path(), &report);
    for beside in [
        "<b>Resident memory</b> <span>slope 14.1 MiB per hour over the last half",
        "<b>Open files</b> <span>slope 0 files per hour over the last half",
        "<b>Size of .git</b> <span>with loose objects; remote: slope 1.72 MiB per hour of load over the last half",
        "<b>Size of state/</b> <span>without .git; mean of the machines: slope 0.86 MiB per hour of load over the last half",
        "<b>Retries per push, so far</b> <span>0.025 in all, of those that claims and syncs tell",
        "<td>kill</td><td class=\"num\"><span>29</span></td><td class=\"num\">10</td>",
        "<td>cut</td><td class=\"num\"><span class=\"mark bad\">0</span></td><td class=\"num\">5</td>",
        "<td>clock</td><td class=\"num\"><span>0</span></td><td class=\"num\">–</td>",
    ] {
        assert!(page.contains(beside), "{beside}");
    }
    // An older run goes without.
    std::fs::remove_file(dir.path().join(sample::Owed::FILE)).unwrap();
    let report = Report::of(dir.path()).unwrap();
    assert_eq!(report.twin()["faults"], json!({"kill": {"count": 29, "demanded": null}}));
    assert!(page_of(dir.path(), &report).contains("did not write down what its profile demands"));
}

#[test]
fn the_table_of_planted_bugs_is_shown_where_one_was_measured() {
    let (dir, report) = good(|_| {});
    assert_eq!(report.twin()["planted_bugs"], Value::Null);
    assert!(!page_of(dir.path(), &report).contains("Planted bugs"));
    let row = |guard: &str, seeds: Option<u64>| planted::Row {
        guard: guard.to_owned(),
        broke: seeds.map(|_| "promise 2: <T1> by two".to_owned()),
        limit: 20,
        seeds,
        seconds: 1.5,
    };
    let rows = vec![row("no-file-sync", Some(3)), row("dice-repeat", None)];
    let records = dir.path().join("records");
    planted::Table { commit: "1".repeat(40), rows }.write(&records).unwrap();
    let report = Report::with(dir.path(), &records).unwrap();
    let page = page_of(dir.path(), &report);
    for shown in [
        "Measured at 1111111111111111111111111111111111111111, another commit than that of this run.",
        "<td>no-file-sync</td><td class=\"num\">3</td><td class=\"num\">20</td><td>promise 2: &lt;T1&gt; by two</td>",
        "<td>dice-repeat</td><td class=\"num\"><span class=\"mark bad\">not found</span></td>",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert_eq!(report.twin()["planted_bugs"]["rows"][0]["seeds"], 3);
    assert_eq!(report.release(), Verdict::Held, "it is another layer");
    std::fs::write(records.join(planted::FILE), "{").unwrap();
    let report = Report::with(dir.path(), &records).unwrap();
    assert!(page_of(dir.path(), &report).contains("bugs-table.json: EOF"));
}

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
}

/// The page was only ever read by people who wrote it: a real browser must find no fault with it, in dark and light,
/// and must lay every plot out with a size.
#[test]
fn a_real_browser_shows_every_plot_and_complains_of_nothing() {
    let Some(browser) = browser() else {
        let must = cfg!(target_os = "linux") && std::env::var_os("CI").is_some();
        assert!(!must, "under CI the page is looked at: install chromium");
        return eprintln!("skipped: no chromium is installed");
    };
    let dir = run(true);
    // With every table that a page can have.
    let row = planted::Row {
        guard: "refusal-ignored".to_owned(),
        broke: Some("promise 1: ".to_owned() + &"T-0-1 was claimed by two ".repeat(4)),
        limit: 5,
        seeds: Some(1),
        seconds: 0.5,
    };
    planted::Table { commit: "1".repeat(40), rows: vec![row] }.write(dir.path()).unwrap();
    let page = Report::with(dir.path(), dir.path()).unwrap().write(dir.path()).unwrap();
    // A script of the test counts what was laid out and writes it where the browser prints it.
    let text = std::fs::read_to_string(&page).unwrap();
    let count = "<script>addEventListener('load',()=>{const r=[...document.querySelectorAll('figure svg')]\
                 .map(s=>s.getBoundingClientRect());const w=document.documentElement;document.title='laid out '+\
                 r.filter(b=>b.width>200&&b.height>15).length+' of '+document.querySelectorAll('figure').length+\
                 ' overflow '+(w.scrollWidth>w.clientWidth)})</script></body>";
    let probe = dir.path().join("probe.html");
    std::fs::write(&probe, text.replace("</body>", count)).unwrap();
    for (scheme, size) in [("0", "1200,900"), ("1", "360,800")] {
        let output = Command::new(browser)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--dump-dom",
            ])
            .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--no-first-run"])
            .arg(format!("--window-size={size}"))
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--user-data-dir={}", dir.path().join(format!("profile-{scheme}")).display()))
            .arg(format!("file://{}", probe.display()))
            .output()
            .unwrap();
        let (dom, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{said}");
        assert!(
            dom.contains("<title>laid out 12 of 12 overflow false</title>"),
            "{}",
            &dom[..dom.len().min(600)]
        );
        let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

/// A supervisor that starts nothing leaves nothing behind.
#[test]
fn no_survivors_are_told_of_workers_that_never_finished_anything() {
    let survivors = |works: u64, succeeded: u64| {
        let (_dir, report) = good(|run| {
            run.numbers.counts.insert("works".to_owned(), works);
            run.numbers.counts.insert("works.succeeded".to_owned(), succeeded);
        });
        report.numbers().get("surviving_children").copied()
    };
    assert_eq!([survivors(0, 0), survivors(40, 30), survivors(2, 0)], [Some(0.0); 3]);
    assert_eq!(survivors(40, 0), None);
}

/// The report of a run that was killed said that it goes on.
#[test]
fn a_run_that_was_cut_off_does_not_go_on() {
    let dir = run(false);
    let mut checkpoint = Checkpoint::read(dir.path()).unwrap();
    checkpoint.end = None;
    checkpoint.write(dir.path()).unwrap();
    let said = || Report::with(dir.path(), dir.path()).unwrap().summary();
    assert!(said().contains("cut off, and goes on with --resume"), "{}", said());
    let lock = std::fs::File::create(dir.path().join("run.lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(said().contains("(it goes on)"), "{}", said());
}
