//! Settings in layers: defaults, `orch.yaml`, this machine's `config.yaml`, `ORCH_*`, command line.
//!
//! Nothing is read here: the caller passes bytes and pairs. Each key remembers where its value came from.

use std::fmt;

use super::emit;
use super::nearest;
use super::parse::{self, Step, YamlError};
use super::settings::Settings;
use super::settings_keys::{KEYS, Key, Kind, key};
use crate::protocol::value::Value;

/// A settings file: its name for messages, and what it holds.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// Path, as it is shown.
    pub name: &'a str,
    /// Content.
    pub bytes: &'a [u8],
}

/// Where settings come from, weakest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sources<'a> {
    /// `orch.yaml`.
    pub shared: Option<File<'a>>,
    /// `.git/orch/config.yaml`.
    pub machine: Option<File<'a>>,
    /// Environment: names that are no setting's, nor nearly one's, are left alone.
    pub env: &'a [(String, String)],
    /// Keys and texts from the command line.
    pub options: &'a [(String, String)],
}

/// Where one value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// A file, with line and column from 1.
    File {
        /// Its name.
        name: String,
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// An environment variable.
    Env(String),
    /// An option of the command line.
    Option(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Origin::Env(name) => write!(f, "environment variable {name}"),
            Origin::Option(name) => write!(f, "command line option for {name}"),
        }
    }
}

/// A setting that cannot be used (exit 78).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct SettingsError {
    /// Where it stands.
    pub origin: Origin,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// One line of `config show --origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// Its value as one line of YAML.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Settings with their origins.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What is valid.
    pub settings: Settings,
    /// One place for each of [`KEYS`].
    places: Vec<Place>,
    /// Names and texts of the files that were read.
    files: Vec<(String, String)>,
}

/// Where a value stands, as far as that costs nothing: line and column are searched for when somebody asks,
/// which would otherwise take longer than all the rest.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    Known(Origin),
    InFile { file: usize, path: Vec<Step> },
}

impl Loaded {
    /// Every key with its value and origin, in the order of the documentation.
    #[must_use]
    pub fn show(&self) -> Vec<Shown> {
        let shown = |(key, place): (&'static Key, &Place)| Shown {
            key: key.name,
            value: one_line(&(key.show)(&self.settings)),
            origin: self.origin(place),
        };
        KEYS.iter().zip(&self.places).filter(|(key, _)| key.name != "format").map(shown).collect()
    }

    fn set(&mut self, key: &Key, value: &Value, place: Place) -> Result<(), SettingsError> {
        if let Err(message) = (key.read)(&mut self.settings, value) {
            let message = format!("{}: {message}", key.name);
            return Err(SettingsError { origin: self.origin(&place), message });
        }
        if let Some(slot) = KEYS.iter().position(|k| k.name == key.name) {
            self.places[slot] = place;
        }
        Ok(())
    }

    fn origin(&self, place: &Place) -> Origin {
        match place {
            Place::Known(origin) => origin.clone(),
            Place::InFile { file, path } => {
                let (name, text) = &self.files[*file];
                let (line, column) = parse::locate(text, path);
                Origin::File { name: name.clone(), line, column }
            }
        }
    }
}

/// Puts the layers on top of each other and checks the result.
///
/// # Errors
/// The first setting that is unknown or out of bounds, with its place.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, SettingsError> {
    let (loaded, problems) = load_some(sources);
    problems.into_iter().next().map_or(Ok(loaded), Err)
}

/// The same as far as it goes: what is wrong is left out and told, and the rest is there. For whoever looks for the
/// mistake; nobody may work with such settings.
#[must_use]
pub fn load_some(sources: &Sources<'_>) -> (Loaded, Vec<SettingsError>) {
    let places = vec![Place::Known(Origin::Default); KEYS.len()];
    let mut loaded = Loaded { settings: Settings::default(), places, files: Vec::new() };
    let mut problems = Vec::new();
    for file in [sources.shared, sources.machine].into_iter().flatten() {
        if let Err(problem) = read_file(&mut loaded, &file, &mut problems) {
            problems.push(problem);
        }
    }
    for (name, text) in sources.env {
        problems.extend(read_variable(&mut loaded, name, text).err());
    }
    for (name, text) in sources.options {
        problems.extend(read_option(&mut loaded, name, text).err());
    }
    if problems.is_empty() {
        problems.extend(check(&loaded).err());
    }
    (loaded, problems)
}

fn read_variable(loaded: &mut Loaded, name: &str, text: &str) -> Result<(), SettingsError> {
    let origin = Origin::Env(name.to_owned());
    if let Some(key) = KEYS.iter().find(|k| env_name(k) == name && k.name != "format") {
        let value =
            from_text(key, text).map_err(|message| SettingsError { origin: origin.clone(), message })?;
        return loaded.set(key, &value, Place::Known(origin));
    }
    match mistyped(name) {
        None => Ok(()),
        Some(meant) => {
            let message = format!("it is no setting; did you mean `{meant}`?");
            Err(SettingsError { origin, message })
        }
    }
}

fn read_option(loaded: &mut Loaded, name: &str, text: &str) -> Result<(), SettingsError> {
    let origin = Origin::Option(name.to_owned());
    let wrong = |message| SettingsError { origin: origin.clone(), message };
    let key = key(name).ok_or_else(|| wrong(unknown(name)))?;
    let value = from_text(key, text).map_err(wrong)?;
    loaded.set(key, &value, Place::Known(origin.clone()))
}

/// Whether a text can be the value of a setting; the reason without its key.
///
/// # Errors
/// What was expected.
pub fn check_text(name: &str, text: &str) -> Result<(), String> {
    let key = key(name).ok_or_else(|| unknown(name))?;
    from_text(key, text).and_then(|value| (key.read)(&mut Settings::default(), &value))
}

/// Why a file of a newer version cannot be used, wherever in it the number stands.
#[must_use]
pub fn newer(file: &File<'_>) -> Option<SettingsError> {
    let text = parse::text(file.bytes).ok()?;
    let value = parse::parse(text).ok()?;
    let message = match value.get("format") {
        Some(number @ Value::Int(2..)) => (key("format")?.read)(&mut Settings::default(), number).err()?,
        _ => return None,
    };
    let (line, column) = parse::locate(text, &[Step::Key("format".to_owned())]);
    let origin = Origin::File { name: file.name.to_owned(), line, column };
    Some(SettingsError { origin, message: format!("format: {message}") })
}

/// The environment variable of a setting: `lease.ttl` is `ORCH_LEASE_TTL`.
#[must_use]
pub fn env_name(key: &Key) -> String {
    format!("ORCH_{}", key.name.replace('.', "_").to_uppercase())
}

/// The variable that a name in one of our sections was meant to be: a limit with a typing error must not be no
/// limit. Others may have variables that begin with `ORCH_`, too.
fn mistyped(name: &str) -> Option<String> {
    if !name.starts_with("ORCH_") {
        return None;
    }
    let names: Vec<String> = KEYS.iter().filter(|key| key.name.contains('.')).map(env_name).collect();
    let section = |known: &&String| {
        let end = known["ORCH_".len()..].find('_').map_or(known.len(), |at| "ORCH_".len() + at + 1);
        name.starts_with(&known[..end])
    };
    nearest::nearest(name, names.iter().filter(section).map(String::as_str)).map(str::to_owned)
}

fn check(loaded: &Loaded) -> Result<(), SettingsError> {
    loaded.settings.check().map_err(|(name, message)| {
        // The key that was set is to blame, whichever of the three it is.
        let section = &name[..name.find('.').unwrap_or(name.len())];
        let mut set = KEYS
            .iter()
            .zip(&loaded.places)
            .filter(|(k, place)| k.name.starts_with(section) && **place != Place::Known(Origin::Default));
        let origin = set.next_back().map(|(_, place)| loaded.origin(place)).unwrap_or_default();
        SettingsError { origin, message: format!("{name}: {message}") }
    })
}

/// Reads a file; what is wrong with single settings goes to the problems, and the others count.
fn read_file(
    loaded: &mut Loaded,
    file: &File<'_>,
    problems: &mut Vec<SettingsError>,
) -> Result<(), SettingsError> {
    let at = |line, column| Origin::File { name: file.name.to_owned(), line, column };
    let wrong = |e: YamlError| SettingsError { origin: at(e.line, e.column), message: e.message };
    let text = parse::text(file.bytes).map_err(wrong)?;
    if is_blank(text) {
        return Ok(());
    }
    let value = parse::parse(text).map_err(wrong)?;
    loaded.files.push((file.name.to_owned(), text.to_owned()));
    let number = loaded.files.len() - 1;
    let here = |path: &[Step]| Place::InFile { file: number, path: path.to_vec() };
    let Value::Map(entries) = &value else {
        return Err(SettingsError {
            origin: loaded.origin(&here(&[])),
            message: format!("expected a map of settings, found {}", value.kind()),
        });
    };
    for (name, value) in entries {
        if let Err(problem) = read_section(loaded, name, value, &here, problems) {
            problems.push(problem);
        }
    }
    Ok(())
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

/// A section, or a setting outside all sections.
fn read_section(
    loaded: &mut Loaded,
    name: &str,
    value: &Value,
    here: &dyn Fn(&[Step]) -> Place,
    problems: &mut Vec<SettingsError>,
) -> Result<(), SettingsError> {
    let outer = Step::Key(name.to_owned());
    if let Some(key) = key(name) {
        return loaded.set(key, value, here(&[outer]));
    }
    let prefix = format!("{name}.");
    if !KEYS.iter().any(|k| k.name.starts_with(&prefix)) {
        let message = unknown(name);
        return Err(SettingsError { origin: loaded.origin(&here(&[Step::Name(name.to_owned())])), message });
    }
    let entries = match value {
        Value::Map(entries) => entries,
        // A section whose every line is commented out.
        Value::Null => return Ok(()),
        other => {
            let message = format!("{name}: expected a map of settings, found {}", other.kind());
            return Err(SettingsError { origin: loaded.origin(&here(&[outer])), message });
        }
    };
    for (inner, value) in entries {
        let full = format!("{prefix}{inner}");
        let Some(key) = key(&full) else {
            let path = [outer.clone(), Step::Name(inner.clone())];
            problems.push(SettingsError { origin: loaded.origin(&here(&path)), message: unknown(&full) });
            continue;
        };
        problems.extend(loaded.set(key, value, here(&[outer.clone(), Step::Key(inner.clone())])).err());
    }
    Ok(())
}

/// "`lease.tll` is no setting; did you mean `lease.ttl`?"
pub(super) fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect();
    let sections = KEYS.iter().filter_map(|k| k.name.split_once('.')).map(|(section, _)| section);
    let hint = if name.contains('.') {
        nearest::hint(name, KEYS.iter().map(|k| k.name))
    } else {
        nearest::hint(name, sections.chain(["remote", "branch", "format"]))
    };
    format!("`{shown}` is no setting{hint}")
}

/// The text of a variable or option as a value of the key's kind.
pub(super) fn from_text(key: &Key, text: &str) -> Result<Value, String> {
    let yaml = || parse::parse(text).map_err(|e| format!("{}: {}", key.name, e.message));
    let trimmed = text.trim();
    match key.kind {
        Kind::Text => Ok(Value::str(text)),
        Kind::Scalar if trimmed.is_empty() => Ok(Value::Null),
        Kind::Scalar | Kind::Map => yaml(),
        Kind::List if trimmed.starts_with('[') => yaml(),
        Kind::List => Ok(Value::List(
            trimmed.split(',').map(str::trim).filter(|t| !t.is_empty()).map(Value::str).collect(),
        )),
    }
}

pub(super) fn one_line(value: &Value) -> String {
    let mut out = String::new();
    emit::flow(&mut out, value);
    out
}

#[cfg(test)]
mod tests;
