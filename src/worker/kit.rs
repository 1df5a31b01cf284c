//! What a worker needs before it may claim: the agent types and the policy, both readable.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::environment::PATH;
use crate::policy::{Policy, Request, check};
use crate::protocol::task::ExecStep;
use crate::usecase::error::Result;
use crate::usecase::queue::Queue;
use crate::usecase::run::{self, AgentTypes, Choice};
use crate::world::paths::{Paths, RealPaths};

/// The files that say how tasks are run, as they were read.
pub struct Kit {
    /// Agent types by name.
    pub agents: AgentTypes,
    policy: Policy,
    paths: Box<dyn Paths>,
}

impl Kit {
    /// Reads them. A worker that cannot read its policy claims nothing.
    ///
    /// # Errors
    /// Configuration (78), with file and place.
    pub fn load(q: &Queue, environment: &BTreeMap<String, String>) -> Result<Kit> {
        let search = environment.get("PATH").map_or(PATH, String::as_str);
        Kit::with_paths(q, Box::new(RealPaths::new(search)))
    }

    /// The same, for a machine whose files are somewhere else.
    ///
    /// # Errors
    /// As [`Kit::load`].
    pub fn with_paths(q: &Queue, paths: Box<dyn Paths>) -> Result<Kit> {
        let [shared, own] = run::policies(q);
        let shared = shared?.unwrap_or_else(Policy::open);
        let policy = match own? {
            Some(own) => Policy::merge(shared, own),
            None => shared,
        };
        Ok(Kit { agents: run::agent_types(q)?, policy, paths })
    }

    /// The tasks that can be run with it.
    #[must_use]
    pub fn choice(&self) -> Choice {
        Choice::Runnable(self.agents.keys().cloned().collect::<BTreeSet<_>>())
    }

    /// Digest of the rules.
    #[must_use]
    pub fn policy_digest(&self) -> String {
        self.policy.digest()
    }

    /// Judges a command of an exec block, with the variables of every step that runs the same command.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn judge_step(&self, steps: &[ExecStep], argv: &[String], at: Place<'_>) -> Judged {
        let same = steps.iter().filter(|step| step.argv == argv);
        let env: BTreeSet<_> = same.flat_map(|step| &step.env).map(|(n, v)| (n.clone(), v.clone())).collect();
        self.judge(argv, &env.into_iter().collect::<Vec<_>>(), at)
    }

    /// Judges the command line of an agent type by the same checks and rules: as it stands in `agents.yaml`,
    /// and as it runs, where a prompt that takes the place of an argument may be a path or an option.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn judge_agent(&self, named: &[String], argv: &[String], at: Place<'_>) -> Judged {
        self.judge(named, &[], at)?;
        if named == argv { Ok(()) } else { self.judge(argv, &[], at) }
    }

    fn judge(&self, argv: &[String], env: &[(String, String)], at: Place<'_>) -> Judged {
        let request = Request { argv, env, cwd: at.cwd, workspace: at.workspace, state: Some(at.state) };
        let verdict = check(&self.policy, &*self.paths, &request).unattended();
        if verdict.allowed() { Ok(()) } else { Err(verdict.message()) }
    }
}

/// Why a command may not run, if so.
pub type Judged = std::result::Result<(), String>;

/// Where a command is to run.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its directory.
    pub cwd: &'a Path,
    /// The workspace.
    pub workspace: &'a Path,
    /// The state directory.
    pub state: &'a Path,
}
