//! Randomness from the operating system.

use super::Random;

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealRandom;

impl Random for RealRandom {
    /// Fills the buffer.
    ///
    /// # Panics
    ///
    /// When the system has no randomness at all: ids that repeat would break the queue's safety, so
    /// there is nothing sensible to go on with.
    fn fill(&self, buffer: &mut [u8]) {
        getrandom::fill(buffer).expect("the operating system hands out randomness");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ_and_unit_stays_in_range() {
        let (mut a, mut b) = ([0u8; 16], [0u8; 16]);
        RealRandom.fill(&mut a);
        RealRandom.fill(&mut b);
        assert_ne!(a, b);
        for _ in 0..100 {
            assert!((0.0..1.0).contains(&RealRandom.unit()));
        }
    }
}
