//! `orch-harness report`: the page of a soak, at any moment of it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::record::Verdict;
use crate::report::Report;
use crate::soak::absent;

/// Make the page of a soak, and its twin in JSON
///
/// The run may still go on. Both files are written into the folder of the run. The head of the page gives the verdict
/// that a release needs, of the run and of the objectives; the exit code is that of the run itself.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch-harness report target/soak/smoke
  orch-harness report target/soak/24h --out public/

Exit codes: 0 the run held, 1 it did not, 2 usage, 3 it is invalid or has not ended; `gate`
also asks the objectives")]
pub struct MakeReport {
    /// Folder of the run
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Write the files into this folder instead
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl MakeReport {
    /// Writes the files and tells the verdict.
    pub fn run(self) -> ExitCode {
        let out = self.out.unwrap_or_else(|| self.dir.clone());
        let there = absent::run(&self.dir, "the run of which the page is to be made");
        let made = there.and_then(|()| Report::of(&self.dir)).and_then(|report| {
            std::fs::create_dir_all(&out).map_err(|why| format!("{}: {why}", out.display()))?;
            report.write(&out).map(|page| (report, page))
        });
        match made {
            Ok((report, page)) => {
                println!("{}\nreport  {}", report.summary(), page.display());
                ExitCode::from(report.verdict().code())
            }
            Err(why) => {
                eprintln!("error: {why}");
                ExitCode::from(Verdict::Invalid.code())
            }
        }
    }
}
