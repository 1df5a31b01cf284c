//! The search: breadth first, so that the first violation found has a shortest trace.
//!
//! A state is remembered by a 128-bit fingerprint, its predecessor and the number of the way that led to it; a
//! trace is made by walking from the first state again.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use orch::protocol::invariant::Violation;
use orch::protocol::op::Action;
use orch::protocol::task::Status;

use super::arena::{Arena, OpIx, TaskIx};
use super::procedure::{Label, Move, Moves, Net};
use super::state::{Durable, FIRST, Folder, Ghost, Machine, State};
use super::steps::at_rest;
use super::{Bound, Guards};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The promise of SPEC §14 that is broken; 0 for a state from which the task cannot come to rest.
    pub promise: u8,
    /// What was seen.
    pub what: String,
    /// How it came about, one step a line.
    pub trace: Vec<String>,
}

/// What a search did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Different states.
    pub states: usize,
    /// Steps between them.
    pub steps: usize,
    /// Steps of the longest shortest way to a state.
    pub depth: usize,
    /// Different operations, files and commits.
    pub sizes: (usize, usize, usize),
    /// Whether every state within the bound was looked at.
    pub exhausted: bool,
    /// A broken promise.
    pub broken: Option<Found>,
    /// A state from which the task cannot come to rest.
    pub stuck: Option<Found>,
    /// Things that should be able to happen and never did.
    pub missed: Vec<&'static str>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether the search was exhaustive and everything held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.exhausted && self.broken.is_none() && self.stuck.is_none() && self.missed.is_empty()
    }
}

/// Two lanes of a multiplicative hash: quick, and wide enough that no two states of a search meet by chance.
struct Fingerprint(u64, u64);

impl Fingerprint {
    fn of(state: &State) -> u128 {
        let mut hasher = Fingerprint(0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344);
        state.hash(&mut hasher);
        let mix = |lane: u64| {
            let lane = (lane ^ (lane >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
            lane ^ (lane >> 32)
        };
        u128::from(mix(hasher.0)) << 64 | u128::from(mix(hasher.1))
    }

    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.1 = (self.1.rotate_left(23) ^ word).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    }
}

impl Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        self.0 ^ self.1
    }
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            self.add(part.iter().fold(part.len() as u64, |word, byte| word << 8 | u64::from(*byte)));
        }
    }
    fn write_u8(&mut self, word: u8) {
        self.add(u64::from(word));
    }
    fn write_u32(&mut self, word: u32) {
        self.add(u64::from(word));
    }
    fn write_u64(&mut self, word: u64) {
        self.add(word);
    }
    fn write_usize(&mut self, word: usize) {
        self.add(word as u64);
    }
}

struct Search {
    arena: Arena,
    guards: Guards,
    bound: Bound,
    seen: HashMap<u128, u32, std::hash::BuildHasherDefault<Folded>>,
    /// Predecessor and number of the way, by state.
    from: Vec<(u32, u16)>,
    /// Steps that are no fault.
    healthy: Vec<(u32, u32)>,
    resting: Vec<u32>,
    happened: BTreeSet<&'static str>,
    steps: usize,
    depth: usize,
}

/// Fingerprints are spread already.
#[derive(Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |word, byte| word.rotate_left(8) ^ u64::from(*byte));
    }
    fn write_u128(&mut self, word: u128) {
        self.0 = (word >> 64) as u64;
    }
}

/// Searches everything within the bound; `told` hears the states, the depth and the states of that depth now
/// and then.
///
/// # Errors
/// The bound cannot be set up.
pub fn run(
    bound: Bound,
    guards: Guards,
    told: &mut dyn FnMut(usize, usize, usize),
) -> Result<Outcome, String> {
    let began = Instant::now();
    let mut names: Vec<String> = (0..bound.claimers).map(|n| char::from(b'a' + n % 26).to_string()).collect();
    names.extend(["operator".to_owned(), "watchdog".to_owned()]);
    let mut search = Search {
        arena: Arena::new(names, 2)?,
        guards,
        bound,
        seen: HashMap::default(),
        from: Vec::new(),
        healthy: Vec::new(),
        resting: Vec::new(),
        happened: BTreeSet::new(),
        steps: 0,
        depth: 0,
    };
    let (exhausted, broken) = search.explore(told);
    let complete = exhausted && broken.is_none();
    // Without a watchdog a session that has died holds its task for ever.
    let stuck = if complete && bound.watchdog { search.stuck() } else { None };
    let missed = if complete { search.missed() } else { Vec::new() };
    Ok(Outcome {
        states: search.from.len(),
        steps: search.steps,
        depth: search.depth,
        sizes: search.arena.sizes(),
        exhausted,
        broken,
        stuck,
        missed,
        took: began.elapsed(),
    })
}

impl Search {
    fn first(&mut self) -> State {
        let Bound { claimers, claims, beats, operator, .. } = self.bound;
        let machine =
            |begins, beats| Machine { durable: Durable::fresh(), begins, beats, told: None, run: None };
        let mut machines: Vec<Machine> = (0..claimers).map(|_| machine(claims, beats)).collect();
        machines.extend([machine(operator, 0), machine(0, 0)]);
        let state = State {
            branch: FIRST,
            lease: None,
            machines,
            folders: vec![Folder::Idle; usize::from(self.bound.folders)],
            late: None,
            faults: self.bound.faults,
            ghost: Ghost::default(),
        };
        state.canonical(&mut self.arena)
    }

    fn moves(&mut self, state: &State) -> Vec<Move> {
        let (guards, bound) = (self.guards, self.bound);
        let mut moves = Moves { arena: &mut self.arena, guards, bound, out: Vec::new() };
        moves.all(state);
        moves.out
    }

    fn explore(&mut self, told: &mut dyn FnMut(usize, usize, usize)) -> (bool, Option<Found>) {
        let first = self.first();
        self.seen.insert(Fingerprint::of(&first), 0);
        self.from.push((0, 0));
        let mut level = vec![(0u32, first)];
        while !level.is_empty() {
            let mut next = Vec::new();
            for (done, (at, state)) in level.iter().enumerate() {
                if done % 4096 == 0 {
                    told(self.from.len(), self.depth, level.len() - done);
                }
                if at_rest(state) && self.may_rest(state) {
                    self.resting.push(*at);
                }
                for (way, step) in self.moves(state).into_iter().enumerate() {
                    self.steps += 1;
                    self.happened.insert(step.label.what);
                    let broken = step.broken.clone().or_else(|| self.check(state, &step.state));
                    if let Some(violation) = broken {
                        return (true, Some(self.found(violation, *at, Some(way))));
                    }
                    let healthy = step.state.faults == state.faults;
                    let print = Fingerprint::of(&step.state);
                    let to = match self.seen.get(&print) {
                        Some(known) => *known,
                        None => {
                            let new = self.from.len() as u32;
                            self.seen.insert(print, new);
                            self.from.push((*at, way as u16));
                            next.push((new, step.state));
                            new
                        }
                    };
                    if healthy {
                        self.healthy.push((to, *at));
                    }
                }
                if self.from.len() > self.bound.states {
                    return (false, None);
                }
            }
            level = next;
            if !level.is_empty() {
                self.depth += 1;
            }
        }
        (true, None)
    }

    /// Promises 1 to 6 in one state, and between it and the one before.
    fn check(&mut self, before: &State, state: &State) -> Option<Violation> {
        let broken = |promise, what: String| Some(Violation { promise, what });
        let arena = &mut self.arena;
        let view = state.view(arena);
        let (old, branch) = (arena.file(before.branch), arena.file(state.branch));
        if old != branch && !arena.grows(old, branch) {
            return broken(6, "the branch does not hold any more what it held before".to_owned());
        }
        let tip = state.lease.map(|tip| arena.file(tip));
        let files = state.machines.iter().map(|machine| machine.durable.file);
        for task in files.chain([view, branch]).chain(tip) {
            if let Some(violation) = &arena.facts(task).broken {
                return Some(violation.clone());
            }
        }
        for op in &state.ghost.acked {
            if !arena.has(view, *op) {
                let promise = if matches!(arena.op(*op).action, Action::Claim { .. }) { 2 } else { 4 };
                return broken(promise, format!("{} was acknowledged and is gone", show(arena, *op)));
            }
        }
        for (machine, op) in &state.ghost.kept {
            let file = state.machines[usize::from(*machine)].durable.file;
            if !arena.has(view, *op) && !arena.has(file, *op) {
                return broken(4, format!("{} was kept and is gone without a report", show(arena, *op)));
            }
        }
        // Where the refs are not listed at one moment, what was folded in between seems to have vanished.
        for op in &state.ghost.refused {
            if arena.has(view, *op) && !self.bound.split {
                return broken(
                    4,
                    format!("{} was reported as refused and stands all the same", show(arena, *op)),
                );
            }
        }
        None
    }

    fn may_rest(&self, state: &State) -> bool {
        let status = self.arena.facts(self.arena.file(state.branch)).status;
        status.is_terminal() || status == Status::Pending
    }

    /// A state from which no healthy way leads to rest.
    fn stuck(&mut self) -> Option<Found> {
        let count = self.from.len();
        let mut starts = vec![0u32; count + 1];
        self.healthy.iter().for_each(|(to, _)| starts[*to as usize + 1] += 1);
        (0..count).for_each(|at| starts[at + 1] += starts[at]);
        let mut place = starts.clone();
        let mut before = vec![0u32; self.healthy.len()];
        for (to, from) in std::mem::take(&mut self.healthy) {
            before[place[to as usize] as usize] = from;
            place[to as usize] += 1;
        }
        let mut good = vec![false; count];
        let mut open = std::mem::take(&mut self.resting);
        for at in &open {
            good[*at as usize] = true;
        }
        while let Some(at) = open.pop() {
            for from in &before[starts[at as usize] as usize..starts[at as usize + 1] as usize] {
                if !std::mem::replace(&mut good[*from as usize], true) {
                    open.push(*from);
                }
            }
        }
        let at = good.iter().position(|good| !good)?;
        let what = "no way leads from here to rest, although nothing fails any more".to_owned();
        Some(self.found(Violation { promise: 0, what }, at as u32, None))
    }

    /// What should be able to happen within the bound and never did: a model that cannot move proves nothing.
    fn missed(&self) -> Vec<&'static str> {
        let mut expected =
            vec!["claim", "done", "fetches", "pushes the lease ref", "the folder pushes the branch"];
        expected.extend(["reads the branch again after its push", "the folder deletes what it folded"]);
        if self.bound.claimers > 1 || self.bound.operator > 0 {
            expected.push("takes its push back");
        }
        if self.bound.faults > 0 {
            expected.push("reads the ref again after a push without a plain answer");
            expected.push("dies");
        }
        if self.bound.faults > 0 && self.bound.watchdog {
            expected.push("pushes what it had kept");
        }
        if self.bound.faults > 0 && self.bound.claims > 1 {
            expected.push("reads whether its claim still stands");
        }
        if self.bound.operator > 0 {
            expected.extend(["cancel", "retry", "replan"]);
        }
        expected.into_iter().filter(|what| !self.happened.contains(what)).collect()
    }

    /// The way to a state, and one step further.
    fn found(&mut self, violation: Violation, at: u32, last: Option<usize>) -> Found {
        let mut ways: Vec<usize> = last.into_iter().collect();
        let mut walk = at;
        while walk != 0 {
            let (before, way) = self.from[walk as usize];
            ways.push(usize::from(way));
            walk = before;
        }
        let mut state = self.first();
        let mut trace = Vec::new();
        for way in ways.into_iter().rev() {
            let Some(step) = self.moves(&state).into_iter().nth(way) else { break };
            trace.push(self.describe(step.label, &state, &step.state));
            state = step.state;
        }
        Found { promise: violation.promise, what: violation.what, trace }
    }

    fn describe(&mut self, label: Label, before: &State, after: &State) -> String {
        let who = label.who.map(|who| format!("{} ", self.arena.name(who))).unwrap_or_default();
        let fate = match label.net {
            Net::Done => "",
            Net::Lost => " (lost)",
            Net::AnswerLost => " (accepted, answer lost)",
            Net::Late => " (lost for now, still under way)",
            Net::Crash if label.what == "dies" => "",
            Net::Crash => ", and dies",
        };
        let mut line = format!("{who}{}{fate}", label.what);
        if before.branch != after.branch {
            line.push_str(&format!("; branch: {}", self.shape(after.branch)));
        }
        if before.lease != after.lease {
            let now = after.lease.map_or("none".to_owned(), |tip| self.shape(tip));
            line.push_str(&format!("; lease ref: {now}"));
        }
        if before.ghost.told != after.ghost.told
            && let Some((epoch, machine)) = after.ghost.told
        {
            line.push_str(&format!("; {} is told: epoch {epoch} is yours", self.arena.name(machine)));
        }
        for op in after.ghost.acked.iter().filter(|op| !before.ghost.acked.contains(op)) {
            line.push_str(&format!("; acknowledged: {}", show(&self.arena, *op)));
        }
        for op in after.ghost.refused.iter().filter(|op| !before.ghost.refused.contains(op)) {
            line.push_str(&format!("; given up: {}", show(&self.arena, *op)));
        }
        line
    }

    fn shape(&self, oid: TaskIx) -> String {
        let facts = self.arena.facts(self.arena.file(oid));
        let ops: Vec<String> = facts.ops.iter().map(|op| show(&self.arena, *op)).collect();
        let beat = facts.lease.map_or(String::new(), |(.., beat)| format!(" beat {beat}"));
        format!("[{}]{beat}", ops.join(", "))
    }
}

fn show(arena: &Arena, op: OpIx) -> String {
    let op = arena.op(op);
    let epoch = match op.action {
        Action::Claim { epoch, .. } => Some(epoch),
        _ => op.action.based_on(),
    };
    format!("{} {}@{}", op.by, op.action.verb(), epoch.unwrap_or_default())
}
