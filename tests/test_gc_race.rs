//! `git gc` takes objects away while others use them: work goes on, and nothing is called a lost race.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::rig::{Machine, TestEnv, until};

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

/// With `--prune=now` git takes what another process has written and not referenced yet, parents of commits
/// included, and `git fsck` complains for ever: git's own warning in `git help gc`. orch starts again from such
/// losses, but promises a clean repository only where young objects are kept, as every default does.
#[test]
fn tasks_are_claimed_and_finished_while_the_clone_collects() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    let (mine, theirs) = (a.state(".git"), b.state(".git"));
    while_collecting(&env, &[&mine, &theirs], "1.minute.ago", || {
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
