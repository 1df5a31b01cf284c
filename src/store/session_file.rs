//! `sessions/<name>.yaml`: what a session is in the middle of, for the one that is started again under its name.
//!
//! It exists from a checkpoint until that attempt ends. It decides nothing and promises nothing: histories tell
//! the same, but this is found without reading them, also after the lease was lost. So it is not synced to disk.

use super::error::StoreError;
use super::layout::session_stem;
use super::parse;
use super::tasks::Store;
use super::{emit, time};
use crate::protocol::id::TaskId;
use crate::protocol::time::Timestamp;
use crate::protocol::value::Value;
use crate::world::World;

/// Longest file, in bytes.
pub const LIMIT: u64 = 8 * 1024;
/// Longest part of a checkpoint's note that is kept, in characters.
const NOTE_MAX: usize = 1_000;
const MARK: &str = "session ";

/// What one session left at its last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFile {
    /// Its name.
    pub session: String,
    /// Its machine.
    pub machine: String,
    /// The task.
    pub task: TaskId,
    /// In which epoch it held that.
    pub epoch: u64,
    /// When the checkpoint was made, by the clock of the session.
    pub at: Timestamp,
    /// What the checkpoint said, its beginning if it was long.
    pub note: String,
}

/// The name of a session's file. The same name on another machine is another session.
#[must_use]
pub fn name_of(session: &str, machine: &str) -> String {
    session_stem(&format!("{session}@{machine}")) + super::layout::YAML
}

impl SessionFile {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = |text: &str| Value::Str(text.to_owned());
        let note: String = self.note.chars().take(NOTE_MAX).collect();
        let entries = [
            ("format", Value::Int(1)),
            ("session", text(&self.session)),
            ("machine", text(&self.machine)),
            ("task", text(self.task.as_str())),
            ("epoch", Value::Int(i64::try_from(self.epoch).unwrap_or(i64::MAX))),
            ("at", text(&time::format(self.at))),
            ("note", text(&note)),
        ];
        let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        emit::emit(&Value::Map(entries), &[]).into_bytes()
    }

    /// Reads a file that has this name.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<SessionFile, String> {
        if bytes.len() as u64 > LIMIT {
            return Err(format!("it is longer than {LIMIT} bytes"));
        }
        let text = parse::text(bytes).map_err(|e| e.to_string())?;
        let Value::Map(entries) = parse::parse(text).map_err(|e| e.to_string())? else {
            return Err("it is no map".to_owned());
        };
        let get = |key: &str| entries.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        let string = |key: &str| match get(key) {
            Some(Value::Str(text)) => Ok(text.clone()),
            _ => Err(format!("`{key}` is missing or no text")),
        };
        let (Some(Value::Int(1)), Some(Value::Int(epoch))) = (get("format"), get("epoch")) else {
            return Err("its format or epoch is not known".to_owned());
        };
        let file = SessionFile {
            session: string("session")?,
            machine: string("machine")?,
            task: TaskId::parse(&string("task")?).map_err(|e| e.to_string())?,
            epoch: u64::try_from(*epoch).map_err(|_| "its epoch is negative".to_owned())?,
            at: time::parse(&string("at")?)?,
            note: string("note")?,
        };
        if name_of(&file.session, &file.machine) == name {
            Ok(file)
        } else {
            Err("its name is not that of its session".to_owned())
        }
    }
}

impl Store {
    /// What a session left, if it is in the middle of something.
    #[must_use]
    pub fn session(&self, world: &World, session: &str, machine: &str) -> Option<SessionFile> {
        self.session_named(world, &name_of(session, machine))
    }

    /// What the file with this name tells; `None` if it is not there or tells nothing.
    #[must_use]
    pub fn session_named(&self, world: &World, name: &str) -> Option<SessionFile> {
        let bytes = world.disk.read(&self.layout.sessions().join(name), LIMIT).ok()?;
        SessionFile::decode(name, &bytes).ok()
    }

    /// Replaces the file of a session of this machine, to be shared with the next commit.
    ///
    /// # Errors
    /// The disk says no, or the index does not answer.
    pub fn write_session(&self, world: &World, file: &SessionFile) -> Result<(), StoreError> {
        let name = name_of(&file.session, &file.machine);
        self.write_local(world, &self.layout.sessions().join(&name), &file.encode())?;
        self.with(|index| index.mark(MARK, &[&name]))
    }

    /// Removes the file of a session of this machine, here and with the next commit.
    ///
    /// # Errors
    /// As [`Store::write_session`].
    pub fn remove_session(&self, world: &World, name: &str) -> Result<(), StoreError> {
        self.remove_local(world, &self.layout.sessions().join(name))?;
        self.with(|index| index.mark(MARK, &[name]))
    }

    /// Names of files that wait for the next commit, with the token of the last change.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn waiting_sessions(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.with(|index| index.marked(MARK))
    }

    /// Forgets files that were committed, unless they have changed again.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn forget_sessions(&self, done: &[(String, String)]) -> Result<(), StoreError> {
        let done: Vec<(&str, &str)> =
            done.iter().map(|(name, token)| (name.as_str(), token.as_str())).collect();
        if done.is_empty() { Ok(()) } else { self.with(|index| index.unmark(MARK, &done)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_what_was_written_and_only_under_its_name() {
        let file = SessionFile {
            session: "agent:main/../7: \"x\"".to_owned(),
            machine: "m-7f3a".to_owned(),
            task: TaskId::parse("T-1").unwrap(),
            epoch: 3,
            at: Timestamp(1_700_000_000_000),
            note: "half: done\n- \u{1b}[31m, 'rest' later".to_owned(),
        };
        let name = name_of(&file.session, &file.machine);
        assert!(!name.contains('/') && !name.contains(".."), "{name}");
        let bytes = file.encode();
        assert_eq!(SessionFile::decode(&name, &bytes), Ok(file.clone()));
        assert!(SessionFile::decode("other.yaml", &bytes).is_err());
        assert!(SessionFile::decode(&name, &bytes[..bytes.len() / 2]).is_err());
        assert_ne!(name, name_of(&file.session, "m-0000"), "the same name elsewhere is somebody else");
        let long = SessionFile { note: "\u{1F600}".repeat(100_000), ..file };
        assert!(
            SessionFile::decode(&name, &long.encode()).is_ok_and(|cut| cut.note.chars().count() == NOTE_MAX)
        );
    }
}
