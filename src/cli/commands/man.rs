//! `orch man`: manual pages, made from the same table that parses the command line.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man as Page;
use serde_json::json;

use crate::cli::command;
use crate::cli::context::Context;
use crate::usecase::error::{Error, Result};

/// Print the manual, or write one page per command
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch man | man -l -
  orch man --dir ~/.local/share/man/man1")]
pub struct Man {
    /// Write one page per command into this directory
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl Man {
    /// Prints or writes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let pages = pages()?;
        let Some(dir) = self.dir else {
            let whole: String = pages.iter().map(|(_, roff)| roff.as_str()).collect();
            return context.print(|| json!({ "roff": whole }), |_| whole.clone());
        };
        let dir = context.absolute(&dir)?;
        let written = pages.iter().map(|(name, roff)| write(context, &dir, name, roff));
        let written = written.collect::<Result<Vec<String>>>()?;
        context.print(
            || json!({ "files": written }),
            |_| written.iter().map(|path| format!("{path}\n")).collect(),
        )
    }
}

/// The page of the tool and of each command, by file name.
fn pages() -> Result<Vec<(String, String)>> {
    let mut tool = command();
    tool.build();
    let commands: Vec<Command> = tool.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    let mut pages = vec![page("orch", tool)?];
    for command in commands.into_iter().filter(|command| command.get_name() != "help") {
        let name = format!("orch-{}", command.get_name());
        pages.push(page(&name, command.display_name(name.clone()))?);
    }
    Ok(pages)
}

fn page(name: &str, command: Command) -> Result<(String, String)> {
    let mut roff = Vec::new();
    let titled = Page::new(command).title(name.to_uppercase());
    titled.render(&mut roff).map_err(|error| Error::failure(format!("manual page {name}: {error}")))?;
    Ok((format!("{name}.1"), String::from_utf8_lossy(&roff).into_owned()))
}

fn write(context: &Context, dir: &Path, name: &str, roff: &str) -> Result<String> {
    let path = dir.join(name);
    let done = context.disk().create_dir(dir).and_then(|_| {
        let temp = context.disk().write_temp(dir, roff.as_bytes())?;
        context.disk().rename(&temp, &path)
    });
    done.map_err(|error| Error::failure(format!("{}: {error}", path.display())))?;
    Ok(path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.contains(&"orch.1") && names.contains(&"orch-claim.1"), "{names:?}");
        let shown = command().get_subcommands().filter(|sub| !sub.is_hide_set()).count();
        assert_eq!(pages.len(), shown + 1);
        assert!(pages.iter().all(|(_, roff)| roff.contains(".TH") && roff.contains(".SH NAME")));
    }
}
