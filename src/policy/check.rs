//! Judges one command: takes it apart into all the commands it would run, and asks the checks and rules about each.

use super::command::{Command, Concern, Findings, REASONS_MAX};
use super::decision::{Decision, Reason, Source, Verdict};
use super::ground::Ground;
use super::program::Program;
use super::rules::Policy;
use super::{
    assign, destructive, find, git, globals, hidden, interpreters, scripts, shells, special, unwrap,
};
use crate::world::paths::Paths;
use std::collections::VecDeque;
use std::path::Path;

/// More wrappers around one command than anybody needs.
const DEPTH_MAX: usize = 12;
/// More words, over everything that one command unwraps to, than anybody needs.
const WORDS_MAX: usize = 50_000;
/// More bytes in one command than the usual systems pass on.
const BYTES_MAX: usize = 1 << 20;

/// What is to run, and where.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Program and arguments.
    pub argv: &'a [String],
    /// Variables that are set for this command alone.
    pub env: &'a [(String, String)],
    /// Directory in which it starts; absolute.
    pub cwd: &'a Path,
    /// Root of the workspace, the only ground for destructive commands; absolute.
    pub workspace: &'a Path,
    /// The state directory, which is never ground for them; absolute.
    pub state: Option<&'a Path>,
}

/// Judges one command. Runs nothing, and ends for every input.
#[must_use]
pub fn check(policy: &Policy, paths: &dyn Paths, request: &Request<'_>) -> Verdict {
    let mut verdict =
        Verdict { decision: Decision::Allow, reasons: Vec::new(), resolved: None, unwrapped: Vec::new() };
    let first =
        Command { argv: request.argv.to_vec(), dir: Some(request.cwd.to_owned()), complete: true, depth: 0 };
    if let Some(text) = malformed(request) {
        let concern = Concern { decision: Decision::Forbid, check: "form", text, instead: "" };
        verdict.reasons.push(reason(concern));
    } else {
        verdict.resolved = Program::of(paths, &first).file;
        take_apart(policy, &Ground::new(paths, request), request, first, &mut verdict);
    }
    verdict.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.decision));
    verdict.decision = verdict.reasons.first().map_or(Decision::Allow, |reason| reason.decision);
    verdict
}

fn malformed(request: &Request<'_>) -> Option<String> {
    let argv = request.argv;
    let variables = request.env.iter().flat_map(|(name, value)| [name, value]);
    if argv.first().is_none_or(|program| program.trim().is_empty()) {
        return Some("there is no program to run".to_owned());
    }
    if argv.iter().chain(variables.clone()).any(|word| word.contains('\0')) {
        return Some("a word contains a NUL byte".to_owned());
    }
    if argv.iter().chain(variables).map(|word| word.len() + 1).sum::<usize>() > BYTES_MAX {
        return Some(format!("the command is longer than {BYTES_MAX} bytes; put the list into a file"));
    }
    None
}

fn take_apart(
    policy: &Policy,
    ground: &Ground<'_>,
    request: &Request<'_>,
    first: Command,
    out: &mut Verdict,
) {
    let mut findings = Findings::default();
    for (name, value) in request.env {
        assign::inspect(name, value, &first, &mut findings);
    }
    let mut queue = VecDeque::from([first]);
    let mut words = 0;
    settle(findings, &mut queue, out);
    while let Some(command) = queue.pop_front() {
        words += command.argv.len();
        if command.depth > DEPTH_MAX || words > WORDS_MAX {
            let mut findings = Findings::default();
            let text =
                format!("commands are wrapped in more than {DEPTH_MAX} others, or too many to look at");
            findings.forbid("depth", text, "call the program directly");
            settle(findings, &mut queue, out);
            break;
        }
        judge(policy, ground, &command, &mut queue, out);
        if command.depth > 0 {
            out.unwrapped.push(command.argv);
        }
    }
}

fn judge(
    policy: &Policy,
    ground: &Ground<'_>,
    command: &Command,
    queue: &mut VecDeque<Command>,
    out: &mut Verdict,
) {
    let program = Program::of(ground.paths, command);
    let mut findings = Findings::default();
    for name in program.names() {
        inspect(name, command, ground, &mut findings);
    }
    // A rule that allows the command by name answers the question of a built-in check, but lifts no refusal.
    if policy.answers(&program, &command.argv) {
        findings.concerns.retain(|concern| concern.decision > Decision::Prompt);
    }
    for reason in policy.judge(&program, &command.argv, findings.transparent) {
        note(reason, out);
    }
    settle(findings, queue, out);
}

fn inspect(name: &str, command: &Command, ground: &Ground<'_>, out: &mut Findings) {
    shells::inspect(name, command, ground, out);
    interpreters::inspect(name, command, out);
    unwrap::inspect(name, command, out);
    find::inspect(name, command, ground, out);
    git::inspect(name, command, ground, out);
    globals::inspect(name, command, out);
    scripts::inspect(name, command, out);
    special::inspect(name, command, ground, out);
    destructive::inspect(name, command, ground, out);
    hidden::inspect(name, command, out);
}

fn settle(findings: Findings, queue: &mut VecDeque<Command>, out: &mut Verdict) {
    queue.extend(findings.runs);
    for concern in findings.concerns {
        note(reason(concern), out);
    }
}

fn note(reason: Reason, out: &mut Verdict) {
    let enough =
        out.reasons.len() >= REASONS_MAX && out.reasons.iter().any(|known| known.decision >= reason.decision);
    if !enough && !out.reasons.contains(&reason) {
        out.reasons.push(reason);
    }
}

fn reason(concern: Concern) -> Reason {
    Reason {
        decision: concern.decision,
        text: concern.text,
        source: Source::Builtin(concern.check),
        instead: Some(concern.instead).filter(|text| !text.is_empty()).map(str::to_owned),
    }
}
