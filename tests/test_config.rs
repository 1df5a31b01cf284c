//! `orch config`: where a setting comes from, also while one of them is wrong.

use crate::rig::TestEnv;

/// With a broken `orch.yaml` every command said that `orch config show --origin` lists every setting, and that command
/// said the same and listed none.
#[test]
fn the_settings_that_can_be_read_are_shown_beside_the_one_that_cannot() {
    let env = TestEnv::new();
    let a = env.local("a");
    let show = ["config", "show", "--origin"];
    let write = |text: &str| std::fs::write(a.state("orch.yaml"), text).expect("ours");
    write("format: 1\nleese: {}\nlease: {ttl: 7m, grace: soon}\nqueue: {paused: true}\n");
    a.orch(["list"]).exits(78).says("orch.yaml:2:1").says("orch config show --origin");
    let shown = a.orch(show);
    shown.exits(78).says("orch.yaml:2:1: `leese` is no setting").says("orch.yaml:3:25: lease.grace");
    shown.never_says("config show").says("correct it there");
    for line in [
        "lease.ttl: 7m  # orch.yaml:3:14",
        "queue.paused: true  # orch.yaml:4:17",
        "lease.grace: 30s  # default",
    ] {
        shown.prints(line);
    }
    let error = a.try_json(show).exits(78).error();
    assert!(error["message"].to_string().contains("orch.yaml:2:1"), "{error:#}");
    assert!(!error["hint"].to_string().contains("config show"), "{error:#}");
    // Where nothing of the file can be read, the others still count.
    write("format: 1\nlease: {ttl: 7m\n");
    let shown = a.with("ORCH_SYNC_TIMEOUT", "9s").orch(show);
    shown.exits(78).says("orch.yaml:").prints("sync.timeout: 9s  # environment variable ORCH_SYNC_TIMEOUT");
    write("format: 1\n");
    let shown = a.with("ORCH_LEASE_TLL", "3m").orch(show);
    shown.exits(78).says("ORCH_LEASE_TLL").never_says("config show").prints("lease.ttl: 15m");
    a.orch(show).ok().quiet();
}
