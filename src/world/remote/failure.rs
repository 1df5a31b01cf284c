//! What git's error text looks like, for people and for exit codes: the words decide nothing else.
//! Escapes and credentials never leave here.

use std::time::Duration;

use crate::world::git_command::run::Finished;
use crate::world::{RemoteError, RemoteFailure};

/// The words of git, ssh and curl, in lower case, in the order in which they are looked for: more
/// telling ones first, because one failure often prints several lines.
const WORDS: [(RemoteFailure, &[&str]); 6] = [
    (
        RemoteFailure::Auth,
        &[
            "permission denied",
            "authentication failed",
            "could not read username",
            "could not read password",
            "unable to get password",
            "unable to get username",
            "terminal prompts disabled",
            "returned error: 401",
            "returned error: 403",
            "host key verification failed",
            "access denied",
            "invalid username or",
            "saml sso",
        ],
    ),
    (
        RemoteFailure::NotFound,
        &[
            "does not appear to be a git repository",
            "repository not found",
            "' not found",
            "returned error: 404",
            "no such file or directory",
            "does not exist",
            "not a git repository",
        ],
    ),
    (
        RemoteFailure::Locked,
        &[".lock': file exists", "unable to lock", "another git process seems to be running"],
    ),
    (
        RemoteFailure::MissingObject,
        &[
            "couldn't find remote ref",
            "not our ref",
            "unadvertised object",
            "no matching remote head",
            "did not send all necessary objects",
            "bad object",
            "missing blob",
            "missing tree",
            "missing commit",
            "missing necessary objects",
            "unable to read",
            "unable to find",
            "src refspec",
            "remote error: upload-pack",
        ],
    ),
    (
        RemoteFailure::Unreachable,
        &[
            "could not resolve",
            "unable to look up",
            "connection refused",
            "connection reset",
            "connection timed out",
            "connection closed",
            "operation timed out",
            "operation too slow",
            "no route to host",
            "network is unreachable",
            "failed to connect",
            "couldn't connect",
            "could not connect",
            "unable to connect",
            "unable to access",
            "hung up unexpectedly",
            "early eof",
            "unexpected disconnect",
            "could not read from remote repository",
            "rpc failed",
            "returned error: 429",
            "returned error: 5",
            "ssl",
            "tls",
            "broken pipe",
        ],
    ),
    (
        RemoteFailure::Tool,
        &[
            "is not a git command",
            "unknown option",
            "usage: git",
            "unable to find remote helper",
            "cannot run ssh",
        ],
    ),
];

/// Names a failure by exit code and error text, as well as these can.
#[must_use]
pub fn classify(answer: &Finished) -> RemoteError {
    let message = message(&answer.stderr);
    let lower = String::from_utf8_lossy(&answer.stderr).to_lowercase();
    let usage = answer.code == Some(129);
    let kind = WORDS
        .iter()
        .find(|(kind, words)| match kind {
            // "Unable to find" a helper is not an object.
            RemoteFailure::MissingObject if lower.contains("remote helper") => false,
            _ => words.iter().any(|word| lower.contains(word)),
        })
        .map_or(if usage { RemoteFailure::Tool } else { RemoteFailure::Other }, |(kind, _)| *kind);
    let message = match (message.is_empty(), answer.code) {
        (false, _) => message,
        (true, Some(code)) => format!("git said nothing and ended with exit code {code}"),
        (true, None) => "git was ended by a signal".to_owned(),
    };
    RemoteError { kind, message }
}

/// How the refusal begins of a push that was not sent, because what came before it has used up the time limit.
pub const NOT_SENT: &str = "not sent: ";

/// Whether the words of a refused ref, which nobody has moved meanwhile, speak of a cause that passes: it
/// decides the exit code of a refusal that changed nothing. `None` = somebody forbids it.
#[must_use]
pub fn passing(refusal: &str) -> Option<RemoteFailure> {
    const RACE: [&str; 7] = [
        "stale info",
        "fetch first",
        "non-fast-forward",
        "reference already exists",
        "incorrect old value",
        "another process of this machine",
        "atomic transaction failed",
    ];
    const LOCK: [&str; 5] =
        ["failed to update ref", "cannot lock ref", "failed to lock", "unable to lock", ".lock"];
    // Nobody forbids what was not sent for want of time.
    if refusal.starts_with(NOT_SENT) {
        return Some(RemoteFailure::Timeout);
    }
    let lower = refusal.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&RACE) {
        return Some(RemoteFailure::Other);
    }
    if has(&LOCK) {
        return Some(RemoteFailure::Locked);
    }
    if has(&["unpacker error", "missing necessary objects"]) {
        return Some(RemoteFailure::MissingObject);
    }
    if lower.contains("hook declined") {
        return None;
    }
    WORDS.iter().find(|(_, words)| has(words)).map(|(kind, _)| *kind)
}

/// The failure of a command that was not started, because what came before it has used up the time limit: the
/// steps of git, of which the longest is named, or the other processes that this one waited for.
#[must_use]
pub fn no_time(step: &str, longest: Option<(&str, Duration)>) -> RemoteError {
    let before = match longest {
        Some((name, time)) => {
            format!("the longest step before it was `git {name}` with {:.1} s", time.as_secs_f32())
        }
        None => "other processes of this machine that use the remote took it all".to_owned(),
    };
    let message = format!("`git {step}` was not started: no time was left for it (`sync.timeout`); {before}");
    RemoteError { kind: RemoteFailure::Timeout, message }
}

/// The failure of a command that was stopped.
#[must_use]
pub fn timeout(limit: Duration, stderr: &[u8]) -> RemoteError {
    let said = message(stderr);
    // What is left of a limit has as many digits as a number can have.
    let seconds = (limit.as_secs_f64() * 10.0).round() / 10.0;
    let mut message = format!("no answer within {seconds} s; git was stopped");
    if !said.is_empty() {
        message = format!("{message} ({said})");
    }
    RemoteError { kind: RemoteFailure::Timeout, message }
}

/// The telling lines of an error output: the first and the last four.
fn message(stderr: &[u8]) -> String {
    let mut lines = lines(stderr);
    lines.retain(|line| !line.starts_with("hint:"));
    if lines.len() > 8 {
        lines.drain(4..lines.len() - 4);
    }
    lines.join("\n")
}

/// What the other side said for people, such as which rule refuses a push: at most eight lines.
#[must_use]
pub fn said_by_remote(stderr: &[u8]) -> String {
    let mut lines = lines(stderr);
    lines.retain(|line| line.strip_prefix("remote:").is_some_and(|rest| !rest.trim().is_empty()));
    lines.truncate(8);
    lines.join("\n")
}

/// What a program of the other side wrote, marked as git's client marks it.
#[must_use]
pub fn as_remote(stderr: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(stderr);
    text.lines().flat_map(|line| [b"remote: ", line.as_bytes(), b"\n"].concat()).collect()
}

fn lines(stderr: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stderr);
    text.split(['\n', '\r']).map(clean).filter(|line| !line.is_empty()).collect()
}

/// One line, at most 500 characters, without escape sequences, control characters and credentials.
#[must_use]
pub fn clean(line: &str) -> String {
    let plain: String = without_escapes(line).chars().take(500).collect();
    without_secrets(plain.trim())
}

/// Drops terminal escapes (`ESC [ … letter`, `ESC ] … BEL`, `ESC x`) and all other control characters,
/// and what reorders text on a terminal.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => out.push(' '),
            c if c.is_control() => {}
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => {
            chars.find(|c| ('@'..='~').contains(c));
        }
        Some(']') => {
            chars.find(|c| *c == '\u{7}' || *c == '\u{1b}');
        }
        _ => {}
    }
}

/// Removes what stands before `@` in the authority of every web URL, and passwords in any other URL.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c == '?' || c == '#' || c == '\'' || c == '"' || c.is_whitespace())
            .unwrap_or(after.len());
        let (authority, later) = after.split_at(end);
        out.push_str(&public_authority(authority, before.ends_with("ssh://")));
        rest = later;
    }
    out.push_str(rest);
    out
}

/// `user:password@host`: with ssh the user's name is part of the address, on the web it may be a token.
fn public_authority(authority: &str, ssh: bool) -> String {
    match authority.rsplit_once('@') {
        None => authority.to_owned(),
        Some((user, host)) if ssh => {
            let name = user.split(':').next().unwrap_or_default();
            format!("{name}@{host}")
        }
        Some((_, host)) => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(stderr: &str) -> RemoteFailure {
        let answer = Finished { code: Some(128), stderr: stderr.into(), ..Finished::default() };
        classify(&answer).kind
    }

    #[test]
    fn kinds_of_failure() {
        for (text, want) in [
            (
                "fatal: '/x' does not appear to be a git repository\nfatal: Could not read from remote repository.",
                RemoteFailure::NotFound,
            ),
            (
                "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
                RemoteFailure::NotFound,
            ),
            (
                "remote: Repository not found.\nfatal: repository 'https://h/x/' not found",
                RemoteFailure::NotFound,
            ),
            (
                "git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.",
                RemoteFailure::Auth,
            ),
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                RemoteFailure::Auth,
            ),
            (
                "fatal: unable to access 'https://h/': The requested URL returned error: 403",
                RemoteFailure::Auth,
            ),
            ("fatal: unable to access 'https://h/': Could not resolve host: h", RemoteFailure::Unreachable),
            (
                "fatal: unable to access 'https://h/': The requested URL returned error: 503",
                RemoteFailure::Unreachable,
            ),
            ("ssh: connect to host h port 22: Connection refused", RemoteFailure::Unreachable),
            (
                "fatal: unable to connect to 127.0.0.1:\n127.0.0.1[0: 127.0.0.1]: errno=Connection refused",
                RemoteFailure::Unreachable,
            ),
            ("fatal: the remote end hung up unexpectedly", RemoteFailure::Unreachable),
            (
                "error: cannot lock ref 'refs/x': Unable to create '/r/refs/x.lock': File exists.",
                RemoteFailure::Locked,
            ),
            ("fatal: couldn't find remote ref refs/x", RemoteFailure::MissingObject),
            ("fatal: remote error: upload-pack: not our ref 0123", RemoteFailure::MissingObject),
            ("fatal: Unable to find remote helper for 'foo'", RemoteFailure::Tool),
            ("fatal: something else", RemoteFailure::Other),
            ("", RemoteFailure::Other),
        ] {
            assert_eq!(kind(text), want, "{text}");
        }
    }

    #[test]
    fn usage_is_a_tool_failure_and_silence_is_explained() {
        let answer = Finished { code: Some(129), ..Finished::default() };
        let error = classify(&answer);
        assert_eq!(error.kind, RemoteFailure::Tool);
        assert!(error.message.contains("129"));
    }

    #[test]
    fn nothing_secret_and_nothing_that_moves_the_cursor_is_shown() {
        assert_eq!(
            clean(
                "\u{1b}[31mfatal\u{1b}[0m:\tunable to access 'https://user:tok@h/r': \u{1b}]0;x\u{7}no\u{202e}"
            ),
            "fatal: unable to access 'https://h/r': no"
        );
        assert_eq!(
            without_secrets("ssh://git:pw@h/r https://tok@h?x http://a/b@c"),
            "ssh://git@h/r https://h?x http://a/b@c"
        );
        assert_eq!(without_secrets("git@h:r"), "git@h:r");
    }

    #[test]
    fn long_texts_keep_their_ends_and_the_remote_s_words_are_found() {
        let text: String = (0..30).map(|n| format!("remote: {n}\n\n")).collect();
        let text = format!("{text}remote: \nfatal: end\nhint: try this\n");
        let answer = Finished { code: Some(1), stderr: text.clone().into(), ..Finished::default() };
        let shown = classify(&answer).message;
        assert!(shown.starts_with("remote: 0\n") && shown.ends_with("fatal: end"), "{shown}");
        assert_eq!(shown.lines().count(), 8);
        assert_eq!(said_by_remote(text.as_bytes()).lines().last(), Some("remote: 7"));
    }

    #[test]
    fn timeouts_say_how_long() {
        let error = timeout(Duration::from_millis(1500), b"ssh: slow\n");
        assert_eq!(error.kind, RemoteFailure::Timeout);
        assert_eq!(error.message, "no answer within 1.5 s; git was stopped (ssh: slow)");
        let left = timeout(Duration::from_nanos(59_999_986_650), b"");
        assert_eq!(left.message, "no answer within 60 s; git was stopped");
    }
}
