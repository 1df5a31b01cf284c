//! `git gc` takes objects away while others use them: work goes on, and nothing is called a lost race.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::rig::{Machine, Run, TestEnv, gits, until};

/// Runs `git gc` again and again while the work is done; at least once during it.
fn while_collecting(env: &TestEnv, dirs: &[&Path], prune: &str, work: impl FnOnce()) {
    let stop = &AtomicBool::new(false);
    let runs: &Vec<_> = &dirs.iter().map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for (dir, count) in dirs.iter().zip(runs) {
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    // Two of them at once, or an object that goes away, make it fail; that is its own business.
                    let _ = env.git(dir, &["gc", "--quiet", &format!("--prune={prune}")]);
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::SeqCst);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        assert!(runs.iter().all(|count| count.load(Ordering::SeqCst) > 0), "gc never ran");
    });
}

/// Repeats a command that asks for it (75); any other failure is one.
fn patiently(machine: &Machine, args: &[&str]) {
    until("the collector lets it pass", || {
        let run = machine.orch(args);
        if run.code != 75 {
            run.ok();
        }
        (run.code == 0).then_some(())
    });
}

/// `--prune=now` in a repository that others push to makes git itself lose objects; a real host keeps young ones.
#[test]
fn tasks_are_claimed_and_finished_while_the_remote_collects() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    while_collecting(&env, &[remote.path()], "1.minute.ago", || {
        for n in 0..10 {
            let id = format!("T-{n}");
            a.add(&id);
            patiently(&a, &["sync"]);
            patiently(&b, &["claim", &id]);
            patiently(&b, &["done", &id, "--notes", "n"]);
        }
        patiently(&a, &["sync"]);
        patiently(&b, &["sync"]);
    });
    a.orch(["sync"]).ok();
    assert_eq!(a.task_files(), b.task_files());
    a.verify();
    remote.git(&["fsck", "--strict"]).ok();
}

/// `git gc --prune=now` in a clone used to take what a command had just written and not referenced yet, parents of
/// lease commits included: work went on, and `git fsck` complained for ever. Now git itself refuses to take anything
/// there.
#[test]
fn tasks_are_claimed_and_finished_while_the_clone_collects() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    let (mine, theirs) = (a.state(".git"), b.state(".git"));
    while_collecting(&env, &[&mine, &theirs], "now", || {
        for n in 0..10 {
            let id = format!("T-{n}");
            a.add(&id);
            patiently(&a, &["sync"]);
            patiently(&b, &["claim", &id]);
            patiently(&b, &["done", &id, "--notes", "n"]);
        }
    });
    for machine in [&a, &b, &a] {
        machine.orch(["sync"]).ok();
    }
    assert_eq!(a.task_files(), b.task_files());
    a.verify();
    b.verify();
}

/// As many packs make orch pack anew.
const PACKS: usize = 50;

fn packs(machine: &Machine) -> usize {
    let names = std::fs::read_dir(machine.state(".git/objects/pack")).expect("it is there").flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().ends_with(".pack")).count()
}

/// Writes a file as an object that nothing references; gives its id.
fn hash(machine: &Machine, file: &str) -> String {
    let file = machine.state(file).display().to_string();
    machine.git(&["hash-object", "-w", &file]).ok().stdout.trim().to_owned()
}

/// The other half of the story: nothing that a person may run in a clone takes an object away, with any git, and
/// `orch sync` packs all the same and leaves the guard as it was.
#[test]
fn only_orch_itself_packs_and_prunes_a_clone() {
    for git in gits() {
        let env = TestEnv::with_git(&git);
        let remote = env.remote();
        let a = env.joined("a", &remote);
        let written = hash(&a, "orch.yaml");
        let loose = a.state(format!(".git/objects/{}/{}", &written[..2], &written[2..]));
        for taking in [&["gc", "--prune=now"][..], &["prune", "--expire=now"], &["repack", "-a", "-d"]] {
            // Some say that they refuse, some keep quiet about it.
            let _ = a.git(taking);
            assert!(a.git(&["cat-file", "-e", &written]).code == 0, "{taking:?} took it");
        }
        assert!(loose.exists(), "nothing was packed either");
        a.add("T-1");
        while packs(&a) < PACKS {
            let name = format!("runs/{}", packs(&a));
            std::fs::create_dir_all(a.state("runs")).expect("ours");
            std::fs::write(a.state(&name), &name).expect("ours");
            let mut pack = env.command(env.path("bin/git"));
            pack.current_dir(a.state(".git")).args(["pack-objects", "--quiet", "objects/pack/pack"]);
            Run::fed(&mut pack, Some(format!("{}\n", hash(&a, &name)).as_bytes())).ok();
        }
        a.orch(["sync"]).ok().never_says("could not be packed");
        assert!(packs(&a) < PACKS, "orch did not pack");
        assert_eq!(a.git(&["config", "extensions.preciousObjects"]).ok().stdout, "true\n");
    }
}

/// The repository can be deleted and fetched again without losing an operation that was not published.
#[test]
fn the_repository_may_go_but_unpublished_operations_stay() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["add", "--id", "T-2", "--title", "unpublished", "--no-sync"]).ok();
    a.orch(["note", "T-1", "--text", "unpublished", "--no-sync"]).ok();
    let git = a.state(".git");
    for entry in std::fs::read_dir(&git).expect("it is there").flatten() {
        if entry.file_name() == "objects" || entry.file_name() == "refs" || entry.file_name() == "packed-refs"
        {
            let path = entry.path();
            let gone =
                if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            gone.expect("ours");
        }
    }
    std::fs::create_dir_all(git.join("objects")).expect("ours");
    std::fs::create_dir_all(git.join("refs")).expect("ours");
    a.orch(["init"]).ok();
    a.orch(["sync"]).ok();
    let b = env.joined("b", &remote);
    assert_eq!(b.show("T-2")["title"], "unpublished");
    assert!(b.show("T-1")["history"].to_string().contains("unpublished"));
    a.verify();
}
