//! The verdict in plain words, the numbers behind it, and what to set in `orch.yaml`.

use orch::world::RemoteFailure;
use serde::Serialize;

use super::field::{Run, Spans, Trouble};
use super::scratch::{Left, clean_command};

/// What became of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// It holds.
    Held,
    /// It holds with a limit that the user should know.
    Limited,
    /// It does not hold: agents would do work twice or lose it.
    Broken,
    /// It could not be tried.
    Untried,
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The question in few words.
    pub name: String,
    /// The answer.
    pub held: Held,
    /// What was seen.
    pub told: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Check {
    fn new(name: &str, held: Held, told: impl Into<String>) -> Self {
        Check { name: name.to_owned(), held, told: told.into(), advice: None }
    }

    /// It holds.
    pub fn held(name: &str, told: impl Into<String>) -> Self {
        Check::new(name, Held::Held, told)
    }

    /// It holds, with a limit.
    pub fn limited(name: &str, told: impl Into<String>, advice: &str) -> Self {
        Check::new(name, Held::Limited, told).advise(advice)
    }

    /// It does not hold.
    pub fn broken(name: &str, told: impl Into<String>) -> Self {
        Check::new(name, Held::Broken, told)
    }

    /// It could not be tried.
    pub fn untried(name: &str, why: &str) -> Self {
        Check::new(name, Held::Untried, why)
    }

    /// Adds what to do.
    #[must_use]
    pub fn advise(self, advice: &str) -> Self {
        let advice = (!advice.is_empty()).then(|| advice.to_owned());
        Check { advice, ..self }
    }
}

/// Whether agents may rely on the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Fit,
    /// Yes, if the limits are kept in mind.
    Limits,
    /// No.
    Unfit,
    /// It could not be found out.
    Unknown,
}

impl Verdict {
    /// Exit code of the command.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Fit | Verdict::Limits => 0,
            Verdict::Unfit => 1,
            Verdict::Unknown => 3,
        }
    }
}

/// Some measured spans, milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// What took so long.
    pub what: &'static str,
    /// How often it was measured.
    pub count: usize,
    /// Half of them were not slower.
    pub p50_ms: f64,
    /// 99 of 100 were not slower; with few of them this is the slowest.
    pub p99_ms: f64,
}

/// A setting that fits what was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key in `orch.yaml`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// Why.
    pub why: String,
}

/// All that the trial found out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The remote, without credentials.
    pub remote: String,
    /// Name of the run; part of the name of every ref that it made.
    pub run: String,
    /// Whether agents may rely on it.
    pub verdict: Verdict,
    /// The same in words.
    pub sentence: String,
    /// What to do next, where there is something to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The questions.
    pub checks: Vec<Check>,
    /// The measured times.
    pub timings: Vec<Timing>,
    /// Pushes that were sent, without those that cleaned up.
    pub pushes: u32,
    /// Pushes a minute that were borne, one after another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushes_per_minute: Option<u32>,
    /// How long it took, seconds.
    pub seconds: f64,
    /// What to set.
    pub settings: Vec<Setting>,
    /// Refs that could not be removed.
    pub left_refs: Vec<String>,
    /// Why, or why nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_why: Option<String>,
}

/// Questions without whose answer nobody can say that a remote is fit.
const NEEDED: [&str; 6] = [
    "refs",
    "stale expectations",
    "the same commit by two",
    "race to create",
    "race to swap",
    "read after write",
];

/// Puts the verdict together.
pub(super) fn judge(run: &Run<'_>, checks: Vec<Check>, trouble: Option<&Trouble>, left: Left) -> Report {
    let named = |held| {
        let found = checks.iter().filter(move |check| check.held == held);
        found.map(|check| format!("{}: {}", check.name, check.told)).collect::<Vec<_>>().join("; ")
    };
    let answered = |name: &str| checks.iter().any(|check| check.name == name && check.held != Held::Untried);
    let (broken, limited) = (named(Held::Broken), named(Held::Limited));
    let (verdict, sentence) = if !broken.is_empty() {
        (Verdict::Unfit, format!("This remote is not fit to coordinate agents, because {broken}."))
    } else if !NEEDED.into_iter().all(answered) {
        let why = trouble.map_or_else(|| named(Held::Untried), ToString::to_string);
        (Verdict::Unknown, format!("Whether this remote is fit could not be judged: {why}."))
    } else if !limited.is_empty() || checks.iter().any(|check| check.held == Held::Untried) {
        let untried = named(Held::Untried);
        let all: Vec<_> = [limited, untried].into_iter().filter(|text| !text.is_empty()).collect();
        (Verdict::Limits, format!("This remote is fit with limits: {}.", all.join("; ")))
    } else {
        (Verdict::Fit, "This remote is fit to coordinate agents.".to_owned())
    };
    // Words of git come on several lines and with full stops of their own.
    let sentence = sentence.replace('\n', " · ").replace("..", ".");
    let settings = if verdict.exit_code() == 0 { settings(run) } else { Vec::new() };
    let measured = &run.measured;
    Report {
        remote: run.a().remote.url(),
        run: run.scratch.run().to_owned(),
        verdict,
        sentence,
        next: next(trouble),
        checks,
        timings: [
            ("claim (push and read)", &measured.claims),
            ("push", &measured.pushes),
            ("listing", &measured.listings),
            ("fetch", &measured.fetches),
        ]
        .into_iter()
        .filter_map(|(what, spans)| timing(what, spans))
        .collect(),
        pushes: measured.sent,
        pushes_per_minute: per_minute(run),
        seconds: run.elapsed().as_secs_f64(),
        settings,
        left_refs: left.refs,
        left_why: left.why,
    }
}

fn timing(what: &'static str, spans: &Spans) -> Option<Timing> {
    let ms = |share| spans.quantile(share).map(|span| (span.as_secs_f64() * 10_000.0).round() / 10.0);
    Some(Timing { what, count: spans.count(), p50_ms: ms(0.5)?, p99_ms: ms(0.99)? })
}

/// The next step when nothing, or nothing good, could be said.
fn next(trouble: Option<&Trouble>) -> Option<String> {
    let text = match trouble? {
        Trouble::Remote(error) => match error.kind {
            RemoteFailure::NotFound => {
                "make the repository first (`git init --bare` is enough), or correct the URL"
            }
            RemoteFailure::Auth => {
                "give this account leave to push; `git push --dry-run` to it by hand uses the same keys and helpers"
            }
            RemoteFailure::Tool => "install git 2.34 or newer; `git version` tells which one is found",
            RemoteFailure::Locked => {
                "a lock file is left over on the remote: whoever looks after it can move it away"
            }
            _ => "try `git ls-remote` on it by hand, then run the trial again",
        },
        Trouble::Throttled(_) => "wait some minutes, then run it again with --rounds 3 --pushes 30",
        Trouble::Stopped => "run it again to its end",
        Trouble::OutOfTime => "run it again with more time: --seconds 600",
        Trouble::Local(_) => "look for room in the directory for temporary files (TMPDIR), then run it again",
        // The check says what to allow.
        Trouble::Hopeless => return None,
    };
    Some(text.to_owned())
}

/// The pace of the row; `None` for so few that it says nothing.
fn per_minute(run: &Run<'_>) -> Option<u32> {
    let (count, took) = run.measured.row.filter(|(count, _)| *count > 0)?;
    let rate = f64::from(count) * 60.0 / took.as_secs_f64().max(0.001);
    // If the row ended early, that many were borne in this minute and no more.
    Some(if run.measured.row_ended.is_some() { count } else { rate as u32 })
}

/// Pushes a minute, if nothing is set.
const DEFAULT_BUDGET: u32 = 6;

/// What fits: a tenth of the pace of a short row is what is asked of it for days.
fn settings(run: &Run<'_>) -> Vec<Setting> {
    let mut found = Vec::new();
    if run.prefix.starts_with("refs/heads/") {
        let why = "it refuses refs below refs/orch/".to_owned();
        found.push(Setting { key: "sync.lease_refs", value: "branches".to_owned(), why });
    }
    let mut budget = DEFAULT_BUDGET;
    if let Some(pace) = per_minute(run) {
        let ended = run.measured.row_ended.is_some();
        budget = if ended { (pace / 2).max(1) } else { (pace / 10).clamp(DEFAULT_BUDGET, 600) };
        let share = if ended { "half" } else { "a tenth, or the default," };
        let why = format!(
            "for all machines together; {share} of the {pace} a minute that a short row bore. Where a host advises \
             less (GitHub: 6 a minute for a repository), keep to that"
        );
        found.push(Setting { key: "sync.push_budget", value: format!("{budget}/min"), why });
    }
    if let Some(slow) = run.measured.claims.quantile(0.99) {
        let each = 360_u64.div_ceil(u64::from(budget));
        let least = (30 * (slow.as_secs() + 1)).max(each);
        let why = format!(
            "or longer (the default is 15m): a holder renews every third of it, and room is left for slow answers; \
             for N machines not below N times {each}s, or renewals use up half of the push budget"
        );
        found.push(Setting { key: "lease.ttl", value: format!("{least}s"), why });
    }
    found
}

impl Report {
    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![self.sentence.clone()];
        lines.extend(self.next.as_ref().map(|next| format!("Next: {next}.")));
        lines.push(format!("Remote: {}", self.remote));
        lines.push(String::new());
        for check in &self.checks {
            let word = match check.held {
                Held::Held => "holds",
                Held::Limited => "limit",
                Held::Broken => "BROKEN",
                Held::Untried => "not tried",
            };
            lines.push(format!("  {word:<10}{:<32}{}", check.name, check.told.replace('\n', " · ")));
            lines.extend(check.advice.as_ref().map(|advice| format!("{:44}{advice}", "")));
        }
        if !self.timings.is_empty() {
            lines.push(format!("\n  {:<24}{:>8}{:>10}{:>10}", "milliseconds", "count", "p50", "p99"));
        }
        lines.extend(self.timings.iter().map(|timing| {
            let Timing { what, count, p50_ms, p99_ms } = timing;
            format!("  {what:<24}{count:>8}{p50_ms:>10.1}{p99_ms:>10.1}")
        }));
        if !self.settings.is_empty() {
            lines.push("\nIn orch.yaml:".to_owned());
        }
        lines.extend(self.settings.iter().map(|one| format!("  {}: {}   # {}", one.key, one.value, one.why)));
        let pace = self.pushes_per_minute.map_or(String::new(), |pace| format!(", {pace} a minute in a row"));
        lines.push(format!("\n{} pushes in {:.1} s{pace}; {}", self.pushes, self.seconds, self.remains()));
        lines.join("\n")
    }

    /// What is left on the remote, and how to remove it.
    fn remains(&self) -> String {
        match (self.left_refs.as_slice(), &self.left_why) {
            ([], None) if self.pushes == 0 => "nothing was made on the remote.".to_owned(),
            ([], None) => "everything that it made on the remote is removed.".to_owned(),
            ([], Some(why)) => format!(
                "whether refs of it are left cannot be told ({why}). When the remote answers: `{}`",
                clean_command(&self.remote, &self.run)
            ),
            (refs, why) => format!(
                "could not remove {}{}. Try again with `{}`",
                refs.join(", "),
                why.as_ref()
                    .map_or(String::new(), |why| format!(" ({})", why.lines().next().unwrap_or_default())),
                clean_command(&self.remote, &self.run)
            ),
        }
    }
}
