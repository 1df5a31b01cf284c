//! One push for everybody: local processes that wait for the same remote share it.
//!
//! Whoever holds the push lock pushes for all. A process that finds the lock taken leaves its updates in
//! the outbox; when it gets the lock, its answer is there already, or it pushes for those who wait now.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::task_lock::Named;
use crate::world::{Disk, Oid, ProcessId, PushOutcome, RefUpdate};

use super::context::{Cx, SyncError};

const REQUEST_MAX: u64 = 1 << 20;
/// Nobody waits for an answer for half an hour: time limits are shorter by far.
const ABANDONED_MS: i64 = 30 * 60 * 1000;

/// Pushes the updates, together with whatever other processes of this machine wait for.
///
/// # Errors
/// The outbox cannot be written. What the network did stands in the outcomes.
pub fn push(cx: &Cx<'_>, updates: &[RefUpdate]) -> Result<Vec<PushOutcome>, SyncError> {
    if updates.is_empty() {
        return Ok(Vec::new());
    }
    if cx.company.is_zero() {
        let lock = cx.store.lock_named(cx.world, Named::Sync, Duration::ZERO)?;
        if lock.is_some() {
            return lead(cx, updates);
        }
    }
    let outbox = cx.store.layout.outbox();
    let request = Request::leave(cx, &outbox, updates)?;
    if !cx.company.is_zero() {
        cx.world.clock.sleep(cx.company);
    }
    let guard = cx.store.lock_named(cx.world, Named::Sync, cx.left().saturating_mul(2))?;
    if let Some(answer) = request.answer(cx, updates.len())? {
        return Ok(answer);
    }
    if guard.is_none() {
        return Ok(request.abandon(cx, updates.len()));
    }
    if !request.withdraw(cx)? {
        // Some leader took the request and died: what became of it only the remote knows.
        return Ok(vec![PushOutcome::Unknown("the pushing process ended".to_owned()); updates.len()]);
    }
    lead(cx, updates)
}

/// Pushes with the lock held: own updates and those of all who wait.
fn lead(cx: &Cx<'_>, mine: &[RefUpdate]) -> Result<Vec<PushOutcome>, SyncError> {
    let waiting = take_requests(cx)?;
    let mut batch: Vec<RefUpdate> = mine.to_vec();
    for (_, updates) in &waiting {
        // Two updates of one ref cannot both win; the later one reads the ref again and decides anew.
        batch.extend(updates.iter().filter(|u| mine.iter().all(|m| m.name != u.name)).cloned());
    }
    let mut seen = std::collections::HashSet::new();
    batch.retain(|update| seen.insert(update.name.clone()));
    // Under the lock, so that nobody counts at the same time. A wrong account only costs patience.
    let _ = cx.store.note_push(cx.world);
    let outcomes = cx.remote()?.push(&batch, cx.left());
    if outcomes.iter().any(|outcome| *outcome != PushOutcome::Accepted) {
        let _ = cx.store.note_repeated();
    }
    let outcome_of = |update: &RefUpdate| {
        let found = batch.iter().zip(&outcomes).find(|(pushed, _)| *pushed == update);
        found.map_or_else(
            // It was not sent, so nobody has refused it: the one who wants it reads the ref.
            || PushOutcome::Unknown("another process of this machine moves the same ref".to_owned()),
            |(_, outcome)| outcome.clone(),
        )
    };
    for (path, updates) in &waiting {
        let answers: Vec<PushOutcome> = updates.iter().map(outcome_of).collect();
        // Without an answer they read the refs themselves; our own outcome must not get lost with theirs.
        let _ = write_answer(cx, path, &answers);
    }
    Ok(mine.iter().map(outcome_of).collect())
}

struct Request {
    path: PathBuf,
}

impl Request {
    fn leave(cx: &Cx<'_>, outbox: &Path, updates: &[RefUpdate]) -> Result<Self, SyncError> {
        let mut dice = [0u8; 10];
        cx.world.random.fill(&mut dice);
        let id = crate::protocol::id::OpId::new(cx.world.clock.wall_ms(), dice);
        let path = outbox.join(format!("{id}.push"));
        let me = cx.world.process.me();
        let mut text = format!("{} {} {}\n", me.pid, me.start, me.boot);
        for update in updates {
            text.push_str(&format!("{} {} {}\n", show(update.expected), show(update.new), update.name));
        }
        cx.store.write_local(cx.world, &path, text.as_bytes())?;
        Ok(Request { path })
    }

    fn answer_path(&self) -> PathBuf {
        self.path.with_extension("answer")
    }

    fn answer(&self, cx: &Cx<'_>, expected: usize) -> Result<Option<Vec<PushOutcome>>, SyncError> {
        let path = self.answer_path();
        let Some(bytes) = read_if_there(&*cx.world.disk, &path) else { return Ok(None) };
        let outcomes: Vec<PushOutcome> = String::from_utf8_lossy(&bytes).lines().map(parse_outcome).collect();
        cx.store.remove_local(cx.world, &path)?;
        Ok((outcomes.len() == expected).then_some(outcomes))
    }

    /// Takes the request back; false when a leader has taken it already.
    fn withdraw(&self, cx: &Cx<'_>) -> Result<bool, SyncError> {
        Ok(take(cx, &self.path)?.is_some())
    }

    fn abandon(&self, cx: &Cx<'_>, count: usize) -> Vec<PushOutcome> {
        let why = "waited too long for another process of this machine that is pushing".to_owned();
        let untouched = self.withdraw(cx).unwrap_or(false);
        let why = if untouched { format!("not sent: {why}") } else { why };
        vec![PushOutcome::Unknown(why); count]
    }
}

/// Takes all requests out of the outbox whose process still waits.
fn take_requests(cx: &Cx<'_>) -> Result<Vec<(PathBuf, Vec<RefUpdate>)>, SyncError> {
    let outbox = cx.store.layout.outbox();
    let mut taken = Vec::new();
    let names = cx.world.disk.list(&outbox).unwrap_or_default();
    sweep(cx, &outbox, names.iter().map(|(name, _)| name.as_str()));
    for (name, _) in names.iter().filter(|(name, _)| name.ends_with(".push")) {
        let path = outbox.join(name);
        let Some(bytes) = take(cx, &path)? else { continue };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // A claim for a process that has died must not be made: nobody would renew or release it.
        if let Some((who, updates)) = parse_request(&text)
            && cx.world.process.alive(&who)
        {
            taken.push((path, updates));
        }
    }
    Ok(taken)
}

/// Takes a request out of the outbox; only one process gets it.
fn take(cx: &Cx<'_>, path: &Path) -> Result<Option<Vec<u8>>, SyncError> {
    let mine = path.with_extension(format!("taken-{}", cx.world.process.me().pid));
    if cx.world.disk.rename(path, &mine).is_err() {
        return Ok(None);
    }
    let bytes = read_if_there(&*cx.world.disk, &mine);
    cx.store.remove_local(cx.world, &mine)?;
    Ok(bytes)
}

/// Removes what processes that were killed have left behind: answers that nobody fetched, requests that
/// somebody took and did not get to.
fn sweep<'n>(cx: &Cx<'_>, outbox: &Path, names: impl Iterator<Item = &'n str>) {
    let now_ms = cx.world.clock.wall_ms();
    for name in names.filter(|name| !name.ends_with(".push")) {
        let path = outbox.join(name);
        let Ok(Some(stat)) = cx.world.disk.stat(&path) else { continue };
        if now_ms.saturating_sub(stat.mtime_ns / 1_000_000) > ABANDONED_MS {
            // The next leader tries again.
            let _ = cx.store.remove_local(cx.world, &path);
        }
    }
}

fn write_answer(cx: &Cx<'_>, request: &Path, outcomes: &[PushOutcome]) -> Result<(), SyncError> {
    let text: String = outcomes.iter().map(|outcome| format!("{}\n", show_outcome(outcome))).collect();
    Ok(cx.store.write_local(cx.world, &request.with_extension("answer"), text.as_bytes())?)
}

fn read_if_there(disk: &dyn Disk, path: &Path) -> Option<Vec<u8>> {
    disk.read(path, REQUEST_MAX).ok()
}

fn show(oid: Option<Oid>) -> String {
    oid.map_or_else(|| "-".to_owned(), |oid| oid.to_string())
}

fn parse_oid(text: &str) -> Option<Option<Oid>> {
    if text == "-" { Some(None) } else { Oid::parse(text).map(Some) }
}

fn parse_request(text: &str) -> Option<(ProcessId, Vec<RefUpdate>)> {
    let mut lines = text.lines();
    let mut head = lines.next()?.split(' ');
    let who = ProcessId {
        pid: head.next()?.parse().ok()?,
        start: head.next()?.parse().ok()?,
        boot: head.next()?.to_owned(),
    };
    let updates: Option<Vec<RefUpdate>> = lines
        .map(|line| {
            let mut parts = line.splitn(3, ' ');
            let expected = parse_oid(parts.next()?)?;
            let new = parse_oid(parts.next()?)?;
            Some(RefUpdate { name: parts.next()?.to_owned(), expected, new })
        })
        .collect();
    Some((who, updates?))
}

fn show_outcome(outcome: &PushOutcome) -> String {
    let (word, text) = match outcome {
        PushOutcome::Accepted => ("accepted", ""),
        PushOutcome::Refused(text) => ("refused", text.as_str()),
        PushOutcome::Unknown(text) => ("unknown", text.as_str()),
    };
    format!("{word} {}", text.replace(['\n', '\r'], " "))
}

fn parse_outcome(line: &str) -> PushOutcome {
    let (word, text) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "accepted" => PushOutcome::Accepted,
        "refused" => PushOutcome::Refused(text.to_owned()),
        _ => PushOutcome::Unknown(text.to_owned()),
    }
}
