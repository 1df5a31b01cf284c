//! The sample queue in `state/`: written by the first version, read by every later one, for ever.

use std::fs;
use std::path::Path;

use crate::rig::TestEnv;

/// Copies a folder, file by file.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder can be made");
    for entry in fs::read_dir(from).expect("the sample is there") {
        let entry = entry.expect("the sample can be listed");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it has a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("the file can be copied");
        }
    }
}

#[test]
fn a_queue_of_the_first_version_is_read_and_worked_on() {
    let env = TestEnv::new();
    let machine = env.machine("sample");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("state"), &machine.state(""));
    machine.orch(["init"]).ok();
    let listed = machine.json(["list"]);
    let mut found: Vec<(String, String)> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(|task| (task["id"].as_str().unwrap().to_owned(), task["status"].as_str().unwrap().to_owned()))
        .collect();
    found.sort();
    let expected = [
        ("OPS-1", "failed"),
        ("OPS-2", "blocked"),
        ("OPS-3", "cancelled"),
        ("OPS-4", "pending"),
        ("SITE-1", "done"),
        ("SITE-2", "in_progress"),
        ("SITE-3", "in_review"),
        ("SITE-4", "pending"),
    ];
    assert_eq!(found, expected.map(|(id, status)| (id.to_owned(), status.to_owned())));

    let kept = machine.show("SITE-4");
    assert_eq!(kept["x_ticket"], "WEB-77", "a field that this version does not know is kept");
    assert_eq!(machine.show("SITE-2")["due_at"], "2030-02-08T00:00:00.000Z");
    assert_eq!(machine.show("SITE-1")["result"]["artifacts"][0], "pages.txt");

    // The bytes are canonical: reading a file and touching nothing leaves it as it is.
    let before =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("state/orch.yaml")).expect("it is there");
    assert_eq!(before, fs::read(machine.state("orch.yaml")).expect("it is there"));
    machine.orch(["retry", "OPS-1", "--notes", "the permission came"]).ok();
    assert_eq!(machine.show("OPS-1")["status"], "pending");
}
