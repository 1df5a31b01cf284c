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
  orch-harness mutants --only inherited-beat")]
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
        match self.all() {
            Ok((planted, missed)) => {
                println!("{planted} planted, {missed} missed");
                if self.only.is_empty() {
                    let numbers = [("planted", planted), ("missed", missed)];
                    let numbers = numbers.map(|(name, count)| (name.to_owned(), f64::from(count)));
                    super::keep_record("mutants", started, missed == 0, numbers.into());
                }
                if missed == 0 && planted > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(3)
            }
        }
    }

    fn all(&self) -> io::Result<(u32, u32)> {
        let mutants = patches(&self.sources.join("harness/mutants"))?;
        let (copy, target) = (self.place.join("copy"), fs::canonicalize(made(&self.place)?)?.join("target"));
        copy_sources(&self.sources, &copy)?;
        let (mut planted, mut missed) = (0, 0);
        println!("{:<28} {:>8}  {:<8} what", "patch", "seconds", "noticed");
        for mutant in mutants {
            if !(self.only.is_empty() || self.only.contains(&mutant.name)) {
                continue;
            }
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
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
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
        fs::copy(from.join(name), &path)?;
    }
    run(Command::new("git").args(["init", "--quiet"]).current_dir(to))
}

fn made(dir: &Path) -> io::Result<&Path> {
    fs::create_dir_all(dir).map(|()| dir)
}

fn run(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} ended with {status}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
