//! Layers, origins, and refusals with their place.

use std::time::Duration;

use super::*;
use crate::store::settings::{LeaseRefs, PushBudget};
use crate::store::settings_edit::default_orch_yaml;
use crate::store::settings_keys::to_value;

fn shared(text: &str) -> Result<Loaded, String> {
    let file = File { name: "orch.yaml", bytes: text.as_bytes() };
    load(&Sources { shared: Some(file), ..Sources::default() }).map_err(|e| e.to_string())
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn the_file_that_init_writes_holds_the_defaults() {
    let loaded = shared(default_orch_yaml()).expect("a good file");
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.settings.lease.stale_after(Duration::from_secs(900)), Duration::from_secs(1155));
    assert_eq!(loaded.settings.sync.push_budget, PushBudget { count: 6, per: Duration::from_secs(60) });
    let text = emit::emit(&to_value(&loaded.settings), &[]);
    assert_eq!(shared(&text).map(|l| l.settings), Ok(Settings::default()));
}

#[test]
fn the_stronger_layer_wins_and_every_value_knows_its_origin() {
    let machine = File {
        name: "config.yaml",
        bytes: b"remote: /srv/q.git\nlease:\n  ttl: 2m\nsync: {lease_refs: branches}\n",
    };
    let env = [
        pair("ORCH_LEASE_TTL", "3m"),
        pair("ORCH_TASK", "X-1"),
        pair("ORCH_RETRY_BACKOFF", "1s, 2s"),
        pair("PATH", "/bin"),
    ];
    let options = [pair("lease.ttl", "4m"), pair("queue.limits", "{coding: 2}")];
    let orch = File {
        name: "orch.yaml",
        bytes: b"format: 1\nlease: {ttl: 1m, grace: 10s}\nqueue: {paused: true}\n",
    };
    let loaded = load(&Sources { shared: Some(orch), machine: Some(machine), env: &env, options: &options })
        .expect("good");
    let s = &loaded.settings;
    assert_eq!((s.lease.ttl, s.lease.grace), (Duration::from_secs(240), Duration::from_secs(10)));
    assert_eq!(s.retry.backoff, [1, 2].map(Duration::from_secs));
    assert_eq!(
        (s.queue.limits.get("coding"), s.sync.lease_refs, s.queue.paused),
        (Some(&2), LeaseRefs::Branches, true)
    );
    let shown: Vec<String> =
        loaded.show().iter().map(|s| format!("{} = {} ({})", s.key, s.value, s.origin)).collect();
    for line in [
        "remote = /srv/q.git (config.yaml:1:9)",
        "branch = orch-state (default)",
        "lease.ttl = 4m (command line option for lease.ttl)",
        "lease.grace = 10s (orch.yaml:2:25)",
        "retry.backoff = [1s, 2s] (environment variable ORCH_RETRY_BACKOFF)",
        "sync.push_budget = 6/min (default)",
    ] {
        assert!(shown.iter().any(|s| s == line), "{line} is not in {shown:#?}");
    }
}

#[test]
fn a_refusal_names_the_place_and_the_nearest_key() {
    for (text, expected) in [
        ("lease: {tll: 15m}\n", "orch.yaml:1:9: `lease.tll` is no setting; did you mean `lease.ttl`?"),
        ("format: 1\nqueu: {paused: true}\n", "orch.yaml:2:1: `queu` is no setting; did you mean `queue`?"),
        (
            "lease:\n  ttl: 15\n",
            "orch.yaml:2:8: lease.ttl: expected a duration like 90s, 15m or 2h, found a number",
        ),
        ("lease: {ttl: 500ms}\n", "orch.yaml:1:14: lease.ttl: 500ms is not between 1s and 30d"),
        ("lease: {drift: 0.9}\n", "orch.yaml:1:16: lease.drift: 0.9 is not between 1 and 10"),
        (
            "worker: {sandbox: landlok}\n",
            "orch.yaml:1:19: worker.sandbox: `landlok` is none of auto, none, landlock, docker; did you mean `landlock`?",
        ),
        (
            "sync: {push_budget: often}\n",
            "orch.yaml:1:21: sync.push_budget: `often` is no push budget; write it like 6/min",
        ),
        ("branch: ../x\n", "orch.yaml:1:9: branch: expected the name of a branch, like orch-state"),
        (
            "branch: orch-leases/x\n",
            "orch.yaml:1:9: branch: orch-leases/x is where orch keeps leases; expected another name, like orch-state",
        ),
        ("remote: --upload-pack=x\n", "orch.yaml:1:9: remote: expected a URL or path of a git repository"),
        (
            "format: 2\n",
            "orch.yaml:1:9: format: format 2 was written by a newer version; this one reads format 1; upgrade orch",
        ),
        ("lease: 5\n", "orch.yaml:1:8: lease: expected a map of settings, found a number"),
    ] {
        assert_eq!(shared(text).err().as_deref(), Some(expected), "{text}");
    }
    assert!(shared("").is_ok() && shared("# nothing\n").is_ok() && shared("lease:\n").is_ok());
}

#[test]
fn settings_under_which_two_holders_could_act_are_refused() {
    let refused = shared("lease: {drift: 1.0, grace: 0s}\n").err().unwrap_or_default();
    assert!(
        refused.starts_with("orch.yaml:1:16: lease.grace: ") && refused.contains("must exceed"),
        "{refused}"
    );
    assert!(shared("lease: {drift: 1.0, grace: 1s}\n").is_ok());
    assert!(shared("lease: {drift: 1.1, grace: 0s}\n").is_ok());
}

#[test]
fn a_mistyped_variable_is_no_silence_and_a_foreign_one_is_no_error() {
    let told = |name: &str| {
        let env = [pair(name, "5m")];
        load(&Sources { env: &env, ..Sources::default() }).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(
        told("ORCH_LEASE_TTTL"),
        Err("environment variable ORCH_LEASE_TTTL: it is no setting; did you mean `ORCH_LEASE_TTL`?"
            .to_owned())
    );
    assert!(told("ORCH_QUEUE_PAUSE").is_err());
    for foreign in
        ["ORCH_TASK", "ORCH_SESSION", "ORCH_SUPERVISOR", "ORCH_LEASE_OWNER_OF_MY_SCRIPT", "LEASE_TTTL"]
    {
        assert_eq!(told(foreign), Ok(()), "{foreign}");
    }
}

#[test]
fn bad_variables_and_options_are_named() {
    let env = [pair("ORCH_SYNC_TIMEOUT", "soon")];
    let error = load(&Sources { env: &env, ..Sources::default() })
        .map_err(|e| e.to_string())
        .err()
        .unwrap_or_default();
    assert!(
        error.starts_with("environment variable ORCH_SYNC_TIMEOUT: sync.timeout: `soon` is no duration"),
        "{error}"
    );
    let options = [pair("queue.pause", "true")];
    let error = load(&Sources { options: &options, ..Sources::default() })
        .map_err(|e| e.to_string())
        .err()
        .unwrap_or_default();
    assert!(error.contains("did you mean `queue.paused`?"), "{error}");
}
