//! Files are the interface: what a person changed with an editor, well or badly.

use crate::rig::{Machine, TestEnv};

fn queue() -> (TestEnv, Machine) {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "T-1", "--title", "Sweep", "--description", "front\nand back"]).ok();
    a.add("T-2");
    (env, a)
}

/// The bad file stays in place byte for byte, blocks only its task, and every command says so.
#[track_caller]
fn quarantined(a: &Machine, place: &str) {
    let before = a.read_task("T-1");
    a.orch(["show", "T-1"]).exits(8).says(place);
    a.orch(["claim", "T-1"]).exits(8);
    a.orch(["edit", "T-1", "--title", "x"]).exits(8);
    let listed = a.orch(["list"]);
    listed.ok().says("T-1").prints("T-2");
    assert_eq!(a.json(["pick"])["task"]["id"], "T-2");
    a.orch(["release", "T-2"]).ok();
    assert_eq!(a.read_task("T-1"), before, "nobody overwrites what a person wrote");
}

#[test]
fn a_valid_edit_is_recorded_as_one() {
    let (_env, a) = queue();
    a.edit_task("T-1", |text| text.replacen("title: Sweep", "title: Sweep and rake", 1));
    let task = a.show("T-1");
    assert_eq!(task["title"], "Sweep and rake");
    let last = task["history"].as_array().and_then(|h| h.last()).expect("a history").clone();
    assert_eq!(last["do"], "edit");
    a.verify();
    a.edit_task("T-1", |text| text.replacen("title: Sweep and rake", "title: Rake", 1));
    a.orch(["claim", "T-1"]).ok();
    assert_eq!(a.show("T-1")["title"], "Rake");
    a.verify();
}

#[test]
fn every_field_that_a_person_may_change_can_be_changed() {
    let (_env, a) = queue();
    let fields = "priority: P0\nsuccess_criteria:\n- clean\nneeds:\n- T-2\non_need_failed: run\ntags:\n- b\n- a\n\
                  due_at: 2099-01-01T09:00:00+09:00\nnot_before: 2020-01-01T00:00:00Z\nidempotency_key: k\n\
                  review: required\nretry: {max_attempts: 5}\nlimits: {lease: 1h}\ncolour: green\n";
    a.edit_task("T-1", |text| text.replace("history:", &format!("{fields}history:")));
    let task = a.show("T-1");
    assert_eq!((&task["priority"], &task["tags"]), (&"P0".into(), &serde_json::json!(["a", "b"])));
    assert_eq!(task["due_at"], "2099-01-01T00:00:00.000Z");
    assert_eq!((&task["review"], &task["colour"]), (&"required".into(), &"green".into()));
    a.verify();
    assert!(a.read_task("T-1").contains("colour: green"), "unknown fields are preserved");
}

#[test]
fn line_ends_of_windows_and_other_spellings_of_the_same_are_no_edit() {
    let (_env, a) = queue();
    let history = a.show("T-1")["history"].as_array().map(Vec::len);
    a.edit_task("T-1", |text| text.replace('\n', "\r\n"));
    assert_eq!(a.show("T-1")["title"], "Sweep");
    a.orch(["note", "T-1", "--text", "n"]).ok();
    assert_eq!(a.show("T-1")["history"].as_array().map(Vec::len), history.map(|n| n + 1));
    assert!(!a.read_task("T-1").contains('\r'));
    a.verify();
}

#[test]
fn an_invalid_edit_is_reported_with_its_place_and_left_alone() {
    let cases: [(&str, &str, &str); 8] = [
        ("title: Sweep", "title: Sweep\npriority: P9", ":4:"),
        ("title: Sweep", "title: [unclosed", ":"),
        ("title: Sweep", "title: Sweep\ntitle: Rake", ":4:"),
        ("title: Sweep", "title: &a Sweep", ":3:"),
        ("title: Sweep", "title: !!binary aGk=", ":3:"),
        ("title: Sweep", "title: Sweep\nneeds: [T-1]", ""),
        ("title: Sweep", "title: Sweep\ndue_at: someday", ":4:"),
        ("title: Sweep", "<<<<<<< HEAD\ntitle: Sweep\n=======\ntitle: Rake\n>>>>>>> other", ":3:"),
    ];
    for (from, to, place) in cases {
        let (_env, a) = queue();
        a.edit_task("T-1", |text| text.replacen(from, to, 1));
        quarantined(&a, &format!("T-1.yaml{place}"));
        // Corrected, it works again.
        a.edit_task("T-1", |text| text.replacen(to, from, 1));
        assert_eq!(a.status("T-1"), "pending");
        a.verify();
    }
}

/// `edit` refuses needs that close a cycle; an editor must not be the way around that, or neither task ever starts.
#[test]
fn a_cycle_made_with_an_editor_is_named_and_not_recorded() {
    let (_env, a) = queue();
    a.orch(["edit", "T-1", "--needs", "T-2"]).ok();
    let (from, to) = ("title: Task T-2\n", "title: Task T-2\nneeds: [T-1]\n");
    a.edit_task("T-2", |text| text.replacen(from, to, 1));
    let edited = a.read_task("T-2");
    a.orch(["show", "T-2"]).exits(8).says("T-2.yaml:").says("T-2 -> T-1 -> T-2");
    a.orch(["claim", "T-2"]).exits(8);
    assert_eq!(a.read_task("T-2"), edited, "nobody overwrites what a person wrote");
    a.edit_task("T-2", |text| text.replacen(to, from, 1));
    assert_eq!(a.show("T-2")["history"].as_array().map(Vec::len), Some(1));
    a.orch(["claim", "T-2"]).ok();
    a.verify();
}

#[test]
fn what_commands_decide_cannot_be_edited() {
    let cases = [
        ("status: pending", "status: done", "done"),
        ("id: T-1", "id: T-9", "T-9"),
        ("format: 1", "format: 1\nepoch: 7", "epoch"),
        ("format: 1", "format: 1\nattempt: 2", "attempt"),
        ("do: add", "do: note", "history"),
    ];
    for (from, to, word) in cases {
        let (_env, a) = queue();
        a.edit_task("T-1", |text| text.replacen(from, to, 1));
        quarantined(&a, word);
    }
}

/// What a heartbeat moves is changed by heartbeats alone.
#[test]
fn the_lease_cannot_be_edited() {
    for (from, to) in [("beat: 0", "beat: 9"), ("ttl: 15m", "ttl: 90d"), ("expires_at: 2", "expires_at: 3")] {
        let (_env, a) = queue();
        a.orch(["claim", "T-1"]).ok();
        a.edit_task("T-1", |text| text.replacen(from, to, 1));
        a.orch(["show", "T-1"]).exits(8).says("lease");
    }
}

#[test]
fn a_newer_format_is_refused_and_says_so() {
    let (_env, a) = queue();
    a.edit_task("T-1", |text| text.replacen("format: 1", "format: 2", 1));
    a.orch(["claim", "T-1"]).exits(8).says("format");
    a.orch(["list"]).ok().prints("T-2");
}

#[test]
fn a_file_without_its_seal_is_damaged() {
    for cut in ["seal", "newline"] {
        let (_env, a) = queue();
        a.edit_task("T-1", |text| {
            let end = text.rfind("seal:").expect("files are sealed");
            if cut == "seal" { text[..end].to_owned() } else { text[..end + 20].to_owned() }
        });
        quarantined(&a, "T-1.yaml");
    }
}

#[test]
fn a_file_that_vanished_is_restored_with_a_notice() {
    let (_env, a) = queue();
    let before = a.read_task("T-1");
    std::fs::remove_file(a.task_path("T-1")).expect("it was there");
    a.orch(["list"]).ok().prints("T-1");
    assert_eq!(a.read_task("T-1"), before, "absence is never a deletion");
    std::fs::remove_dir_all(a.state("tasks")).expect("it was there");
    let listed = a.orch(["list"]);
    listed.ok().prints("T-1").prints("T-2");
    listed.says("T-1");
    assert_eq!(a.read_task("T-1"), before);
}

#[test]
fn bombs_and_monsters_are_refused_quickly() {
    let bombs = [
        format!(
            "a: &a [x]\n{}",
            (0..40).map(|n| format!("b{n}: &b{n} [*a, *a, *a, *a]\n")).collect::<String>()
        ),
        format!("deep: {}{}\n", "[".repeat(5_000), "]".repeat(5_000)),
        format!("long: {}\n", "x".repeat(3_000_000)),
        "<<: {title: merged}\n".to_owned(),
        (0..100_000).map(|n| format!("k{n}: 1\n")).collect(),
    ];
    for bomb in bombs {
        let (_env, a) = queue();
        a.edit_task("T-1", |text| text.replace("history:", &format!("{bomb}history:")));
        let start = std::time::Instant::now();
        quarantined(&a, "T-1.yaml");
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

#[test]
fn a_link_a_pipe_or_a_folder_in_place_of_a_file_is_not_followed() {
    for kind in ["link", "pipe", "folder"] {
        let (env, a) = queue();
        let path = a.task_path("T-1");
        let elsewhere = env.path("elsewhere.yaml");
        std::fs::rename(&path, &elsewhere).expect("ours");
        match kind {
            "link" => std::os::unix::fs::symlink(&elsewhere, &path).expect("ours"),
            "pipe" => {
                crate::rig::Run::of(env.command("/usr/bin/mkfifo").arg(&path)).ok();
            }
            _ => std::fs::create_dir(&path).expect("ours"),
        }
        let before = std::fs::read(&elsewhere).expect("ours");
        a.orch(["show", "T-1"]).exits(8);
        a.orch(["edit", "T-1", "--title", "through the link"]).exits(8);
        a.orch(["list"]).ok().prints("T-2");
        assert_eq!(std::fs::read(&elsewhere).expect("ours"), before, "{kind}");
    }
}

#[test]
fn an_unwanted_file_among_the_tasks_hurts_nobody() {
    let (_env, a) = queue();
    let shard = a.task_path("T-1").parent().expect("a shard").to_owned();
    for name in ["notes.txt", "T-1.yaml~", ".T-1.yaml.swp", "#T-1.yaml#", "bad id.yaml"] {
        std::fs::write(shard.join(name), "whatever").expect("ours");
    }
    a.orch(["list"]).ok().prints("T-1").prints("T-2");
    a.orch(["claim", "T-1"]).ok();
}

/// The same task file somewhere else is not that task.
#[test]
fn a_copied_file_does_not_become_another_task() {
    let (_env, a) = queue();
    let path = a.task_path("T-1");
    std::fs::copy(&path, path.with_file_name("T-7.yaml")).expect("ours");
    let listed = a.orch(["list"]);
    listed.ok().says("T-7");
    a.orch(["show", "T-7"]).exits(3);
    assert_eq!(a.status("T-1"), "pending");
}

/// Another program had written a task file with a right seal and in other words than orch would: every command
/// then committed it again and again, for ever, because the commit held the canonical bytes and the index
/// waited for those on the disk.
#[test]
fn a_sealed_file_in_other_words_is_committed_once() {
    let (_env, a) = queue();
    let text = a.read_task("T-1");
    let (body, _) = text.rsplit_once("seal: ").expect("a file ends with its seal");
    let mut body = body.replacen("title: Sweep\n", "title: \"Sweep\"\n", 1);
    orch::store::seal::add(&mut body);
    std::fs::write(a.task_path("T-1"), &body).expect("ours");
    let count =
        || a.git(&["rev-list", "--count", "orch-state"]).stdout.trim().parse::<u32>().expect("a number");
    let before = count();
    a.orch(["list"]).ok();
    a.orch(["verify"]).ok();
    a.orch(["list"]).ok();
    assert!(count() <= before + 1, "{} commits for one file", count() - before);
    assert_eq!(a.show("T-1")["title"], "Sweep");
    a.orch(["note", "T-1", "--text", "still worked on"]).ok();
    a.verify();
}

/// A task was added while the remote was away, and its file was then broken by hand: `claim` said that there was no
/// such task (3). The file is there, and it is damaged (8).
#[test]
fn a_new_task_whose_file_was_broken_is_damaged_and_not_unknown() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    remote.go_away();
    a.add("T-1");
    remote.come_back();
    a.edit_task("T-1", |text| text.replacen("title: ", "title: [", 1));
    a.orch(["claim", "T-1"]).exits(8).says("T-1.yaml");
    a.orch(["cancel", "T-1", "--notes", "n"]).exits(8);
    a.orch(["claim", "T-9"]).exits(3);
}

/// News about a task whose file somebody is editing badly: they arrive once the edit is taken back.
#[test]
fn news_that_met_a_bad_edit_arrive_once_the_edit_is_taken_back() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["sync"]).ok();
    let before = b.read_task("T-1");
    b.edit_task("T-1", |text| text.replacen("title:", "title: [", 1));
    a.orch(["claim", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    b.orch(["sync"]).ok().says("T-1.yaml");
    b.orch(["sync"]).ok().says("T-1.yaml");
    std::fs::write(b.task_path("T-1"), before).expect("the file is writable");
    b.orch(["sync"]).ok();
    assert_eq!(b.status("T-1"), "done");
    assert_eq!(a.task_files(), b.task_files());
}

/// A line typed into the history counted: a note that nobody had made was shown, committed and published, and a history with
/// a claim and a finish, copied from elsewhere under a wrong seal, made the task done.
#[test]
fn operations_that_no_command_made_are_no_edit() {
    let (_env, a) = queue();
    let whole = a.read_task("T-1");
    let typed = "  - {op: 01M8B857KG5N73ZFG5KMT1W2CX, at: 2020-01-01T00:00:00.000Z, by: boss, do: note, text: approved}";
    a.edit_task("T-1", |text| text.replacen("\nseal:", &format!("\n{typed}\nseal:"), 1));
    a.orch(["show", "T-1"]).exits(8).says("history").says("`note`");
    quarantined(&a, "T-1.yaml:");
    std::fs::write(a.task_path("T-1"), &whole).expect("the file is writable");
    a.orch(["note", "T-1", "--text", "said"]).ok();
    // Another id under the same words is another operation.
    let noted = a.read_task("T-1");
    a.edit_task("T-1", |text| {
        let line = text.lines().find(|line| line.contains("text: said")).expect("the note").to_owned();
        text.replacen(&line, &line.replacen("op: 01", "op: 02", 1), 1)
    });
    quarantined(&a, "T-1.yaml:");
    std::fs::write(a.task_path("T-1"), &noted).expect("the file is writable");
    a.verify();
    assert_eq!(a.show("T-1")["history"].as_array().map(Vec::len), Some(2));
}

/// A line that was deleted came back without a word. It comes back, and that is said.
#[test]
fn operations_that_were_deleted_by_hand_come_back_with_a_notice() {
    let (_env, a) = queue();
    a.orch(["note", "T-1", "--text", "said"]).ok();
    a.edit_task("T-1", |text| {
        let kept: Vec<&str> = text.lines().filter(|line| !line.contains("text: said")).collect();
        format!("{}\n", kept.join("\n"))
    });
    a.orch(["list"]).ok().says("T-1: 1 operation(s) that its file lacked were put back");
    assert_eq!(a.show("T-1")["history"].as_array().map(Vec::len), Some(2));
    a.verify();
}

/// What is not published yet stands in no version of git that is shared: it must not make an edit of the title invalid.
#[test]
fn a_file_with_operations_that_wait_can_be_edited() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    remote.go_away();
    a.orch(["note", "T-1", "--text", "kept"]).ok();
    a.edit_task("T-1", |text| text.replacen("title: ", "title: Other than ", 1));
    a.orch(["list"]).ok().prints("Other than");
    a.edit_task("T-1", |text| text.replacen("title: ", "title: Quite ", 1));
    remote.come_back();
    a.orch(["sync"]).ok();
    assert_eq!(a.show("T-1")["history"].as_array().map(Vec::len), Some(4));
    a.verify();
}
