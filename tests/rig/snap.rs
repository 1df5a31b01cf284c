//! Snapshots of a whole run: command, exit code, standard output and standard error together.

use super::env::TestEnv;
use super::run::Run;

/// Text of a run in which everything that differs between two runs has a name instead.
pub fn stable(env: &TestEnv, run: &Run) -> String {
    let mut text = format!("$ {}\n[exit {}]\n", run.shown, run.code);
    for (name, part) in [("stdout", &run.stdout), ("stderr", &run.stderr)] {
        if !part.is_empty() {
            text.push_str(&format!("--- {name}\n{part}"));
            if !part.ends_with('\n') {
                text.push_str("\\ no newline\n");
            }
        }
    }
    text.replace(&env.root(), "[root]")
}

/// Names of what differs, in the order in which they are applied.
pub const FILTERS: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{64}\b", "[hash]"),
    (r"\b[0-9a-f]{40}\b", "[oid]"),
    (r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b", "[ulid]"),
    (r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{3})?)?Z?", "[time]"),
    (r"\bin \d+d\d*h?", "in [span]"),
    (r"\((now|\d+s ago)\)", "([ago])"),
    (r"\b1[45]m(\d+s)?\b", "[lease]"),
    (r"\bm-[0-9a-f]{4,}\b", "[machine]"),
    (r"127\.0\.0\.1:\d+", "[address]"),
];

/// Asserts a snapshot of a run.
#[macro_export]
macro_rules! snapshot {
    ($env:expr, $run:expr) => {{
        let text = $crate::rig::snap::stable(&$env, &$run);
        insta::with_settings!({
            filters => $crate::rig::snap::FILTERS.to_vec(),
            omit_expression => true,
            prepend_module_to_snapshot => true,
        }, { insta::assert_snapshot!(text) });
    }};
}
