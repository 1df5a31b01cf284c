//! Options in front of a sub-command: `kubectl -n x delete` is looked at again as `kubectl delete`.
//!
//! Rules are ordered prefixes of words, so without this an option in between would hide a command from them. git
//! has more to it and is looked after in its own place.

use super::command::{Command, Findings};
use super::options::{self, Spec};
use super::program::among;

const ROWS: &[(&str, Spec)] = &[
    (
        "docker podman nerdctl",
        Spec::new("Hcl", "host context config log-level tlscacert tlscert tlskey url identity"),
    ),
    (
        "kubectl oc helm",
        Spec::new(
            "ns",
            "namespace server kubeconfig context cluster user token as as-group request-timeout kube-context",
        ),
    ),
    (
        "npm pnpm yarn bun lerna",
        Spec::new("CwF", "prefix cwd dir workspace filter loglevel registry userconfig"),
    ),
    ("cargo", Spec::new("ZC", "config color")),
    ("gh glab", Spec::new("R", "repo hostname")),
    ("systemctl", Spec::new("HMptno", "host machine property type signal root")),
    ("terraform tofu pulumi", Spec::new("", "cwd stack")),
    ("uv poetry hatch", Spec::new("CPpe", "directory project python env config-file color")),
    ("gem twine flit", Spec::new("", "config-file")),
];

pub(super) fn inspect(name: &str, command: &Command, out: &mut Findings) {
    let Some((_, spec)) = ROWS.iter().find(|(names, _)| among(name, names)) else { return };
    // `cargo +nightly …`
    let toolchain =
        usize::from(name == "cargo" && command.args().first().is_some_and(|word| word.starts_with('+')));
    let args = &command.args()[toolchain..];
    let (_, at) = options::leading(args, spec);
    if toolchain + at > 0 && at < args.len() {
        out.transparent = true;
        let argv = std::iter::once(&command.argv[0]).chain(&args[at..]).cloned().collect();
        out.run(command.inner(argv));
    }
}
