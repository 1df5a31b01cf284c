//! Brings the fleet to rest and judges it: everything healed, everybody parked, everything synced; then each promise
//! is compared with the record of what was told.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent::SURVIVOR;
use super::files;
use super::fleet::{Fleet, LEASES};
use super::processes::{self, with_text};
use super::server::lock;
use super::third;

/// Session of the judge.
const JUDGE: &str = "judge";

/// Parks all agents. Faults must have been taken back before.
pub fn rest(fleet: &Fleet) {
    let inside = fleet.gate.close(Duration::from_secs(120));
    if inside > 0 {
        fleet.violation(
            "hang",
            format!("{inside} agents are still busy two minutes after every fault was taken back"),
        );
    }
}

/// Judges a fleet at rest. `last` adds what is too slow to be done again and again.
pub fn judge(fleet: &Fleet, last: bool) {
    let began = Instant::now();
    leases_go_away(fleet);
    caught_up(fleet);
    kept_acts_are_published(fleet);
    everything_syncs(fleet);
    same_files(fleet);
    no_refs_pile_up(fleet);
    third::foreign_files_stay(fleet);
    let machines = fleet.profile.fleet.machines;
    for machine in 0..machines {
        says_ok(fleet, machine, "verify");
        says_ok(fleet, machine, "audit");
    }
    nothing_survives(fleet);
    if last {
        whole_repositories(fleet);
    }
    fleet.tally.count("checks");
    fleet.tally.time("check", began.elapsed());
}

/// Every task that was in flight is recovered and folded.
fn leases_go_away(fleet: &Fleet) {
    let began = Instant::now();
    let lease = &fleet.profile.lease;
    let limit = lease.stale() + lease.watch.0 * 4 + Duration::from_secs(15);
    loop {
        super::observe::look(fleet);
        let refs = fleet.remote_refs(LEASES).unwrap_or_default();
        let waiting = lock(&fleet.vanished).len();
        if refs.is_empty() && waiting == 0 {
            fleet.tally.time("rest", began.elapsed());
            return;
        }
        if began.elapsed() > limit {
            let all: Vec<String> = refs.iter().take(5).map(|(task, _)| describe(fleet, task)).collect();
            let what = format!(
                "{} lease refs are left {limit:?} after all holders went: {}",
                refs.len(),
                all.join("; ")
            );
            fleet.violation("not_recovered", what);
            lock(&fleet.vanished).clear();
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn describe(fleet: &Fleet, task: &str) -> String {
    let shown = fleet.orch(0, JUDGE, &["show", task]);
    format!("{task} is {} with lease {}", shown.data["status"], shown.data["lease"])
}

/// Machines that were cut off have caught up.
fn caught_up(fleet: &Fleet) {
    let limit = Instant::now() + fleet.profile.lease.watch.0 * 4 + Duration::from_secs(20);
    while !lock(&fleet.healed).is_empty() {
        super::observe::look(fleet);
        if Instant::now() > limit {
            let left = std::mem::take(&mut *lock(&fleet.healed));
            let what = format!("{left:?} have not caught up by themselves");
            fleet.violation("not_converged", what);
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What machines kept while the remote was out of reach is published by their watchdogs, without anybody asking for it.
fn kept_acts_are_published(fleet: &Fleet) {
    let unpublished = |machine| fleet.orch(machine, JUDGE, &["status"]).data["unpublished"].as_u64();
    let limit = Instant::now() + fleet.profile.lease.watch.0 * 4 + Duration::from_secs(20);
    for machine in 0..fleet.profile.fleet.machines {
        let mut left = unpublished(machine);
        while left != Some(0) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(100));
            left = unpublished(machine);
        }
        if left != Some(0) {
            let what = format!("m{machine} keeps {left:?} changes that its watchdogs do not publish");
            fleet.violation("not_published", what);
        }
    }
}

fn everything_syncs(fleet: &Fleet) {
    for _ in 0..2 {
        for machine in 0..fleet.profile.fleet.machines {
            let ended = fleet.orch(machine, JUDGE, &["sync"]);
            if ended.code == Some(0) {
                fleet.tally.time("sync", ended.took);
                fleet
                    .tally
                    .add("rejected", ended.data["rejected"].as_array().map_or(0, |all| all.len() as u64));
            } else {
                let what = format!("m{machine} at rest: {:?} {}", ended.code, ended.stderr.trim());
                fleet.violation("sync_failed", what);
            }
        }
    }
}

/// All machines hold the same files, and in them everything that was acknowledged.
fn same_files(fleet: &Fleet) {
    let state = |machine| fleet.place.machine(machine).join("state");
    let first = files::read(&state(0));
    for machine in 1..fleet.profile.fleet.machines {
        for difference in files::differences(&first, &files::read(&state(machine)), 3) {
            fleet.violation("not_equal", format!("m0 and m{machine}: {difference}"));
        }
    }
    let told = fleet.ledger.acknowledged();
    let kept = rejected(fleet);
    for told in files::missing(&first, &told) {
        if fleet.ledger.may_be_refused(told) && kept.contains(&told.token) {
            fleet.tally.count("refused_later");
            continue;
        }
        let Told { verb, task, epoch, session, .. } = told;
        let mine = files::read(&state(told.machine));
        if mine.get(task).is_some_and(|bytes| String::from_utf8_lossy(bytes).contains(&told.token)) {
            let what = format!(
                "{verb} of {task} epoch {epoch} by {session} is only on m{} after two syncs",
                told.machine
            );
            fleet.violation("not_published", what);
            continue;
        }
        let published = if told.published { "on the remote" } else { "kept locally" };
        let what = format!(
            "{verb} of {task} epoch {epoch} by {session} ({}), acknowledged as {published}",
            told.token
        );
        fleet.violation("lost_operation", what);
    }
    fleet.tally.add("histories.checked", first.len() as u64);
    for (task, bytes) in &first {
        for wrong in files::epochs(&String::from_utf8_lossy(bytes)) {
            fleet.violation("old_epoch", format!("{task}: {wrong}"));
        }
    }
}

use super::ledger::Told;

/// The text of everything that machines keep as refused.
fn rejected(fleet: &Fleet) -> String {
    let mut all = String::new();
    for machine in 0..fleet.profile.fleet.machines {
        let dir = fleet.place.machine(machine).join("state/.git/orch/rejected");
        for file in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            all.push_str(&String::from_utf8_lossy(&std::fs::read(file.path()).unwrap_or_default()));
        }
    }
    all
}

fn says_ok(fleet: &Fleet, machine: usize, verb: &str) {
    let ended = fleet.orch(machine, JUDGE, &[verb]);
    fleet.tally.time(verb, ended.took);
    let sound = ended.code == Some(0) && ended.data["ok"] == Value::Bool(true);
    // `audit` has to say something where there are foreign commits.
    if sound && verb != "audit" {
        return;
    }
    let problems = ended.data["problems"].as_array().cloned().unwrap_or_default();
    let (history, files) = third::foreign_files(fleet);
    // Of a file that is none of orch's a person must be told; the history has it, so `audit` says so as long as it does.
    let foreign: Vec<String> =
        problems.iter().filter_map(|problem| third::foreign_in(problem, &files)).collect();
    if let Some(name) = history.iter().find(|name| verb == "audit" && !foreign.contains(name)) {
        fleet.violation("foreign_file", format!("m{machine}: `audit` says nothing of {name}"));
    }
    if sound {
        return;
    }
    // Whoever deletes the refs of others takes away that one holds a task at a time, and that an epoch has one holder.
    let tampered = |problem: &Value| {
        let its_own = problem["task"].as_str().is_some_and(|task| fleet.ledger.tampered(task));
        its_own && matches!(problem["promise"].as_u64(), Some(1 | 7))
    };
    let strange = |problem: &Value| third::foreign_in(problem, &files).is_some();
    let serious: Vec<&Value> =
        problems.iter().filter(|problem| !tampered(problem) && !strange(problem)).collect();
    if problems.is_empty() {
        fleet.violation(verb, format!("m{machine}: {:?} {}", ended.code, ended.stderr.trim()));
    }
    for problem in serious.iter().take(5) {
        fleet.violation(verb, format!("m{machine}: {problem}"));
    }
    fleet.tally.add("problems.foreign", foreign.len() as u64);
    fleet.tally.add("problems.tampered", (problems.len() - serious.len() - foreign.len()) as u64);
}

/// No process of an attempt is left, at most a moment after its worker.
fn nothing_survives(fleet: &Fleet) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left: Vec<(u32, String)> = with_text(SURVIVOR)
            .into_iter()
            .filter(|(pid, line)| line.starts_with("sleep ") && ours(fleet, *pid))
            .collect();
        if left.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            for (pid, line) in left {
                fleet.violation("survivor", format!("process {pid} ({}) outlives its attempt", line.trim()));
                kill(pid);
            }
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether a process works below our folder.
fn ours(fleet: &Fleet, pid: u32) -> bool {
    let world = fleet.place.world("");
    let world = world.canonicalize().unwrap_or(world);
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&world))
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Whether a process has the home of this run, or is told of it (`ssh.rs`): everything that the run starts does, and passes
/// it on.
fn is_at_home(pid: u32, world: &Path) -> bool {
    let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&variables).split('\0').any(|variable| {
        let (name, value) = variable.split_once('=').unwrap_or_default();
        !["PWD", "OLDPWD"].contains(&name) && Path::new(value).starts_with(world)
    })
}

/// Ends [`leftovers`], and says which there were.
#[must_use]
pub fn end_leftovers(world: &Path) -> Vec<String> {
    let left = leftovers(world);
    for (pid, _) in &left {
        kill(*pid);
    }
    left.into_iter().map(|(pid, line)| format!("{pid}: {}", line.trim())).collect()
}

/// Processes that belong to this run and are not its servers: left over at the end, or by a part of the run that was
/// killed. Somebody who looks into its folder has another home.
#[must_use]
pub fn leftovers(world: &Path) -> Vec<(u32, String)> {
    let world = world.canonicalize().unwrap_or_else(|_| world.to_owned());
    let mut found = with_text("");
    found.retain(|(pid, _)| is_at_home(*pid, &world));
    let ours = |line: &str| {
        let program = line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        ["orch", "git", "sleep", "setsid", "ssh"].contains(&program)
            || program.starts_with("git-")
            || program.starts_with("orch")
    };
    found.retain(|(pid, line)| ours(line) && processes::birth(*pid).is_some());
    found
}

/// Clones keep no ref of a task that has ended: at rest nothing is in flight.
fn no_refs_pile_up(fleet: &Fleet) {
    for machine in 0..fleet.profile.fleet.machines {
        let git = fleet.place.machine(machine).join("state/.git");
        let text =
            fleet.place.git(&git, &["for-each-ref", "--format=%(refname)", "refs/orch"]).unwrap_or_default();
        let leases: Vec<&str> = text.lines().filter(|name| name.contains("/leases/")).collect();
        // A tidying that met another process is put off to the next one.
        if leases.len() > 10 {
            let what =
                format!("m{machine} keeps {} refs of leases at rest, such as {}", leases.len(), leases[0]);
            fleet.violation("refs_pile_up", what);
        }
    }
}

/// git finds no damage anywhere.
fn whole_repositories(fleet: &Fleet) {
    let machines =
        (0..fleet.profile.fleet.machines).map(|machine| fleet.place.machine(machine).join("state/.git"));
    for dir in machines.chain([fleet.place.bare()]) {
        if let Err(why) = fleet.place.git(&dir, &["fsck", "--strict", "--no-dangling"]) {
            fleet.violation("fsck", why);
        }
    }
}

/// What the load has not written yet is not a claim's to wait for.
pub fn settle(fleet: &Fleet) {
    let bare = fleet.place.bare();
    if let Err(why) = File::open(&bare).and_then(|folder| Ok(rustix::fs::syncfs(folder)?)) {
        fleet.violation("harness", format!("{}: {why}", bare.display()));
    }
}

/// Measures what needs rest: uncontended claims by path, claims of one taker each from all machines at once, and what
/// heartbeats and finished tasks leave behind. Watchdogs go on meanwhile.
/// `round` is a name that no other round of the run has.
pub fn measure(fleet: &Fleet, round: &str) {
    let bare = fleet.place.bare();
    for n in 0..CALM {
        let task = format!("calm-{round}-{n}");
        calm(fleet, 0, &task, "calm.claim");
        if let Err(why) = git_alone(fleet, &bare, &task) {
            fleet.violation("harness", format!("git alone at rest: {why}"));
        }
    }
    std::thread::scope(|scope| {
        for machine in 0..fleet.profile.fleet.machines {
            scope.spawn(move || {
                calm(fleet, machine, &format!("taker-{round}-{machine}"), "taker.claim");
            });
        }
    });
    heartbeats_leave_nothing(fleet, &bare, round);
    // Files are made more slowly behind the collector, so it goes last.
    growth(fleet, &bare);
}

/// Uncontended claims of one round.
const CALM: usize = 10;

/// What git's client takes for what a claim does on the remote: a commit like that of a lease, of one small file and without
/// a past, is pushed to a ref of its own, and two refs are listed. The watchdogs go on beside it, as beside a claim: git by
/// itself is faster.
fn git_alone(fleet: &Fleet, bare: &Path, name: &str) -> Result<(), String> {
    let own = fleet.place.machine(0).join("state/.git");
    let (remote, branch) = (bare.display().to_string(), "refs/heads/orch-state");
    let (scratch, file) = (format!("refs/soak/{name}"), fleet.place.world("tmp/alone/task"));
    let dir = file.parent().unwrap_or(&file);
    std::fs::create_dir_all(dir).map_err(|why| format!("{}: {why}", dir.display()))?;
    super::place::write(&file, name)?;
    // An index and a folder of its own: what the clone has of either is orch's.
    let git = |args: &[&str]| {
        let mut command = fleet.place.command("git");
        command.env("GIT_INDEX_FILE", dir.with_extension("index"));
        let text =
            super::place::output(command.arg("--git-dir").arg(&own).arg("--work-tree").arg(dir).args(args))?;
        Ok::<_, String>(text.trim().to_owned())
    };
    git(&["add", "--all", "."])?;
    let tree = git(&["write-tree"])?;
    let commit = git(&["commit-tree", &tree, "-m", name])?;
    let began = Instant::now();
    git(&["push", "--quiet", &remote, &format!("{commit}:{scratch}")])?;
    git(&["ls-remote", "--quiet", "--refs", &remote, branch, &scratch])?;
    fleet.tally.time("calm.git", began.elapsed());
    fleet.place.git(bare, &["update-ref", "-d", &scratch]).map(drop)
}

fn calm(fleet: &Fleet, machine: usize, task: &str, name: &str) {
    let session = format!("calm-m{machine}");
    let run = |args: &[&str]| fleet.orch(machine, &session, args);
    run(&["add", "--id", task, "--title", task]);
    let claimed = run(&["claim", task]);
    if claimed.code == Some(0) {
        fleet.tally.time(name, claimed.took);
        return finish(fleet, machine, &session, task);
    }
    fleet.tally.count(&format!("{name}.lost"));
    fleet.violation("lost_without_rival", format!("{task} on m{machine} at rest: {}", claimed.stderr.trim()));
}

/// Name of the count of tasks that were finished at rest, which `finished` holds as well.
pub const AT_REST: &str = "finished.at_rest";

fn finish(fleet: &Fleet, machine: usize, session: &str, task: &str) {
    if accepted(fleet, machine, session, &["done", task, "--notes", task]) {
        fleet.tally.count("finished");
        fleet.tally.count(AT_REST);
    }
}

/// Runs a command of a holder at rest: nothing is in its way, and its lease has only begun.
fn accepted(fleet: &Fleet, machine: usize, session: &str, args: &[&str]) -> bool {
    let ended = fleet.orch(machine, session, args);
    if ended.code != Some(0) {
        let (line, said) = (args.join(" "), ended.stderr.trim());
        fleet.violation("refused_at_rest", format!("`{line}` on m{machine}: {:?} {said}", ended.code));
    }
    ended.code == Some(0)
}

/// Bytes that the state branch takes, packed.
fn lasting(fleet: &Fleet, bare: &Path) -> Option<u64> {
    let text =
        fleet.place.git(bare, &["rev-list", "--disk-usage", "--objects", "refs/heads/orch-state"]).ok()?;
    text.trim().parse().ok()
}

fn growth(fleet: &Fleet, bare: &Path) {
    let began = Instant::now();
    // Watchdogs may be pushing: only what is old may be pruned. What counts is what the branch reaches.
    if let Err(why) = fleet.place.git(bare, &["gc", "--quiet"]) {
        fleet.violation("gc", why);
    }
    let Some(bytes) = lasting(fleet, bare) else { return };
    let line = json!({"at": fleet.now(), "finished": fleet.tally.get("finished"), "bytes": bytes});
    fleet.append("growth.jsonl", &line);
    fleet.tally.time("gc", began.elapsed());
}

fn heartbeats_leave_nothing(fleet: &Fleet, bare: &Path, round: &str) {
    let task = format!("beats-{round}");
    let run = |args: &[&str]| fleet.orch(0, "calm-m0", args);
    run(&["add", "--id", &task, "--title", &task]);
    if run(&["claim", &task]).code != Some(0) {
        return;
    }
    run(&["sync"]);
    let before = lasting(fleet, bare);
    let mut beats = 0;
    for _ in 0..5 {
        beats += u64::from(accepted(fleet, 0, "calm-m0", &["heartbeat", &task]));
    }
    run(&["sync"]);
    let after = lasting(fleet, bare);
    finish(fleet, 0, "calm-m0", &task);
    if let (Some(before), Some(after)) = (before, after) {
        fleet.tally.add("calm.heartbeats", beats);
        fleet.tally.add("calm.heartbeat_bytes", after.saturating_sub(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever looked into the folder of a run with git or orch was killed, and the run was called broken for it.
    #[test]
    fn whoever_looks_into_the_folder_is_no_process_of_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let place = super::super::place::Place { dir: dir.path().to_owned(), orch: "orch".into() };
        place.prepare().unwrap();
        let world = place.world("");
        let mut onlooker = std::process::Command::new("sleep");
        let mut onlooker = onlooker.arg("100").current_dir(&world).env("PWD", &world).spawn().unwrap();
        let mut ours = place.command("sleep").arg("100").spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut found: Vec<u32> = Vec::new();
        // A process that has just been forked still has the command line of its parent.
        while found.is_empty() && Instant::now() < deadline {
            found = leftovers(&world).into_iter().map(|(pid, _)| pid).collect();
        }
        assert_eq!(found, [ours.id()]);
        assert_eq!(end_leftovers(&world).len(), 1);
        assert!(!ours.wait().unwrap().success());
        assert!(onlooker.try_wait().unwrap().is_none());
        onlooker.kill().unwrap();
        onlooker.wait().unwrap();
    }
}
