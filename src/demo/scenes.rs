//! The scenes. Each acts as people, cables and power supplies do, then waits until the queue has answered.

use serde_json::Value;

use super::cast::{CI, LAPTOP, Machine, OFFICE, failed, names};
use super::check::{Abandoned, Late, Offline, same_files};
use super::play::{Play, Worker};
use super::project::{self, BY_HAND, LONG};
use super::story::story;
use super::view::{Step, View, reason_of, running_step};
use crate::protocol::task::{Status, Task};
use crate::usecase::error::{Error, Result};
use crate::world::clock::RealClock;
use crate::world::process::real::RealProcess;
use crate::world::{Clock, Process, ProcessId, folder};

/// Short leases, so that nobody has to wait long; otherwise as usual.
const SETTINGS: &str = "\
# Short leases, so that a rehearsal is over soon. An ordinary queue has `lease: {ttl: 15m, grace: 30s}`.
format: 1
lease: {ttl: 2s, grace: 500ms, drift: 1.25}
retry: {max_attempts: 5, backoff: [0s], jitter: 0}
sync: {push_budget: 600/min}
";

/// The lease of the agent that works by hand: long enough for it to finish offline, even on a slow computer.
const AGENT_LEASE: &str = "6s";

/// Rounds of `orch sync` on all machines in the end, at most.
const ROUNDS: usize = 8;

/// Plays all scenes.
///
/// # Errors
/// Something failed or did not happen.
pub fn perform(play: &mut Play<'_>) -> Result<()> {
    set_up(play)?;
    lose_power(play)?;
    lose_cable(play)?;
    take_over(play)?;
    come_back(play)?;
    finish(play)
}

fn set_up(play: &mut Play<'_>) -> Result<()> {
    play.scene("Three machines, one queue in a bare git repository");
    for which in [OFFICE, LAPTOP, CI] {
        let url = play.stage.machine(which).url();
        play.stage.must(which, "you", &["init", "--remote", &url])?;
        let id = super::cast::read(&play.stage.machine(which).state().join(".git/orch/machine"));
        play.stage.machines[which].id = id.unwrap_or_default().trim().to_owned();
    }
    folder::write(&play.stage.machine(OFFICE).state().join("orch.yaml"), SETTINGS).map_err(failed)?;
    for (number, day) in project::DAYS.iter().enumerate() {
        let path = play.stage.project().join("inbox").join(format!("{day}.log"));
        folder::write(&path, &project::log(number)).map_err(failed)?;
    }
    let jobs = project::jobs();
    for job in &jobs {
        let path = play.stage.dir.join("tasks").join(format!("{}.yaml", job.id));
        folder::write(&path, &job.yaml).map_err(failed)?;
        let path = path.display().to_string();
        play.stage.must(OFFICE, "you", &["add", "--no-sync", "--file", &path])?;
    }
    for which in [OFFICE, LAPTOP, CI] {
        play.stage.must(which, "you", &["sync"])?;
    }
    play.line(&format!(
        "{} tasks make a report of three days of a shop's log; the office added them, all machines see them",
        jobs.len()
    ));
    play.look();
    Ok(())
}

fn start_worker(play: &mut Play<'_>, which: usize, session: &str) -> Result<()> {
    let program = play.stage.start_worker(which, session)?;
    play.workers.push(Worker { session: session.to_owned(), program });
    Ok(())
}

/// Waits until a worker is in the middle of a long step.
fn long_step(play: &mut Play<'_>, which: usize) -> Result<(Step, Option<ProcessId>, u64)> {
    let name = play.stage.machine(which).name;
    play.until(&format!("the worker on {name} is in the middle of a long step"), |play, view| {
        let Some(step) = running_step(play.stage.machine(which), &["sleep", LONG]) else {
            return still_working(play, which).map(|()| None);
        };
        let epoch = view.get(&step.task).map_or(0, Task::epoch);
        let who = processes().identify(step.pid);
        Ok(Some((step, who, epoch)))
    })
}

/// A worker that has ended will never be in the middle of anything.
fn still_working(play: &mut Play<'_>, which: usize) -> Result<()> {
    let worker = &mut play.workers[which];
    match worker.program.ended() {
        None => Ok(()),
        Some(ended) => {
            let log = play.stage.log_of(&worker.session);
            let how = ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
            let message = format!("{} ended with {how} too early; see {}", worker.session, log.display());
            Err(Error::failure(message))
        }
    }
}

fn processes() -> RealProcess {
    RealProcess::new(RealClock.boot_id(), Vec::new())
}

fn is_gone(who: Option<&ProcessId>) -> bool {
    who.is_none_or(|who| !processes().alive(who))
}

fn lose_power(play: &mut Play<'_>) -> Result<()> {
    play.scene("The office loses its power in the middle of a task");
    start_worker(play, OFFICE, "worker@office")?;
    start_worker(play, LAPTOP, "worker@laptop")?;
    let (step, who, epoch) = long_step(play, OFFICE)?;
    let ended = play.workers[0].program.kill();
    play.line(&format!("office: kill -9 of the worker while it runs {} (epoch {epoch})", step.task));
    play.connected = vec![LAPTOP, CI];
    let program_gone = play
        .until("the program of the dead worker is gone", |_, _| Ok(is_gone(who.as_ref()).then_some(true)))?;
    play.line("office: its program died with it; nobody there will ever say `done`");
    play.facts.killed = Some(Abandoned {
        task: step.task,
        session: "worker@office".to_owned(),
        epoch,
        program_seen: who.is_some(),
        program_gone,
        how: ended.and_then(|ended| ended.signal).map(|signal| format!("signal {signal}")),
    });
    Ok(())
}

fn lose_cable(play: &mut Play<'_>) -> Result<()> {
    play.scene("The laptop is cut off from the remote in the middle of a task");
    let (step, who, epoch) = long_step(play, LAPTOP)?;
    play.stage.must(LAPTOP, "agent@laptop", &["claim", BY_HAND, "--lease", AGENT_LEASE])?;
    play.stage.machine(LAPTOP).pull_the_cable()?;
    play.connected = vec![CI];
    play.line(&format!("laptop: cable pulled while its worker runs {} (epoch {epoch})", step.task));
    let notes = "Tea sells best (written on the train)";
    let done = play.stage.must(LAPTOP, "agent@laptop", &["done", BY_HAND, "--notes", notes])?;
    play.line(&format!("laptop: an agent finishes {BY_HAND} offline; orch keeps it, unpublished"));
    play.facts.offline = Some(Offline { published: done["published"] != Value::Bool(false), kept: false });
    play.facts.cut = Some(Abandoned {
        task: step.task,
        session: "worker@laptop".to_owned(),
        epoch,
        program_seen: who.is_some(),
        program_gone: false,
        how: None,
    });
    play.facts.cut_program = who;
    play.facts.cut_bundle = Some(step.bundle);
    Ok(())
}

/// How a task went on after an epoch, once somebody has claimed it again.
fn next_claim(play: &Play<'_>, view: &View, left: &Abandoned) -> Option<String> {
    let story = story(view.get(&left.task)?, &play.stage);
    let before = story.chapters.iter().find(|one| one.epoch == left.epoch)?;
    let after = story.chapters.iter().find(|one| one.epoch > left.epoch)?;
    Some(format!("ci: {}: {}; {} holds epoch {}", story.id, before.ended, after.session, after.epoch))
}

fn take_over(play: &mut Play<'_>) -> Result<()> {
    play.scene("Leases that stand still are taken over");
    start_worker(play, CI, "worker-1@ci")?;
    start_worker(play, CI, "worker-2@ci")?;
    let killed = play.facts.killed.clone().ok_or_else(|| Error::failure("no worker was killed"))?;
    let cut = play.facts.cut.clone().ok_or_else(|| Error::failure("no worker was cut off"))?;
    let (mut first, mut second, mut third) = (false, false, false);
    play.until("the tasks of office and laptop have gone to ci", |play, view| {
        if !first && let Some(line) = next_claim(play, view, &killed) {
            play.line(&line);
            first = true;
        }
        if !second && let Some(line) = next_claim(play, view, &cut) {
            // Looked at in this moment: the old holder must have stopped before the new one began.
            let gone = is_gone(play.facts.cut_program.as_ref());
            play.facts.cut = Some(Abandoned { program_gone: gone, ..cut.clone() });
            play.line(&line);
            if gone {
                play.line("laptop: its worker had stopped the program by itself before that");
            }
            second = true;
        }
        third = third || agent_on_ci(play, view)?;
        Ok((first && second && third).then_some(()))
    })
}

/// The agent on `ci` claims what the laptop's agent seems to have left, as soon as it may, and finishes it.
fn agent_on_ci(play: &mut Play<'_>, view: &View) -> Result<bool> {
    // The watchdog of the workers there makes it free; asking before that would only be refused.
    if view.get(BY_HAND).is_none_or(|task| task.status() != Status::Pending) {
        return Ok(false);
    }
    let claimed = play.stage.orch(CI, "agent@ci", &["claim", BY_HAND, "--lease", "30s"])?;
    if claimed.code != 0 {
        return Ok(false);
    }
    let notes = "Coffee sells best";
    play.stage.must(CI, "agent@ci", &["done", BY_HAND, "--notes", notes])?;
    let epoch = claimed.data["epoch"].as_u64().unwrap_or(0);
    play.line(&format!("ci: an agent claims {BY_HAND} as epoch {epoch} and finishes it"));
    Ok(true)
}

fn come_back(play: &mut Play<'_>) -> Result<()> {
    play.scene("The laptop comes back and does not know that it is dead");
    let cut = play.facts.cut.clone().ok_or_else(|| Error::failure("no worker was cut off"))?;
    play.stage.machine(LAPTOP).plug_in()?;
    let epoch = cut.epoch.to_string();
    let late = ["done", &cut.task, "--epoch", &epoch, "--notes", "finished after all"];
    let answer = play.stage.orch(LAPTOP, "worker@laptop", &late)?;
    play.line(&format!(
        "laptop: `done` for {} with epoch {epoch} ends with exit code {}: {}",
        cut.task,
        answer.code,
        answer.said()
    ));
    let word = answer.error["code"].as_str().unwrap_or_default().to_owned();
    play.facts.late = Some(Late { code: answer.code, word });
    let sync = play.until("the laptop has synced", |play, _| {
        let answer = play.stage.orch(LAPTOP, "you", &["sync"])?;
        Ok((answer.code == 0).then_some(answer))
    })?;
    play.connected = vec![LAPTOP, CI];
    let kept = rejected(play.stage.machine(LAPTOP), BY_HAND);
    let said = sync.data["rejected"][0]["reason"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    if kept {
        play.line(&format!("laptop: its offline `done` of {BY_HAND} is refused and kept as evidence{said}"));
    }
    play.facts.offline = play.facts.offline.take().map(|offline| Offline { kept, ..offline });
    Ok(())
}

/// Whether a machine keeps a refused `done` of a task.
fn rejected(machine: &Machine, task: &str) -> bool {
    let dir = machine.state().join(".git/orch/rejected");
    names(&dir).iter().filter_map(|name| super::cast::read(&dir.join(name))).any(|text| {
        let one: Value = serde_json::from_str(&text).unwrap_or_default();
        one["task"] == task && one["operation"]["do"] == "done"
    })
}

fn finish(play: &mut Play<'_>) -> Result<()> {
    play.scene("The rest is work");
    play.until("every task is done", |_, view| {
        let done = view.values().filter(|task| task.status() == Status::Done).count();
        Ok((done == project::jobs().len()).then_some(()))
    })?;
    play.line("every task is done");
    for which in [LAPTOP, CI] {
        play.stage.must(which, "you", &["drain"])?;
    }
    play.until("the workers have drained", |play, _| {
        Ok(play.workers.iter_mut().all(|worker| worker.program.ended().is_some()).then_some(()))
    })?;
    for worker in &mut play.workers {
        play.facts.workers.push((worker.session.clone(), worker.program.ended()));
    }
    play.line("laptop, ci: `orch drain` lets the workers end");
    play.facts.cut_reason = play.facts.cut_bundle.as_deref().and_then(reason_of);
    play.line("office: power is back");
    play.connected = vec![OFFICE, LAPTOP, CI];
    // What one machine folds the next one fetches: a few rounds are enough, or it never happens.
    for _ in 0..ROUNDS {
        for which in [CI, LAPTOP, OFFICE] {
            play.stage.must(which, "you", &["sync"])?;
        }
        if same_files(&play.stage) && play.stage.git(&super::check::LEASES)?.is_empty() {
            break;
        }
    }
    play.line("all machines have synced");
    Ok(())
}
