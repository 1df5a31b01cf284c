//! `orch-harness mutants`: breaks guards in pure code, by patches to a copy of the sources, and sees whether the
//! simulation or the model notices.
//!
//! A patch says in its first line what it breaks, and in the line `Noticed-by:` what has to fail: a command of this
//! program, or `test` and names of tests of the library, or `runner` and names of tests of the whole program. Building
//! each takes minutes, so this is for the night.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Instant, SystemTime};
use std::{fs, io};

use clap::Args;

/// Break the sources by patches, and see whether each is noticed
#[derive(Args)]
#[command(after_help = "\
Examples:
  orch-harness mutants
  orch-harness mutants --only inherited-beat

Exit codes: 0 each was noticed, 1 one was not, 2 usage, 3 nothing was shown: the patches are not
there, a patch does not apply or compile, or the copy cannot be made")]
pub struct Mutants {
    /// Only this one; repeated for several
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where the sources are
    #[arg(long, value_name = "DIR", default_value = ".")]
    sources: PathBuf,
    /// Where the copy is made and built
    #[arg(long, value_name = "DIR", default_value = "target/mutants")]
    place: PathBuf,
}

/// The file by which a copy is known as one: nothing else is ever deleted.
const MARK: &str = ".orch-harness-mutants";

/// The line that names the command.
const NOTICED_BY: &str = "Noticed-by: ";

/// The commands that stand for tests, and which of cargo's targets they are in.
const TESTS: [(&str, &[&str]); 2] = [("test", &["--lib"]), ("runner", &["--test", "runner"])];

/// A patch.
struct Mutant {
    name: String,
    path: PathBuf,
    story: String,
    command: Vec<String>,
}

impl Mutants {
    /// Runs it.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let started = SystemTime::now();
        let mutants = match self.chosen() {
            Ok(mutants) => mutants,
            Err((code, why)) => {
                eprintln!("error: {why}");
                return ExitCode::from(code);
            }
        };
        match self.all(&mutants) {
            Ok((planted, missed)) => {
                println!("{planted} planted, {missed} missed");
                if self.only.is_empty() {
                    let numbers = [("planted", planted), ("missed", missed)];
                    let numbers = numbers.map(|(name, count)| (name.to_owned(), f64::from(count)));
                    super::keep_record(
                        "mutants",
                        started,
                        super::held_or_broken(missed == 0),
                        numbers.into(),
                    );
                }
                if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(3)
            }
        }
    }

    /// The patches that are asked for.
    ///
    /// # Errors
    /// The exit code and why: there are none, or none of that name.
    fn chosen(&self) -> Result<Vec<Mutant>, (u8, String)> {
        let dir = self.sources.join("harness/mutants");
        let next = "mutants are patches of orch's sources: run it at their root, or name it by --sources DIR";
        let mut all = patches(&dir).map_err(|why| (3, format!("{}: {why}; {next}", dir.display())))?;
        if all.is_empty() {
            return Err((3, format!("{}: there is no patch in it; {next}", dir.display())));
        }
        if let Some(other) = self.only.iter().find(|name| all.iter().all(|mutant| mutant.name != **name)) {
            let names: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
            return Err((2, format!("there is no mutant `{other}`; there are: {}", names.join(", "))));
        }
        all.retain(|mutant| self.only.is_empty() || self.only.contains(&mutant.name));
        Ok(all)
    }

    fn all(&self, mutants: &[Mutant]) -> io::Result<(u32, u32)> {
        let (copy, target) = (self.place.join("copy"), fs::canonicalize(made(&self.place)?)?.join("target"));
        copy_sources(&self.sources, &copy)?;
        let (mut planted, mut missed) = (0, 0);
        println!("{:<28} {:>8}  {:<8} what", "patch", "seconds", "noticed");
        for mutant in mutants {
            let begun = Instant::now();
            let patch = fs::canonicalize(&mutant.path)?;
            run(Command::new("git").arg("apply").arg(&patch).current_dir(&copy))?;
            let noticed = mutant.is_noticed(&copy, &target);
            run(Command::new("git").args(["apply", "--reverse"]).arg(&patch).current_dir(&copy))?;
            let noticed = noticed?;
            planted += 1;
            missed += u32::from(!noticed);
            let (took, word) = (begun.elapsed().as_secs_f64(), if noticed { "yes" } else { "NO" });
            println!("{:<28} {took:>8.1}  {word:<8} {}", mutant.name, mutant.story);
        }
        Ok((planted, missed))
    }
}

impl Mutant {
    /// Builds the copy and runs what has to fail.
    fn is_noticed(&self, copy: &Path, target: &Path) -> io::Result<bool> {
        if let [first, names @ ..] = self.command.as_slice()
            && let Some((_, tests)) = TESTS.iter().find(|(name, _)| name == first)
        {
            let cargo = |last: &[&str]| {
                let mut cargo = Command::new("cargo");
                cargo.args(["test", "--quiet", "-p", "orch"]).args(*tests).args(last);
                cargo
                    .env("CARGO_TARGET_DIR", target)
                    .current_dir(copy)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                cargo
            };
            // What does not even compile is no mutant.
            run(&mut cargo(&["--no-run"]))?;
            return Ok(!cargo(&["--"]).args(names).status()?.success());
        }
        run(Command::new("cargo")
            .args(["build", "--quiet", "--release", "-p", "orch-harness"])
            .env("CARGO_TARGET_DIR", target)
            .current_dir(copy))?;
        let status = Command::new(target.join("release/orch-harness"))
            .args(&self.command)
            .current_dir(copy)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        match status.code() {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(io::Error::other(format!(
                "{}: `{}` ended with {status}",
                self.name,
                self.command.join(" ")
            ))),
        }
    }
}

/// All patches, by name.
fn patches(dir: &Path) -> io::Result<Vec<Mutant>> {
    let mut paths = fs::read_dir(dir)?.map(|file| Ok(file?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "patch"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path)?;
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let story = text.lines().next().unwrap_or_default().to_owned();
            let command: Vec<String> = text
                .lines()
                .find_map(|line| line.strip_prefix(NOTICED_BY))
                .map(|line| line.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default();
            if command.is_empty() {
                return Err(io::Error::other(format!("{}: no line `{NOTICED_BY}`", path.display())));
            }
            Ok(Mutant { name, path, story, command })
        })
        .collect()
}

/// Copies what git knows of, as it is at this moment, into a repository of its own: `git apply` in a directory that
/// another repository ignores would do nothing, and say that all is well.
fn copy_sources(from: &Path, to: &Path) -> io::Result<()> {
    clear(to)?;
    let list = Command::new("git").args(["ls-files", "-z"]).current_dir(from).output()?;
    if !list.status.success() {
        return Err(io::Error::other(format!("{} is no git repository", from.display())));
    }
    for name in String::from_utf8_lossy(&list.stdout).split('\0').filter(|name| !name.is_empty()) {
        if !from.join(name).is_file() {
            continue;
        }
        let path = to.join(name);
        made(path.parent().unwrap_or(to))?;
        fs::copy(from.join(name), &path).map_err(|why| named(&path, &why))?;
    }
    run(Command::new("git").args(["init", "--quiet"]).current_dir(to))
}

/// Makes room for a copy, and marks it as one.
///
/// # Errors
/// There is something that no run has made, or the disk says no.
fn clear(copy: &Path) -> io::Result<()> {
    let mark = copy.join(MARK);
    if fs::symlink_metadata(copy).is_ok() {
        if !mark.is_file() {
            return Err(io::Error::other(format!(
                "{}: the copy of the sources would go here, and this is none of an earlier run: it holds no {MARK}. \
                 Move it away, or name another place by --place DIR",
                copy.display()
            )));
        }
        fs::remove_dir_all(copy).map_err(|why| named(copy, &why))?;
    }
    made(copy)?;
    let text = "A copy of orch's sources that `orch-harness mutants` makes, breaks and deletes.\n";
    fs::write(&mark, text).map_err(|why| named(&mark, &why))
}

fn made(dir: &Path) -> io::Result<&Path> {
    fs::create_dir_all(dir).map(|()| dir).map_err(|why| named(dir, &why))
}

fn named(path: &Path, why: &io::Error) -> io::Error {
    io::Error::new(why.kind(), format!("{}: {why}", path.display()))
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} ended with {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutants(only: &[&str], sources: &Path, place: &Path) -> Mutants {
        let only = only.iter().map(|&name| name.to_owned()).collect();
        Mutants { only, sources: sources.to_owned(), place: place.to_owned() }
    }

    /// Whatever lay in `DIR/copy` was deleted.
    #[test]
    fn only_a_copy_that_a_run_has_made_is_deleted() {
        let place = tempfile::tempdir().unwrap();
        let copy = place.path().join("copy");
        made(&copy).unwrap();
        fs::write(copy.join("thesis.txt"), "years").unwrap();
        let why = clear(&copy).unwrap_err().to_string();
        assert!(why.contains("copy: ") && why.contains("it holds no") && why.contains("--place"), "{why}");
        assert_eq!(fs::read_to_string(copy.join("thesis.txt")).unwrap(), "years");
        fs::rename(&copy, place.path().join("mine")).unwrap();
        clear(&copy).unwrap();
        fs::write(copy.join("src.rs"), "broken").unwrap();
        clear(&copy).unwrap();
        assert!(!copy.join("src.rs").exists() && copy.join(MARK).is_file());
    }

    /// Everything was copied before somebody looked whether there is such a patch, and none was planted.
    #[test]
    fn what_is_not_there_is_told_before_anything_is_copied() {
        let place = tempfile::tempdir().unwrap();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let copy = place.path().join("place");
        let refused = |only: &[&str], sources: &Path| mutants(only, sources, &copy).chosen().err().unwrap();
        let (code, why) = refused(&["inherited-beat", "nosuch"], &sources);
        assert!(
            code == 2 && why.contains("no mutant `nosuch`; there are: ") && why.contains(", inherited-beat")
        );
        let (code, why) = refused(&[], place.path());
        assert!(code == 3 && why.contains("harness/mutants: ") && why.contains("--sources"), "{why}");
        made(&place.path().join("harness/mutants")).unwrap();
        assert_eq!(refused(&[], place.path()).0, 3);
        assert_eq!(mutants(&["nosuch"], &sources, &copy).run(), ExitCode::from(2));
        assert!(!copy.exists());
        assert_eq!(mutants(&["inherited-beat"], &sources, &copy).chosen().ok().unwrap().len(), 1);
    }

    /// A patch that fits nowhere breaks nothing, and nobody would notice before the night.
    #[test]
    fn every_patch_still_applies() {
        let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mutants = patches(&harness.join("mutants")).unwrap();
        assert!(mutants.len() > 5, "{}", mutants.len());
        for mutant in mutants {
            let place = tempfile::tempdir().unwrap();
            let text = fs::read_to_string(&mutant.path).unwrap();
            for name in text.lines().filter_map(|line| line.strip_prefix("+++ b/")) {
                let path = place.path().join(name);
                made(path.parent().unwrap()).unwrap();
                fs::copy(harness.join("..").join(name), path).unwrap();
            }
            run(Command::new("git").args(["init", "--quiet"]).current_dir(place.path())).unwrap();
            let applied = run(Command::new("git").arg("apply").arg(&mutant.path).current_dir(place.path()));
            assert!(applied.is_ok(), "{}: {applied:?}", mutant.name);
            assert!(
                !mutant.story.is_empty() && ["sim", "model", "test", "runner"].contains(&&*mutant.command[0])
            );
        }
    }
}
