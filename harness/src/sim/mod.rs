//! Deterministic simulation: whole machines in one thread, with virtual time and everything outside simulated.
//!
//! | file | holds |
//! |---|---|
//! | `dice` | the generator: a seed is a run |
//! | `kernel` | all that machines share, and time |
//! | `disk_image`, `repo` | what lies on a disk, what is in a repository |
//! | `faults` | what goes wrong, and the guards that can be taken away |
//! | `strike` | one call, chosen by number, that is struck |
//! | `fiber` | code that can be stopped and killed at a port |
//! | `ports`, `git_ports` | the seams of `orch::world` over the kernel |
//! | `machine` | a machine put together, a command run on it |
//! | `load` | agents, operators, watchdogs |
//! | `script`, `tree`, `worker` | what programs do, programs, and the workers that run them |
//! | `oracle` | what must hold |
//! | `calls` | what sessions were told of claims and their ends, for the checker of histories |
//! | `plan` | a run as data, drawn from its seed |
//! | [`crate::drive`] | one run, from set-up to verdict |

pub mod calls;
#[cfg(test)]
mod conform;
#[cfg(test)]
mod conform_process;
pub mod dice;
pub mod disk_image;
pub mod faults;
pub mod fiber;
mod git_ports;
pub mod kernel;
pub mod load;
pub mod machine;
pub mod oracle;
pub mod plan;
pub mod ports;
pub mod probes;
pub mod repo;
mod script;
pub mod strike;
pub mod trace;
pub mod tree;
pub mod worker;
