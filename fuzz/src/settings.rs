//! Files of settings, agents, policies and sessions: no bytes make a loader panic, an error says where it stands,
//! and what is written again means the same.

use orch::policy::Policy;
use orch::protocol::value::Value;
use orch::store::session_file::{LIMIT, SessionFile, name_of};
use orch::store::settings_load::{File, Origin, Sources, load, newer};
use orch::store::{agents, parse, settings_edit};

/// Holds for any bytes as each of the files, and for `orch.yaml`, `config.yaml`, variables and options with lines of
/// `=====` between them.
pub fn holds(bytes: &[u8]) {
    if let Err(error) = agents::load(bytes) {
        crate::assert_place(bytes, error.line, error.column, &error.message);
    }
    settings(&[bytes], &[], &[]);
    let Ok(text) = parse::text(bytes) else { return };
    match parse::parse(text) {
        Ok(tree) => {
            assert!(bytes_of(&tree) <= 2 * text.len(), "a file is more than what stands in it");
            policy(&tree);
            session(&tree, bytes);
        }
        Err(error) => crate::assert_place(bytes, error.line, error.column, &error.message),
    }
    one_setting_is_set(text);
    let files: Vec<&str> = crate::files(text).collect();
    if let [shared, machine, rest @ ..] = &files[..] {
        let lines = |at: usize| rest.get(at).map_or_else(Vec::new, |text| pairs(text));
        settings(&[shared.as_bytes(), machine.as_bytes()], &lines(0), &lines(1));
    }
}

/// Bytes of all texts and keys.
fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Str(text) => text.len(),
        Value::List(items) => items.iter().map(bytes_of).sum(),
        Value::Map(entries) => entries.iter().map(|(key, value)| key.len() + bytes_of(value)).sum(),
        _ => 0,
    }
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn settings(files: &[&[u8]], env: &[(String, String)], options: &[(String, String)]) {
    const NAMES: [&str; 2] = ["orch.yaml", "config.yaml"];
    let file = |at: usize| files.get(at).map(|bytes| File { name: NAMES[at], bytes });
    let sources = Sources { shared: file(0), machine: file(1), env, options };
    let in_place = |origin: &Origin, message: &str| {
        if let Origin::File { name, line, column } = origin {
            let at = NAMES.iter().position(|known| known == name).expect("only these were read");
            crate::assert_place(files[at], *line, *column, message);
        }
    };
    match load(&sources) {
        Ok(loaded) => {
            assert_eq!(loaded.settings.check(), Ok(()));
            for shown in loaded.show() {
                in_place(&shown.origin, shown.key);
            }
        }
        Err(error) => {
            assert_ne!(error.origin, Origin::Default, "nobody is to blame: {error}");
            in_place(&error.origin, &error.message);
        }
    }
    if let Some(error) = file(0).and_then(|file| newer(&file)) {
        in_place(&error.origin, &error.message);
    }
}

fn policy(tree: &Value) {
    if let Err(error) = Policy::load("policy.yaml", tree) {
        assert!(!error.message.is_empty());
    }
}

/// A session's file is read under its own name only, and says the same when it is written again.
fn session(tree: &Value, bytes: &[u8]) {
    let text = |key: &str| tree.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = name_of(text("session"), text("machine"));
    assert!(!name.contains('/') && !name.contains("..") && name.len() < 256, "{name}");
    let Ok(file) = SessionFile::decode(&name, bytes) else { return };
    assert!(SessionFile::decode("other.yaml", bytes).is_err());
    let again = file.encode();
    if again.len() as u64 <= LIMIT {
        let again = SessionFile::decode(&name, &again).expect("what was read can be written and read");
        assert!(file.note.starts_with(&again.note));
        assert_eq!(SessionFile { note: file.note.clone(), ..again }, file);
    }
}

/// `config set` does what it was asked and nothing else.
fn one_setting_is_set(text: &str) {
    let read = |text: &str| {
        let file = File { name: "orch.yaml", bytes: text.as_bytes() };
        load(&Sources { shared: Some(file), ..Sources::default() }).ok().map(|loaded| loaded.settings)
    };
    let Some(before) = read(text) else { return };
    for (key, value) in [("queue.paused", "true"), ("remote", "a: 'b' #c"), ("retry.backoff", "5m,6m")] {
        let Ok(edited) = settings_edit::set(text, key, value) else { continue };
        let after = read(&edited).unwrap_or_else(|| panic!("`{key}` spoilt the file:\n{edited}"));
        let mut expected = before.clone();
        match key {
            "queue.paused" => expected.queue.paused = true,
            "remote" => expected.remote = Some(value.to_owned()),
            _ => expected.retry.backoff = after.retry.backoff.clone(),
        }
        assert_eq!(after, expected, "{key}:\n{edited}");
    }
}
