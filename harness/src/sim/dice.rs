//! Dice of a simulation: a small generator whose whole state is one number, so that a seed is a run.
//!
//! `splitmix64` (Steele, Lea and Flood 2014): statistically plain, and every stream can be forked by name, so that
//! drawing one number more in one place does not shift all the others.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Dice(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// Another stream that depends on this one's seed and a name only.
    #[must_use]
    pub fn fork(&self, name: &str) -> Self {
        let mixed = name.bytes().fold(self.0, |mix, byte| {
            (mix ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
        });
        Dice(mixed)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mix = self.0;
        mix = (mix ^ (mix >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mix = (mix ^ (mix >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mix ^ (mix >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        debug_assert!(end > 0, "nothing lies below 0");
        self.draw() % end
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is nothing to choose from.
    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// An exponentially distributed number with this mean, at most ten times as large.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        (-mean * (1.0 - self.unit()).ln()).min(mean * 10.0)
    }
}

/// Hashes for tables of the simulation: quick, and the same in every run, which those of the standard library are not.
pub type Fast = std::hash::BuildHasherDefault<FastHasher>;

/// Mixes eight bytes at a time (the "Fx" function of Firefox); nobody attacks these tables.
#[derive(Debug, Clone, Copy, Default)]
pub struct FastHasher(u64);

impl std::hash::Hasher for FastHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn finish(&self) -> u64 {
        // The table takes the low bits, the product has its best ones at the top.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_run_and_forks_do_not_disturb_each_other() {
        let (mut one, mut two) = (Dice::new(7), Dice::new(7));
        let first: Vec<u64> = (0..100).map(|_| one.draw()).collect();
        assert_eq!(first, (0..100).map(|_| two.draw()).collect::<Vec<_>>());
        let forked = Dice::new(7).fork("disk").draw();
        assert_ne!(forked, Dice::new(7).fork("remote").draw());
        assert_eq!(forked, Dice::new(7).fork("disk").draw());
        assert!((0..1000).all(|_| one.below(3) < 3 && one.unit() < 1.0));
    }
}
