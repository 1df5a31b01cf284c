//! Which executions are the same but for steps that do not depend on each other.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Tells executions apart that are different orders of steps that depend on each other, and only those: the sum over all
/// steps of what came before each, directly or not.
pub struct Order {
    /// How many steps of each process each process has in its past.
    past: Vec<Vec<u32>>,
    last: HashMap<u64, Vec<u32>>,
    sum: u64,
}

impl Order {
    /// Nothing was done yet.
    #[must_use]
    pub fn new(processes: usize) -> Order {
        Order { past: vec![vec![0; processes]; processes], last: HashMap::new(), sum: 0 }
    }

    /// The next step of a process, which depends on all before it that have one of these in common with it.
    pub fn step(&mut self, me: usize, keys: &[u64]) {
        for last in keys.iter().filter_map(|key| self.last.get(key)) {
            for (mine, theirs) in self.past[me].iter_mut().zip(last) {
                *mine = (*mine).max(*theirs);
            }
        }
        self.past[me][me] += 1;
        for key in keys {
            self.last.insert(*key, self.past[me].clone());
        }
        let mut hasher = DefaultHasher::new();
        (me, &self.past[me]).hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
    }

    /// The same number for executions in which all steps that depend on each other came in the same order.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }
}
