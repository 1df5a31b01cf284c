//! The work of the rehearsal: three days of a web shop's log, and the tasks that make a report of them.
//!
//! Everything is the same in every run. The programs are those that every system has, and the results are
//! computed here once more, so that a report that is wrong is noticed.

use std::collections::BTreeMap;

/// The days, in the names of files and tasks.
pub const DAYS: [&str; 3] = ["mon", "tue", "wed"];
/// Requests of one day.
const REQUESTS: u32 = 400;
/// Pages in the report.
const PAGES: usize = 5;
/// Seconds that the long step of a day takes: the first two last longer than a lease.
const CRUNCH: [&str; 3] = [LONG, LONG, "1"];
/// Seconds of a step that outlives a lease; the machines are stopped in the middle of it.
pub const LONG: &str = "5";
/// The task that an agent does by hand.
pub const BY_HAND: &str = "headline";

const PATHS: [&str; 9] =
    ["/", "/shop", "/shop/tea", "/shop/coffee", "/cart", "/checkout", "/about", "/contact", "/search"];

/// The log of one day, the same in every run.
#[must_use]
pub fn log(day: usize) -> String {
    let mut dice = 0x2545_f491_u32 ^ (day as u32 + 1).wrapping_mul(0x9e37_79b9);
    let mut throw = |sides: u32| {
        dice ^= dice << 13;
        dice ^= dice >> 17;
        dice ^= dice << 5;
        dice % sides
    };
    let mut text = String::new();
    for at in 0..REQUESTS {
        // Two throws, the smaller one counts: some pages are more popular than others.
        let path = PATHS[throw(9).min(throw(9)) as usize];
        let status = if throw(25) == 0 { 500 } else { 200 };
        let (hour, minute, client) = (at / 20, at % 20 * 3, throw(200));
        text.push_str(&format!(
            "10.0.{day}.{client} [2026-02-{:02}T{hour:02}:{minute:02}:00Z] \"GET {path} HTTP/1.1\" {status} {}\n",
            day + 2,
            500 + throw(9000)
        ));
    }
    text
}

/// A task as a file for `orch add --file`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The text of the file.
    pub yaml: String,
}

/// All tasks, needs first.
#[must_use]
pub fn jobs() -> Vec<Job> {
    let mut jobs = Vec::new();
    for day in DAYS {
        let log = format!("{day}.log");
        let steps =
            [vec!["mkdir", "-p", "logs"], vec!["cp", "-f", "INBOX", "LOG"], vec!["cmp", "INBOX", "LOG"]];
        let steps = replaced(&steps, &[("INBOX", &format!("inbox/{log}")), ("LOG", &format!("logs/{log}"))]);
        jobs.push(job(
            &format!("fetch-{day}"),
            &format!("Fetch the log of {}", name(day)),
            "P0",
            &[],
            &steps,
        ));
    }
    for (day, seconds) in DAYS.iter().zip(CRUNCH) {
        let pick = format!("s/.*\"GET \\([^ ]*\\) .*/\\1/w out/{day}.pages");
        let steps = [
            vec!["mkdir", "-p", "out"],
            vec!["sed", "-n", "-e", &pick, "LOG"],
            vec!["sleep", seconds],
            vec!["sort", "-o", "SORTED", "PAGES"],
        ];
        let steps = replaced(
            &steps,
            &[
                ("LOG", &format!("logs/{day}.log")),
                ("SORTED", &format!("out/{day}.sorted")),
                ("PAGES", &format!("out/{day}.pages")),
            ],
        );
        let title = format!("Count the visits of {}", name(day));
        jobs.push(job(&format!("visits-{day}"), &title, "P1", &[&format!("fetch-{day}")], &steps));
    }
    jobs.extend(rest());
    jobs
}

/// The tasks that bring the days together.
fn rest() -> Vec<Job> {
    let step = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    vec![
        job(
            "errors",
            "Collect the requests that failed",
            "P2",
            &["fetch-mon", "fetch-tue", "fetch-wed"],
            &[
                step(&["mkdir", "-p", "out"]),
                step(&["sort", "-o", "out/all.log", "logs/mon.log", "logs/tue.log", "logs/wed.log"]),
                step(&["sed", "-n", "-e", "/\" 500 /w out/errors.txt", "out/all.log"]),
                step(&["wc", "-l", "out/errors.txt"]),
            ],
        ),
        job(
            "merge",
            "Merge the three days",
            "P2",
            &["visits-mon", "visits-tue", "visits-wed"],
            &[
                step(&[
                    "sort",
                    "-m",
                    "-o",
                    "out/pages.txt",
                    "out/mon.sorted",
                    "out/tue.sorted",
                    "out/wed.sorted",
                ]),
                step(&["uniq", "-c", "out/pages.txt", "out/counts.txt"]),
            ],
        ),
        job(
            "top",
            "Rank the pages",
            "P2",
            &["merge"],
            &[step(&["sort", "-k1,1nr", "-k2,2", "-o", "out/top.txt", "out/counts.txt"])],
        ),
        job(BY_HAND, "Write the headline of the report", "P2", &[], &[]),
        job(
            "report",
            "Write the report",
            "P2",
            &["errors", BY_HAND, "top"],
            &[
                step(&["sed", "-n", "-e", &format!("1,{PAGES}w out/report.txt"), "out/top.txt"]),
                step(&["wc", "-l", "out/report.txt"]),
            ],
        ),
        job(
            "publish",
            "Publish report and errors",
            "P2",
            &["report"],
            &[
                step(&["mkdir", "-p", "site"]),
                step(&["cp", "-f", "out/report.txt", "out/errors.txt", "site/"]),
                step(&["cmp", "out/report.txt", "site/report.txt"]),
                step(&["cksum", "site/report.txt", "site/errors.txt"]),
            ],
        ),
    ]
}

fn name(day: &str) -> &'static str {
    match day {
        "mon" => "Monday",
        "tue" => "Tuesday",
        _ => "Wednesday",
    }
}

fn replaced(steps: &[Vec<&str>], names: &[(&str, &str)]) -> Vec<Vec<String>> {
    let word =
        |word: &&str| names.iter().find(|(name, _)| name == word).map_or(*word, |(_, is)| *is).to_owned();
    steps.iter().map(|step| step.iter().map(word).collect()).collect()
}

/// JSON is YAML, and quotes whatever needs it.
fn job(id: &str, title: &str, priority: &str, needs: &[&str], steps: &[Vec<String>]) -> Job {
    use serde_json::json;
    let mut yaml =
        format!("id: {id}\ntitle: {}\npriority: {priority}\nneeds: {}\n", json!(title), json!(needs));
    if !steps.is_empty() {
        yaml.push_str("run:\n  exec:\n");
        for argv in steps {
            // The order of sort must not depend on where it runs.
            yaml.push_str(&format!("    - {}\n", json!({ "argv": argv, "env": { "LC_ALL": "C" } })));
        }
    }
    Job { id: id.to_owned(), yaml }
}

/// What must lie in `site/` in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The most visited pages with their visits, most first.
    pub report: Vec<(u32, String)>,
    /// The requests that failed, sorted.
    pub errors: Vec<String>,
}

/// The results, computed without any of the programs that the tasks use.
#[must_use]
pub fn expected() -> Expected {
    let logs: Vec<String> = (0..DAYS.len()).map(log).collect();
    let lines = || logs.iter().flat_map(|log| log.lines());
    let mut visits: BTreeMap<&str, u32> = BTreeMap::new();
    for path in lines().filter_map(|line| line.split('"').nth(1)?.split(' ').nth(1)) {
        *visits.entry(path).or_default() += 1;
    }
    let mut report: Vec<(u32, String)> = visits.into_iter().map(|(path, n)| (n, path.to_owned())).collect();
    report.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    report.truncate(PAGES);
    let failed = lines().filter(|line| line.split('"').nth(2).is_some_and(|rest| rest.starts_with(" 500 ")));
    let mut errors: Vec<String> = failed.map(str::to_owned).collect();
    errors.sort();
    Expected { report, errors }
}

/// A report as `uniq -c` wrote it: numbers and pages, whatever the width of the columns.
#[must_use]
pub fn read_report(text: &str) -> Option<Vec<(u32, String)>> {
    let one = |line: &str| {
        let (count, page) = line.trim().split_once(' ')?;
        Some((count.parse().ok()?, page.trim().to_owned()))
    };
    text.lines().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec;

    #[test]
    fn logs_are_the_same_every_time_and_differ_by_day() {
        assert_eq!(log(0), log(0));
        assert_ne!(log(0), log(1));
        assert_eq!(log(2).lines().count(), REQUESTS as usize);
    }

    #[test]
    fn every_job_is_a_task_file_whose_needs_came_before() {
        let mut known: Vec<String> = Vec::new();
        for job in jobs() {
            let (id, def) = codec::decode_definition(job.yaml.as_bytes())
                .unwrap_or_else(|why| panic!("{}: {why}\n{}", job.id, job.yaml));
            assert_eq!(id.unwrap().as_str(), job.id);
            for need in &def.needs {
                assert!(known.contains(&need.to_string()), "{} needs {need}", job.id);
            }
            assert_eq!(def.run.is_none(), job.id == BY_HAND);
            known.push(job.id);
        }
        assert_eq!(known.len(), 12);
    }

    #[test]
    fn the_expectation_says_something() {
        let expected = expected();
        assert_eq!(expected.report.len(), PAGES);
        assert!(expected.report.is_sorted_by(|a, b| a.0 >= b.0));
        assert!(expected.errors.len() > 10, "{}", expected.errors.len());
        assert_eq!(read_report("  12 /shop\n   3 /\n"), Some(vec![(12, "/shop".into()), (3, "/".into())]));
        assert_eq!(read_report("nonsense\n"), None);
    }
}
