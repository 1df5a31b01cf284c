//! A machine of paper: some programs, some links, and the default policy read from its text.

use super::super::{DEFAULT, Policy};
use crate::protocol::value::Value;
use crate::world::paths::Paths;
use std::io;
use std::path::{Path, PathBuf};

/// Every name is a program in `/usr/bin`, every path with a `/` a program where it says.
pub(super) struct Fake;

const LINKS: &[(&str, &str)] = &[
    ("/bin", "usr/bin"),
    ("/usr/bin/sh", "dash"),
    ("/usr/bin/ls", "busybox"),
    ("/usr/bin/python", "python3"),
    ("/usr/bin/python3", "/usr/bin/python3.11"),
    ("/usr/bin/vi", "/etc/alternatives/vi"),
    ("/etc/alternatives/vi", "/usr/bin/vim.basic"),
    ("/ws/tool", "/bin/sh"),
    ("/ws/out", "/etc"),
    ("/ws/in", "src/../src"),
    ("/ws/deep/up", ".."),
    ("/ws/loop", "loop2"),
    ("/ws/loop2", "./loop"),
    ("/ws/held", "state"),
];

impl Paths for Fake {
    fn find(&self, program: &str, dir: &Path) -> Option<PathBuf> {
        Some(if program.contains('/') { dir.join(program) } else { Path::new("/usr/bin").join(program) })
    }

    fn link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        if path.starts_with("/ws/locked") && path != Path::new("/ws/locked") {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        Ok(LINKS.iter().find(|(link, _)| Path::new(link) == path).map(|(_, target)| PathBuf::from(target)))
    }
}

/// The tree of a JSON document.
pub(super) fn tree(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(yes) => Value::Bool(*yes),
        serde_json::Value::Number(number) => Value::Int(number.as_i64().unwrap()),
        serde_json::Value::String(text) => Value::str(text),
        serde_json::Value::Array(items) => Value::List(items.iter().map(tree).collect()),
        serde_json::Value::Object(map) => Value::Map(map.iter().map(|(k, v)| (k.clone(), tree(v))).collect()),
    }
}

/// The policy that `orch init` writes.
pub(super) fn default_policy() -> Policy {
    let json: serde_json::Value = serde_yaml::from_str(DEFAULT).unwrap();
    Policy::load("policy.yaml", &tree(&json)).unwrap()
}
