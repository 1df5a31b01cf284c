//! Sleep sets: orders that were explored already are cut off where that is certain, because loom itself has none.
//!
//! loom explores depth first: at a state it lets one process go on, explores everything that follows, and then lets
//! another go on if that may make a difference. What follows the second begins, among others, with the same step of the
//! first, as long as nothing has happened that this step depends on: the two steps could as well have come in the other order,
//! and that was explored. So after the second the first is asleep: it need not be the next to go on until something has
//! happened that its step depends on (Godefroid, *Partial-Order Methods for the Verification of Concurrent Systems*,
//! chapter 5; with loom's kind of reduction: Abdulla, Aronis, Jonsson, Sagonas, *Source Sets*, 2017). An execution in
//! which it goes on nevertheless repeats one that was judged.
//!
//! Only for two processes and without a bound. With three, loom may choose one that sleeps while another is awake, and there is
//! no way to make it choose the other; with a bound the order that was explored may have been one with more interruptions.

/// What a step touches: two steps depend on each other if they touch the same.
pub type Touched = Vec<u64>;

/// A step that was explored from some state.
type Step = (usize, Touched);

struct Node {
    /// Who went on here, and what that touched.
    step: Step,
    /// What need not be tried here.
    asleep: Vec<Step>,
}

impl Node {
    /// Whether the step is one that sleeps. It will be cut off where it begins, so what it would have touched later is known
    /// from the time when it was explored.
    fn is_explored(&mut self) -> bool {
        let explored = self.asleep.iter().find(|(who, _)| *who == self.step.0);
        if let Some(step) = explored {
            self.step = step.clone();
        }
        explored.is_some()
    }
}

/// The execution before this one, step by step, with what was explored beside it.
#[derive(Default)]
pub struct Asleep {
    nodes: Vec<Node>,
    /// Steps of this execution so far.
    at: usize,
    on: bool,
}

impl Asleep {
    /// Nothing was explored yet. `on` if executions are to be cut off.
    #[must_use]
    pub fn new(on: bool) -> Asleep {
        Asleep { on, ..Asleep::default() }
    }

    /// The next execution begins.
    pub fn begin(&mut self) {
        self.at = 0;
    }

    /// A process goes on with a step. Whether everything that follows was explored already.
    pub fn is_explored(&mut self, me: usize, touched: &[u64]) -> bool {
        if !self.on {
            return false;
        }
        let at = self.at;
        self.at += 1;
        if let Some(node) = self.nodes.get_mut(at) {
            if node.step.0 == me {
                assert!(
                    node.step.1.starts_with(touched),
                    "the same step of the same process touches the same"
                );
                return false;
            }
            // loom is done with what followed the step that was here.
            let done = std::mem::replace(&mut node.step, (me, touched.to_vec()));
            let explored = node.is_explored();
            node.asleep.push(done);
            self.nodes.truncate(at + 1);
            return explored;
        }
        let asleep: Vec<Step> = self.nodes.last().map_or_else(Vec::new, |last| {
            let awake = |(who, what): &&Step| {
                *who == last.step.0 || what.iter().any(|thing| last.step.1.contains(thing))
            };
            last.asleep.iter().filter(|step| !awake(step)).cloned().collect()
        });
        let mut node = Node { step: (me, touched.to_vec()), asleep };
        let explored = node.is_explored();
        self.nodes.push(node);
        explored
    }

    /// The step that is being done touches these too.
    pub fn goes_on(&mut self, touched: &[u64]) {
        let Some(node) = self.at.checked_sub(1).and_then(|at| self.nodes.get_mut(at)) else { return };
        for thing in touched {
            if !node.step.1.contains(thing) {
                node.step.1.push(*thing);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of one execution, and at which of them it was cut off.
    fn cut(asleep: &mut Asleep, steps: &[(usize, u64)]) -> Option<usize> {
        asleep.begin();
        steps.iter().position(|(me, touched)| asleep.is_explored(*me, &[*touched]))
    }

    #[test]
    fn a_step_that_was_explored_sleeps_until_something_touches_the_same() {
        let mut asleep = Asleep::new(true);
        assert_eq!(cut(&mut asleep, &[(0, 1), (0, 2), (1, 9), (1, 2)]), None);
        // The second process first: the step of the first that was explored here may only follow what touches the same.
        assert_eq!(cut(&mut asleep, &[(0, 1), (1, 9), (0, 2)]), Some(2), "nothing has touched 2");
        assert_eq!(cut(&mut asleep, &[(0, 1), (1, 9), (1, 2), (0, 2)]), None, "that is another order");
        // From the start: the first process sleeps with its first step.
        assert_eq!(cut(&mut asleep, &[(1, 9), (0, 1)]), Some(1));
        assert_eq!(cut(&mut asleep, &[(1, 9), (1, 2), (0, 1)]), Some(2));
    }

    /// A step that is made of several uses depends on whatever touches one of them.
    #[test]
    fn a_step_wakes_for_all_that_it_touches() {
        for (more, cut_off) in [(&[2][..], false), (&[], true)] {
            let mut asleep = Asleep::new(true);
            asleep.begin();
            assert!(!asleep.is_explored(0, &[1]));
            asleep.goes_on(more);
            assert!(!asleep.is_explored(1, &[2]));
            asleep.begin();
            assert!(!asleep.is_explored(1, &[2]));
            assert_eq!(asleep.is_explored(0, &[1]), cut_off, "{more:?}");
        }
    }

    /// What is cut off where it begins was taken for a step that touches nothing else, and slept on when it should have woken.
    #[test]
    fn a_step_that_was_cut_off_is_known_whole() {
        let mut asleep = Asleep::new(true);
        let mut execution = |steps: &[(usize, &[u64])]| {
            asleep.begin();
            for (at, (me, touched)) in steps.iter().enumerate() {
                if asleep.is_explored(*me, &touched[..1]) {
                    return Some(at);
                }
                asleep.goes_on(&touched[1..]);
            }
            None
        };
        let first: &[u64] = &[1, 2];
        assert_eq!(execution(&[(0, first), (1, &[8]), (1, &[9]), (1, &[2])]), None);
        assert_eq!(execution(&[(1, &[8]), (1, &[9]), (0, first)]), Some(2), "it is asleep");
        // Where it was cut off the other process goes on, with what wakes it.
        assert_eq!(execution(&[(1, &[8]), (1, &[9]), (1, &[2]), (0, first)]), None);
    }

    #[test]
    fn nothing_is_cut_off_where_it_is_not_certain() {
        let mut asleep = Asleep::new(false);
        for _ in 0..2 {
            assert_eq!(cut(&mut asleep, &[(0, 1), (1, 9)]), None);
            assert_eq!(cut(&mut asleep, &[(1, 9), (0, 1)]), None);
        }
    }
}
