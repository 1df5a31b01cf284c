//! The directory of evidence that an attempt leaves behind. Whatever cannot be written there is noted and
//! never stops the attempt; a manifest means that the bundle is complete.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::capture::sha256;
use super::manifest::Manifest;
use crate::world::{Disk, FileKind, World};

/// Most events in `events.jsonl`; the end of a command and of the attempt are always written.
const MOST_EVENTS: usize = 20_000;
/// Most files of commands of which a digest is taken, and how deep they may lie.
const MOST_LEFT: usize = 100;
const DEEPEST: usize = 4;
/// How many names are tried for a directory.
const MOST_NAMES: u32 = 100;

/// A bundle that is being filled.
pub struct Bundle<'a> {
    world: &'a World,
    /// Its directory.
    pub dir: PathBuf,
    events: usize,
    /// What could not be written, and why.
    pub errors: Vec<String>,
    files: Vec<PathBuf>,
}

impl<'a> Bundle<'a> {
    /// Makes a new directory: the one asked for, or, if that exists, one with the epoch in its name.
    ///
    /// # Errors
    /// When no directory can be made.
    pub fn create(world: &'a World, wanted: &Path, epoch: u64) -> io::Result<Self> {
        let name = wanted.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let names = std::iter::once(name.clone())
            .chain(std::iter::once(format!("{name}.e{epoch}")))
            .chain((2..MOST_NAMES).map(|n| format!("{name}.e{epoch}.{n}")));
        for name in names {
            let dir = wanted.with_file_name(name);
            if world.disk.create_dir(&dir)? {
                return Ok(Bundle { world, dir, events: 0, errors: Vec::new(), files: Vec::new() });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} and all its other names exist", wanted.display()),
        ))
    }

    /// Appends to a file of the bundle; also creates it when there is nothing to append.
    pub fn append(&mut self, name: &str, bytes: &[u8]) {
        let path = self.dir.join(name);
        let result = self.world.disk.append(&path, bytes);
        if !self.files.contains(&path) {
            self.files.push(path);
        }
        self.note(name, result);
    }

    /// Plain files that commands have left here, by their path below the directory, sorted; not those of the worker itself.
    #[must_use]
    pub fn left_by_commands(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![(self.dir.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for (name, kind) in self.world.disk.list(&folder).unwrap_or_default() {
                let path = folder.join(name);
                match kind {
                    FileKind::Dir if depth < DEEPEST => folders.push((path, depth + 1)),
                    FileKind::File if !self.files.contains(&path) && found.len() < MOST_LEFT => {
                        let inside = path.strip_prefix(&self.dir).unwrap_or(&path);
                        found.push(inside.to_string_lossy().into_owned());
                    }
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }

    fn note(&mut self, name: &str, result: io::Result<()>) {
        let Err(error) = result else { return };
        let text = format!("{}: {error}", self.dir.join(name).display());
        // A full disk would say the same with every chunk.
        if !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }

    /// Appends an event, stamped with the time, unless there are too many already.
    pub fn event(&mut self, kind: &str, fields: Value) {
        if self.events < MOST_EVENTS {
            self.last_event(kind, fields);
        } else if self.events == MOST_EVENTS {
            self.last_event("events_cut", json!({"most": MOST_EVENTS}));
        }
    }

    /// Appends an event in any case: for those of which there are few.
    pub fn last_event(&mut self, kind: &str, fields: Value) {
        self.events += 1;
        let mut event = json!({"at_ms": self.world.clock.wall_ms(), "event": kind});
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.append("events.jsonl", format!("{event}\n").as_bytes());
    }

    /// Makes what was written durable, then writes the manifest; returns its digest.
    pub fn seal(&mut self, manifest: &mut Manifest) -> Option<String> {
        for path in std::mem::take(&mut self.files) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let result = self.world.disk.sync_file(&path);
            self.note(&name, result);
        }
        manifest.evidence_errors.clone_from(&self.errors);
        let result = serde_json::to_vec_pretty(manifest).map_err(io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            write_whole(&*self.world.disk, &self.dir, "manifest.json", &bytes)?;
            Ok(sha256(&bytes))
        });
        match result {
            Ok(digest) => Some(digest),
            Err(error) => {
                self.note("manifest.json", Err(error));
                None
            }
        }
    }
}

/// Writes a file that is there whole or not at all, whatever happens.
fn write_whole(disk: &dyn Disk, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temp = disk.write_temp(dir, bytes)?;
    disk.sync_file(&temp)?;
    disk.rename(&temp, &dir.join(name))?;
    disk.sync_dir(dir)
}
