//! Commands: judging ends for every command line, the strictest reason counts, no policy file lifts what a check
//! refuses, and a refused command stays refused behind a wrapper.

use std::io;
use std::path::{Path, PathBuf};

use orch::policy::{DEFAULT, Decision, Policy, Request, Verdict, check};
use orch::store::parse;
use orch::world::paths::Paths;

/// Wrappers that pass the words behind them on as they are, and change neither directory nor machine.
const WRAPPERS: &[&str] = &[
    "env",
    "env A=1",
    "env -i -u B A=1",
    "nohup",
    "nice -n 5",
    "ionice -c2 -n 7",
    "timeout 5",
    "timeout --kill-after 1 5",
    "setsid -w",
    "stdbuf -o L -e 0",
    "time -p",
    "xargs -0 -n 1",
    "sudo -n -u x",
    "doas -u x",
    "flock -n lock",
    "strace -f -o x",
    "taskset 1",
    "command",
    "xvfb-run -a",
    "script -q log",
    "caffeinate -i",
    "poetry run",
];

/// A machine of paper: every name is a program, and some of them are links.
struct Paper;

const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/usr/bin/sh", "dash"),
    ("/usr/bin/python", "python3"),
    ("/ws/tool", "/bin/sh"),
    ("/ws/out", "/etc"),
    ("/ws/deep/up", ".."),
    ("/ws/loop", "loop2"),
    ("/ws/loop2", "./loop"),
    ("/ws/held", "state"),
];

impl Paths for Paper {
    fn find(&self, program: &str, dir: &Path) -> Option<PathBuf> {
        Some(if program.contains('/') { dir.join(program) } else { Path::new("/usr/bin").join(program) })
    }

    fn link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        Ok(LINKS.iter().find(|(link, _)| Path::new(link) == path).map(|(_, target)| PathBuf::from(target)))
    }
}

/// Holds for a command line, variables on the lines below it, and behind lines of `=====` two policy files.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut files = crate::files(text);
    let command = files.next().unwrap_or_default();
    let (line, variables) = command.split_once('\n').unwrap_or((command, ""));
    let argv = words(line);
    let env: Vec<(String, String)> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let judge = |policy: &Policy, argv: &[String]| judge(policy, argv, &env);

    let open = judge(&Policy::open(), &argv);
    let default = load(DEFAULT).expect("the policy of `orch init` is valid");
    let mut policies = vec![default];
    policies.extend(files.filter_map(load));
    for policy in &policies {
        let found = judge(policy, &argv);
        if open == Decision::Forbid {
            assert_eq!(found, Decision::Forbid, "a policy file lifted a refusal: {argv:?}");
        }
    }
    if let [_, shared, machine, ..] = &policies[..] {
        let both = judge(&Policy::merge(shared.clone(), machine.clone()), &argv);
        assert!(both >= judge(shared, &argv), "a machine's policy loosened the shared one: {argv:?}");
    }
    if open == Decision::Forbid && is_plain(&argv) {
        for wrapper in WRAPPERS {
            let wrapped: Vec<String> = words(wrapper).into_iter().chain(argv.iter().cloned()).collect();
            assert_eq!(judge(&Policy::open(), &wrapped), Decision::Forbid, "it passed: {wrapped:?}");
        }
    }
}

fn load(text: &str) -> Option<Policy> {
    let tree = parse::parse(text).ok()?;
    match Policy::load("policy.yaml", &tree) {
        Ok(policy) => Some(policy),
        Err(error) => {
            assert!(!error.message.is_empty());
            None
        }
    }
}

fn judge(policy: &Policy, argv: &[String], env: &[(String, String)]) -> Decision {
    let workspace = Path::new("/ws");
    let state = Some(Path::new("/ws/state"));
    let found = check(policy, &Paper, &Request { argv, env, cwd: workspace, workspace, state });
    it_is_sound(&found);
    found.decision
}

fn it_is_sound(found: &Verdict) {
    let strictest = found.reasons.iter().map(|reason| reason.decision).max().unwrap_or_default();
    assert_eq!(found.decision, strictest);
    assert_eq!(found.message().is_empty(), found.allowed(), "every refusal says why");
    assert_ne!(found.clone().unattended().decision, Decision::Prompt);
    let _ = found.to_value();
}

/// Whether the first word can be nothing but the name of a program, also behind a wrapper: no option, no variable,
/// no place, no number.
fn is_plain(argv: &[String]) -> bool {
    let name = argv.first().map_or("", String::as_str);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain)
}

/// Splits at blanks; double quotes hold words together, and a backslash in them takes a quote.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(chars.next()),
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
