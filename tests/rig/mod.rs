//! The rig: machines, remotes and faults of the tests that drive the real executable.
//!
//! Whatever is started here belongs to a guard that ends it, every wait polls a condition until a
//! deadline, and no environment is inherited.

#![expect(dead_code, unused_imports, reason = "a rig offers more than the tests of the day use")]

pub mod env;
pub mod http;
pub mod machine;
pub mod process;
pub mod proxy;
pub mod remote;
pub mod run;
pub mod server;
pub mod snap;
pub mod ssh;

pub use env::{TestEnv, gits};
pub use http::Fault;
pub use machine::Machine;
pub use process::{race, until};
pub use proxy::{Proxy, Route};
pub use remote::{Kind, Remote};
pub use run::Run;
