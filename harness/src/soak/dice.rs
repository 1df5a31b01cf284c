//! Chance from a seed, so that the plan of a soak can be had again (what real processes make of it cannot).

use std::time::Duration;

/// `SplitMix64`: small, fast, and good enough for choosing what to do next.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice for one purpose of one seed.
    #[must_use]
    pub fn of(seed: u64, purpose: &str) -> Dice {
        let start = purpose.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Dice(start ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Between a half and one and a half of a span.
    pub fn around(&mut self, span: Duration) -> Duration {
        let permille = u32::try_from(500 + self.below(1001)).unwrap_or(1000);
        span * permille / 1000
    }

    /// An index, each as likely as its weight says.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u32 = weights.iter().sum();
        let mut at = u32::try_from(self.below(total as usize)).unwrap_or(0);
        for (index, weight) in weights.iter().enumerate() {
            if at < *weight {
                return index;
            }
            at -= weight;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_throws_and_another_purpose_gives_others() {
        let throws = |purpose| {
            let mut dice = Dice::of(7, purpose);
            (0..20).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(throws("kill"), throws("kill"));
        assert_ne!(throws("kill"), throws("pause"));
    }

    #[test]
    fn weights_of_zero_never_win() {
        let mut dice = Dice::of(1, "w");
        assert!((0..1000).all(|_| dice.weighted(&[0, 3, 0, 1]) % 2 == 1));
    }
}
