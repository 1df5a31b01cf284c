//! The report on a run that was made up here, and the page as a real browser sees it.

use super::*;
use crate::soak::checkpoint::End;
use crate::soak::numbers::Numbers;
use std::process::Command;

fn run(violations: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut numbers = Numbers::default();
    for (name, count) in
        [("claims", 200), ("finished", 150), ("recovered", 7), ("checks", 2), ("claims.tried", 1000)]
    {
        numbers.counts.insert(name.to_owned(), count);
    }
    numbers.counts.insert("claims.unavailable".to_owned(), 2);
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
            "at": n * 2000, "unix_ms": 1_700_000_000_000_u64 + n * 2000, "counts": {"claims": n * 3, "finished": n * 2}, "clones": [n, n, n], "remote": n * 1000,
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
    assert!((numbers["git_bytes_per_finished"] - 1200.0).abs() < 1e-9);
    // 8 KiB in two seconds.
    assert!(
        (numbers["rss_slope_mib_per_hour"] - 14.0625).abs() < 1e-6,
        "{}",
        numbers["rss_slope_mib_per_hour"]
    );
    assert_eq!(report.verdict(), Verdict::Broken);
}

#[test]
fn what_was_never_looked_at_is_not_zero() {
    let dir = run(false);
    let mut checkpoint = Checkpoint::read(dir.path()).unwrap();
    checkpoint.numbers.counts.remove("checks");
    checkpoint.write(dir.path()).unwrap();
    let numbers = Report::of(dir.path()).unwrap().numbers();
    assert!(!numbers.contains_key("lost_operations") && !numbers.contains_key("git_bytes_per_heartbeat"));
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

#[test]
fn the_page_needs_nothing_else_and_shows_the_verdict_first() {
    for (violations, word) in [(false, "Everything held."), (true, "Something did not hold.")] {
        let dir = run(violations);
        let page =
            std::fs::read_to_string(Report::of(dir.path()).unwrap().write(dir.path()).unwrap()).unwrap();
        assert!(page.find(word).unwrap() < page.find("<h2>").unwrap());
        for outside in ["<script", "http://", "https://", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.contains("done of &lt;T1&gt; &amp; more"), violations);
    }
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
    let page = Report::of(dir.path()).unwrap().write(dir.path()).unwrap();
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
            dom.contains("<title>laid out 10 of 10 overflow false</title>"),
            "{}",
            &dom[..dom.len().min(600)]
        );
        let complaints: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}
