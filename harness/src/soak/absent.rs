//! What is said where somebody names a run, a report, a profile or objectives that are not there: the path, what it was
//! wanted for, and the next step. "No such file or directory" tells nobody which command would have made it.

use std::path::{Path, PathBuf};

use super::checkpoint;

/// Where profiles lie, seen from the root of the sources.
const PROFILES: &str = "soak";
/// The file among the profiles that is none.
const OBJECTIVES: &str = "slo.yaml";

/// Where runs lie that were given no folder of their own.
#[must_use]
pub fn runs() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("soak")
}

/// Checks that a folder holds a run of a soak. `wanted` ends the sentence "it was wanted as …".
///
/// # Errors
/// It does not; with the runs that there are, or the command that makes one.
pub fn run(dir: &Path, wanted: &str) -> Result<(), String> {
    if dir.join(checkpoint::FILE).is_file() {
        return Ok(());
    }
    let what = if dir.is_dir() {
        format!("there is no {} in it, so it is no folder of a soak", checkpoint::FILE)
    } else if dir.exists() {
        "it is no folder".to_owned()
    } else {
        "there is no such folder".to_owned()
    };
    Err(format!("{}: {what}; it was wanted as {wanted}. {}", dir.display(), known_runs(&runs())))
}

/// Checks that a path is a folder of a run, or a file that may be a report.
///
/// # Errors
/// It is neither; with the next step.
pub fn report(path: &Path, file: &str) -> Result<(), String> {
    let wanted = "the report that is compared with the objectives";
    if path.is_file() || path.join(file).is_file() {
        return Ok(());
    }
    if path.is_dir() {
        return run(path, wanted);
    }
    let path = path.display();
    Err(format!(
        "{path}: there is no such folder or file; it was wanted as {wanted}. {}",
        known_runs(&runs())
    ))
}

/// What to say of a file that was taken for a report and is none.
#[must_use]
pub fn no_report(file: &Path, why: &str) -> String {
    format!(
        "{}: it is no report of a soak: {why}. `orch-harness report DIR` writes one, {}, into the folder of a run",
        file.display(),
        crate::report::TWIN
    )
}

/// Checks that a profile is there.
///
/// # Errors
/// It is not; with the profiles that there are.
pub fn profile(path: &Path) -> Result<(), String> {
    if path.is_file() {
        return Ok(());
    }
    let mut all = profiles(Path::new(PROFILES));
    if all.is_empty() {
        all = path.parent().map(profiles).unwrap_or_default();
    }
    let next = if all.is_empty() {
        format!(
            "There are none in {PROFILES}/ here: run it at the root of orch's sources, or name one by --profile FILE"
        )
    } else {
        format!("Profiles are: {}", all.join(", "))
    };
    Err(format!(
        "{}: {}; it was wanted as the profile, which says what to run. {next}",
        path.display(),
        state(path)
    ))
}

/// Checks that a file of objectives is there.
///
/// # Errors
/// It is not; with the next step.
pub fn objectives(path: &Path) -> Result<(), String> {
    if path.is_file() {
        return Ok(());
    }
    Err(format!(
        "{}: {}; it was wanted for the objectives. Leave --slo out for those that this program was built with, or copy \
         {PROFILES}/{OBJECTIVES} of orch's sources",
        path.display(),
        state(path)
    ))
}

fn state(path: &Path) -> &'static str {
    if path.exists() { "it is no file" } else { "there is no such file" }
}

/// The profiles in a folder, by the path that `--profile` takes.
fn profiles(folder: &Path) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml") && !path.ends_with(OBJECTIVES))
        .map(|path| path.display().to_string())
        .collect();
    all.sort();
    all
}

/// The runs in a folder, or how to make one.
fn known_runs(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all: Vec<String> = entries
        .filter(|path| path.join(checkpoint::FILE).is_file())
        .map(|path| path.display().to_string())
        .collect();
    if all.is_empty() {
        let smoke = folder.join("smoke");
        return format!("`orch-harness soak` makes one in {}, in two minutes", smoke.display());
    }
    all.sort();
    format!("Runs that are here: {}; `orch-harness soak` makes more", all.join(", "))
}
