//! Every interleaving, within a bound, of two or three processes that run the real commands: [loom] decides who is
//! next at every point at which one process could notice another.
//!
//! A process is a thread of loom with a world of its own ([`seat`]) over one simulated kernel ([`crate::sim`]). loom
//! explores by partial order reduction: two orders of steps that touch nothing in common count as one.
//! [`points`] says what a step touches. Without a bound, an exploration that ends has seen every interleaving; with a bound
//! of `n` it has seen those in which a process is interrupted at most `n` times altogether where it could have gone on.
//!
//! [loom]: https://docs.rs/loom

mod asleep;
pub mod baseline;
pub mod bound;
mod git_seat;
mod judge;
pub mod known;
mod order;
pub mod points;
pub mod scenes;
pub mod seat;
pub mod stage;
#[cfg(test)]
mod tests;

pub use bound::Bound;
pub use stage::{Outcome, hunt, run, tried_harms};
