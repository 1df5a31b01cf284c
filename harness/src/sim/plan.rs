//! A run as data, drawn from its seed: sizes, clocks, faults and how often the larger accidents happen.

use std::time::Duration;

use orch::store::settings::Settings;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use super::faults::{Broken, Knobs};
use super::kernel::{MINUTE, Micros, SECOND};

/// What kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Two virtual hours, four machines.
    Short,
    /// Three virtual days, eight machines with four agents each.
    Long,
    /// Half an hour, two machines, nothing goes wrong.
    Calm,
    /// Two virtual hours of one machine without a remote: many processes in one state directory.
    Local,
    /// Two virtual hours of a few machines on which workers run programs, beside agents of the other kind.
    Workers,
}

impl Profile {
    /// Reads its name.
    ///
    /// # Errors
    /// The names there are.
    pub fn parse(text: &str) -> Result<Profile, String> {
        let all = [Profile::Short, Profile::Long, Profile::Calm, Profile::Local, Profile::Workers];
        let found = all.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| "short, long, calm, local or workers".to_owned())
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Profile::Short => "short",
            Profile::Long => "long",
            Profile::Calm => "calm",
            Profile::Local => "local",
            Profile::Workers => "workers",
        }
    }
}

/// Larger accidents, each as its mean number in an hour, for the whole fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accidents {
    /// Power losses of a machine.
    pub power: f64,
    /// Suspensions of a machine, up to three leases long.
    pub suspend: f64,
    /// A process that is stopped, up to three leases long.
    pub stop: f64,
    /// A process that is killed.
    pub kill: f64,
    /// Steps of a wall clock, up to five minutes, sometimes a day.
    pub clock: f64,
    /// A machine cut off, in one direction or both.
    pub cut: f64,
    /// The remote away for everybody.
    pub outage: f64,
    /// A full disk.
    pub full: f64,
    /// `git gc` in a clone.
    pub collect: f64,
    /// Edits by hand, a third of them broken.
    pub hand: f64,
    /// Task files that vanish.
    pub vanish: f64,
}

impl Accidents {
    /// No accidents.
    #[must_use]
    pub fn none() -> Self {
        Accidents {
            power: 0.0,
            suspend: 0.0,
            stop: 0.0,
            kill: 0.0,
            clock: 0.0,
            cut: 0.0,
            outage: 0.0,
            full: 0.0,
            collect: 0.0,
            hand: 0.0,
            vanish: 0.0,
        }
    }

    fn swarm(dice: &mut Dice) -> Self {
        let mut some = |most: f64| if dice.chance(0.5) { short(dice.unit() * most) } else { 0.0 };
        Accidents {
            power: some(4.0),
            suspend: some(4.0),
            stop: some(6.0),
            kill: some(12.0),
            clock: some(20.0),
            cut: some(6.0),
            outage: some(2.0),
            full: some(3.0),
            collect: some(4.0),
            hand: some(10.0),
            vanish: some(4.0),
        }
    }
}

/// What others do to the shared repository, and disks that have become slow, each as its mean number in an hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// The host refuses for a while what it took before.
    pub refuse: f64,
    /// Somebody commits something to the branch that is none of orch's business.
    pub commit: f64,
    /// A slow disk.
    pub slow: f64,
    /// Locks of local refs that another program holds, or one that was killed.
    #[serde(default)]
    pub lock: f64,
    /// Somebody forces the branch back, deletes it or a lease ref, or restores a backup.
    pub rewind: f64,
}

impl Others {
    /// In the order in which they are drawn: refusals, commits, slow disks, locks, rewinds.
    #[must_use]
    pub fn rates(&self) -> [f64; 5] {
        [self.refuse, self.commit, self.slow, self.lock, self.rewind]
    }

    /// Drawn apart from everything else, so that a seed is otherwise the run that it was without them.
    fn swarm(dice: &mut Dice, local: bool) -> Self {
        let mut some = |often: f64, most: f64| {
            if dice.chance(often) { short(dice.unit() * most) } else { 0.0 }
        };
        let mut all = Others { slow: some(0.2, 4.0), lock: some(0.2, 4.0), ..Others::default() };
        if !local {
            // What is rewound is judged less strictly, so most runs are without.
            (all.refuse, all.commit, all.rewind) = (some(0.2, 4.0), some(0.2, 4.0), some(0.15, 3.0));
        }
        all
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Where everything else comes from.
    pub seed: u64,
    /// What kind of run.
    pub profile: Profile,
    /// Machines.
    pub machines: usize,
    /// Agents on each machine.
    pub agents: usize,
    /// Workers on each machine, which run programs.
    #[serde(default)]
    pub workers: usize,
    /// Tasks at the beginning.
    pub tasks: usize,
    /// Length of the phase with faults.
    pub length: Micros,
    /// Time to live of leases.
    pub ttl: Micros,
    /// Mean time that an agent works on a task.
    pub work: Micros,
    /// Chance that an agent vanishes in the middle of a task.
    pub vanish: f64,
    /// Mean pause between acts of operators of the whole fleet.
    pub operators: Micros,
    /// What goes wrong at ports.
    #[serde(deserialize_with = "knobs")]
    pub knobs: Knobs,
    /// Larger accidents.
    pub accidents: Accidents,
    /// What others do.
    #[serde(default)]
    pub others: Others,
    /// Seconds of each machine's clock per true second.
    pub rates: Vec<f64>,
    /// Offset of each machine's wall clock, milliseconds.
    pub offsets_ms: Vec<i64>,
    /// Machines that come back after the phase with faults; the others stay away for ever.
    pub core: Vec<bool>,
    /// Agents begin to look for work at full half minutes by their machine's clock, as timers do.
    pub herd: bool,
    /// How long the network is away after a machine woke up or came back, at most.
    pub offline: Micros,
    /// The guard that is taken away, if any.
    pub broken: Option<Broken>,
}

/// Reads knobs, and refuses those that there are none of: a name with a slip would be one that was left out.
fn knobs<'de, D: Deserializer<'de>>(from: D) -> Result<Knobs, D::Error> {
    let given = serde_json::Map::deserialize(from)?;
    let knobs: Knobs = serde_json::from_value(given.clone().into()).map_err(D::Error::custom)?;
    let known = serde_json::to_value(&knobs).map_err(D::Error::custom)?;
    match given.keys().find(|key| known.get(key).is_none()) {
        Some(key) => Err(D::Error::custom(format!("unknown field `{key}` of knobs"))),
        None => Ok(knobs),
    }
}

/// Sizes that somebody asked for, instead of those that the seed draws.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Machines.
    pub machines: Option<usize>,
    /// Agents on each.
    pub agents: Option<usize>,
    /// Tasks at the beginning.
    pub tasks: Option<usize>,
    /// Hours with faults.
    pub hours: Option<usize>,
}

impl Sizes {
    /// As the command line takes them; nothing where the seed decides everything.
    #[must_use]
    pub fn options(&self) -> Option<String> {
        let all = [
            ("machines", self.machines),
            ("agents", self.agents),
            ("tasks", self.tasks),
            ("hours", self.hours),
        ];
        let asked = all.iter().filter_map(|(name, size)| Some(format!("--{name} {}", (*size)?)));
        Some(asked.collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
    }
}

const HOUR: Micros = 60 * MINUTE;
/// As long as the command line lets a run be.
const LONGEST: Micros = 1000 * HOUR;
const YEAR_MS: f64 = 366.0 * 86_400_000.0;

/// What is no number lies within nothing.
fn within(name: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{name} is {value}, and lies within {least} and {most}"))
}

/// Six decimals: what a file holds is read again as exactly the same number.
pub(super) fn short(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64, profile: Profile, broken: Option<Broken>) -> Plan {
        Plan::draw_sized(seed, profile, broken, Sizes::default())
    }

    /// The plan of a seed, as large as somebody asked.
    #[must_use]
    pub fn draw_sized(seed: u64, profile: Profile, broken: Option<Broken>, sizes: Sizes) -> Plan {
        let dice = &mut Dice::new(seed).fork("plan");
        let (machines, agents, hours) = match profile {
            Profile::Short => (dice.between(2, 4) as usize, dice.between(1, 3) as usize, 2.0),
            Profile::Long => (8, 4, 72.0),
            Profile::Calm => (2, 2, 0.5),
            Profile::Local => (1, dice.between(3, 6) as usize, 2.0),
            Profile::Workers => (dice.between(2, 3) as usize, 1, 2.0),
        };
        let machines = sizes.machines.unwrap_or(machines);
        let agents = sizes.agents.unwrap_or(agents);
        let hours = sizes.hours.map_or(hours, |hours| hours as f64);
        let workers = if profile == Profile::Workers { dice.between(1, 2) as usize } else { 0 };
        let local = profile == Profile::Local;
        let calm = profile == Profile::Calm;
        let ttl = *dice.pick(&[MINUTE, 5 * MINUTE, 15 * MINUTE]);
        let mut core: Vec<bool> = (0..machines).map(|_| calm || dice.chance(0.7)).collect();
        let certain = dice.below(machines as u64) as usize;
        core[certain] = true;
        // Timers start agents of several machines at the same moment, most of all where clocks are kept well.
        let herd = !calm && dice.chance(0.3);
        let mut accidents = if calm { Accidents::none() } else { Accidents::swarm(dice) };
        if local {
            // There is nobody to be cut off from. A file is the register here, and whoever changes it without
            // looking at it again may undo what a command has just written.
            accidents = Accidents { cut: 0.0, outage: 0.0, hand: 0.0, vanish: 0.0, ..accidents };
        }
        Plan {
            seed,
            profile,
            machines,
            agents,
            workers,
            tasks: {
                let drawn = dice.between(3, 12) as usize * machines.max(2) / 2;
                sizes.tasks.unwrap_or(drawn)
            },
            length: (hours * 3600.0) as Micros * SECOND,
            ttl,
            work: *dice.pick(&[MINUTE, 5 * MINUTE, 20 * MINUTE]),
            vanish: if calm { 0.0 } else { short(dice.unit() * 0.3) },
            operators: *dice.pick(&[MINUTE, 3 * MINUTE, 10 * MINUTE])
                * if profile == Profile::Long { 3 } else { 1 },
            knobs: if calm { Knobs::calm() } else { Knobs::swarm(dice) },
            accidents,
            others: if calm {
                Others::default()
            } else {
                Others::swarm(&mut Dice::new(seed).fork("others"), local)
            },
            rates: (0..machines)
                .map(|_| if calm || herd { 1.0 } else { short(0.95 + dice.unit() * 0.1) })
                .collect(),
            offsets_ms: (0..machines)
                .map(|_| if calm || herd { 0 } else { dice.between(0, 7_200_000) as i64 - 3_600_000 })
                .collect(),
            core,
            herd,
            offline: if dice.chance(0.5) { dice.between(SECOND, 2 * ttl) } else { 0 },
            broken,
        }
    }

    /// Checks that it can be run at all. A plan that was drawn can; one that somebody wrote may name no machine, or a
    /// clock that stands still, and would end in a panic or never.
    ///
    /// # Errors
    /// What is out of bounds, with the bounds.
    pub fn check(&self) -> Result<(), String> {
        let Plan { machines, agents, workers, tasks, .. } = *self;
        within("machines", machines as f64, 1.0, if self.is_local() { 1.0 } else { 64.0 })?;
        within("agents", agents as f64, 1.0, 64.0)?;
        within("workers", workers as f64, 0.0, 64.0)?;
        within("tasks", tasks as f64, 1.0, 10_000.0)?;
        for (name, span, least) in [
            ("length", self.length, 0),
            ("ttl", self.ttl, SECOND),
            ("work", self.work, SECOND),
            ("operators", self.operators, SECOND),
            ("offline", self.offline, 0),
        ] {
            within(&format!("{name} (microseconds)"), span as f64, least as f64, LONGEST as f64)?;
        }
        for (name, length) in
            [("rates", self.rates.len()), ("offsets_ms", self.offsets_ms.len()), ("core", self.core.len())]
        {
            if length != machines {
                return Err(format!("{name} has {length} entries, and there are {machines} machines"));
            }
        }
        if !self.core.contains(&true) {
            return Err("core names no machine that comes back: one at least has to be `true`".to_owned());
        }
        for rate in &self.rates {
            within("rates", *rate, 0.5, 2.0)?;
        }
        for offset in &self.offsets_ms {
            within("offsets_ms", *offset as f64, -YEAR_MS, YEAR_MS)?;
        }
        self.check_faults()
    }

    fn check_faults(&self) -> Result<(), String> {
        let (k, a) = (&self.knobs, &self.accidents);
        for (name, chance) in [
            ("vanish", self.vanish),
            ("knobs.preempt", k.preempt),
            ("knobs.kill_at_disk", k.kill_at_disk),
            ("knobs.kill_at_remote", k.kill_at_remote),
            ("knobs.disk_error", k.disk_error),
            ("knobs.lost", k.lost),
            ("knobs.unanswered", k.unanswered),
            ("knobs.late", k.late),
            ("knobs.twice", k.twice),
        ] {
            within(name, chance, 0.0, 1.0)?;
        }
        let (shortest, longest) = k.latency;
        within("knobs.latency (microseconds), the longest", longest as f64, 1.0, HOUR as f64)?;
        within("knobs.latency (microseconds), the shortest", shortest as f64, 0.0, longest as f64)?;
        let rates = [
            a.power, a.suspend, a.stop, a.kill, a.clock, a.cut, a.outage, a.full, a.collect, a.hand, a.vanish,
        ];
        for rate in rates {
            within("accidents (in an hour)", rate, 0.0, 1000.0)?;
        }
        for rate in self.others.rates() {
            within("others (in an hour)", rate, 0.0, 1000.0)?;
        }
        Ok(())
    }

    /// Whether there is no remote.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.profile == Profile::Local
    }

    /// The settings that all machines share.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let remote = (!self.is_local()).then(|| "/simulated/remote.git".to_owned());
        let mut settings = Settings { remote, ..Settings::default() };
        settings.lease.ttl = Duration::from_micros(self.ttl);
        settings.sync.timeout = Duration::from_secs(10);
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILES: [Profile; 5] =
        [Profile::Short, Profile::Long, Profile::Calm, Profile::Local, Profile::Workers];

    /// What somebody wrote into a plan.
    type Harm = fn(&mut Plan);

    #[test]
    fn what_is_drawn_can_be_run() {
        for profile in PROFILES {
            for seed in 0..200 {
                assert_eq!(Plan::draw(seed, profile, None).check(), Ok(()), "{profile:?} {seed}");
            }
        }
        let sizes = Sizes { machines: Some(64), agents: Some(64), tasks: Some(10_000), hours: Some(1_000) };
        assert_eq!(Plan::draw_sized(1, Profile::Short, None, sizes).check(), Ok(()));
    }

    /// Each of these was a panic, or a run that never ended.
    #[test]
    fn what_cannot_be_run_is_told_with_its_bounds() {
        let plan = || Plan::draw(1, Profile::Short, None);
        let machines = plan().machines;
        let cases: [(&str, Harm); 13] = [
            ("machines is 0, and lies within 1 and 64", |plan| plan.machines = 0),
            ("rates has 0 entries", |plan| plan.rates.clear()),
            ("offsets_ms has 0 entries", |plan| plan.offsets_ms.clear()),
            ("core has 0 entries", |plan| plan.core.clear()),
            ("core names no machine", |plan| plan.core.fill(false)),
            ("ttl (microseconds) is 0", |plan| plan.ttl = 0),
            ("operators (microseconds) is 0", |plan| plan.operators = 0),
            ("work (microseconds) is 0", |plan| plan.work = 0),
            ("length (microseconds)", |plan| plan.length = Micros::MAX),
            ("rates is 0", |plan| plan.rates[0] = 0.0),
            ("knobs.lost is NaN", |plan| plan.knobs.lost = f64::NAN),
            ("knobs.latency", |plan| plan.knobs.latency = (9, 3)),
            ("accidents (in an hour) is -1", |plan| plan.accidents.cut = -1.0),
        ];
        for (says, harm) in cases {
            let mut harmed = plan();
            harm(&mut harmed);
            let why = harmed.check().err().unwrap_or_else(|| panic!("{says}: it is taken"));
            assert!(why.starts_with(says), "{says}: {why}");
        }
        let more = Plan { machines: machines + 1, ..plan() };
        let why = format!("rates has {machines} entries, and there are {} machines", machines + 1);
        assert_eq!(more.check(), Err(why));
    }

    #[test]
    fn a_key_that_nobody_knows_is_refused_wherever_it_stands() {
        let read = |text: &str| serde_json::from_str::<Plan>(text).map_err(|why| why.to_string());
        let plan = Plan::draw(1, Profile::Short, None);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(read(&text), Ok(plan));
        for (key, slip) in
            [("machines", "machine"), ("lost", "lots"), ("power", "pwoer"), ("refuse", "refus")]
        {
            let added = text.replacen(&format!("\"{key}\":"), &format!("\"{slip}\":0,\"{key}\":"), 1);
            let why = read(&added).unwrap_err();
            assert!(why.contains(&format!("unknown field `{slip}`")), "{why}");
        }
    }
}
