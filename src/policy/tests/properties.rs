//! What must hold for every command, not only for those in the table.

use super::fake::{Fake, default_policy, tree};
use super::{Decision, Policy, Request, check, request, rows, verdict, words};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use std::path::Path;

/// Known wrappers as they are called, without the command that they start.
const WRAPPERS: &[&str] = &[
    "env",
    "env A=1",
    "env -i -u B A=1",
    "/usr/bin/env",
    "nohup",
    "nice",
    "nice -n 5",
    "nice -5",
    "ionice -c2 -n 7",
    "timeout 5",
    "timeout -k 1 -s KILL 5",
    "timeout --signal=KILL 5",
    "timeout --kill-after 1 5",
    "setsid",
    "setsid -w",
    "stdbuf -oL",
    "stdbuf -o L -e 0",
    "time",
    "time -p",
    "time -f %e",
    "xargs",
    "xargs -0 -n 1",
    "xargs -I {}",
    "sudo",
    "sudo -n -u x",
    "sudo A=1",
    "doas",
    "doas -u x",
    "busybox",
    "busybox env",
    "unshare -r",
    "unshare --fork",
    "flock lock",
    "flock -n lock",
    "strace -f -o x",
    "systemd-run --user",
    "git bisect run",
    "fd -x",
    "taskset 1",
    "chrt 1",
    "runuser -u x",
    "npx",
    "npx -y",
    "uv run",
    "poetry run",
    "unbuffer",
    "fakeroot",
    "command",
    "xvfb-run -a",
    "direnv exec .",
    "rustup run stable",
    "/lib64/ld-linux-x86-64.so.2",
    "valgrind --x=y",
    "script -q log",
    "caffeinate -i",
];

/// The same, for those that change the directory, the root or the machine, or that replace `{}`.
const MOVERS: &[&str] = &[
    "env -C sub",
    "chroot /mnt",
    "nsenter -t 1 -m",
    "docker run --rm -v a:b image",
    "docker exec -it box",
    "podman run image",
    "docker compose exec web",
    "kubectl exec pod --",
    "kubectl -n x exec -it pod -c y --",
    "git -C sub bisect run",
    "find x -exec",
    "find x -type f -execdir",
];

fn wrap(wrappers: &[&str], argv: &[String]) -> Vec<String> {
    wrappers.iter().flat_map(|line| words(line)).chain(argv.iter().cloned()).collect()
}

/// Commands of the table that a built-in check refuses.
fn forbidden() -> Vec<Vec<String>> {
    let refused =
        rows().into_iter().filter(|(_, decision, _)| *decision == Decision::Forbid).map(|(_, _, argv)| argv);
    let named = refused.filter(|argv| !argv[0].trim().is_empty());
    named.filter(|argv| verdict(&Policy::open(), argv).decision == Decision::Forbid).collect()
}

/// Those of them that are refused wherever they run: no path in them means something harmless elsewhere.
fn forbidden_anywhere() -> Vec<Vec<String>> {
    let below = ["/ws/sub", "/ws/sub/sub", "/ws/sub/sub/sub", "/ws/sub/sub/sub/sub"].map(Path::new);
    let at = |cwd: &Path, argv: &[String]| {
        check(&Policy::open(), &Fake, &Request { cwd, ..request(argv) }).decision
    };
    let mut commands = forbidden();
    commands.retain(|argv| !argv.iter().any(|word| word == "./tool" || word.contains("{}")));
    commands.retain(|argv| below.iter().all(|cwd| at(cwd, argv) == Decision::Forbid));
    commands
}

fn every_pair_is_refused(wrappers: &[&str], commands: &[Vec<String>]) {
    assert!(commands.len() > 150, "only {} commands", commands.len());
    // Every third command per wrapper, others for the next one: the sequences below mix them all.
    let some = |at: usize| commands.iter().skip(at % 3).step_by(3);
    let wrapped =
        wrappers.iter().enumerate().flat_map(|(at, wrapper)| some(at).map(|argv| wrap(&[wrapper], argv)));
    let passed: Vec<_> =
        wrapped.filter(|argv| verdict(&Policy::open(), argv).decision != Decision::Forbid).collect();
    assert!(passed.is_empty(), "{} passed: {passed:#?}", passed.len());
}

fn word() -> impl Strategy<Value = String> {
    let known = "sh bash -c -e -S -- - ; + {} | ; env xargs find -exec -delete git -C push --force rm -rf / . .. .git timeout 5 \
                 docker run exec sudo -u python awk sed tar -I --to-command make SHELL= busybox parallel ::: ssh npx A=b ''";
    let known: Vec<String> = known.split_whitespace().map(str::to_owned).collect();
    prop_oneof![4 => proptest::sample::select(known), 1 => "\\PC{0,12}", 1 => any::<String>()]
}

fn random_policy() -> impl Strategy<Value = Policy> {
    let names = || proptest::sample::select(vec!["git", "sh", "npx", "rm", "env", "cargo", "push", "-f"]);
    let decision = || proptest::sample::select(vec!["allow", "prompt", "forbid"]);
    let rule = (vec(names(), 1..3), decision())
        .prop_map(|(prefix, decision)| json!({"prefix": prefix, "decision": decision, "reason": "r"}));
    (decision(), vec(rule, 0..5)).prop_map(|(default, rules)| {
        let json = json!({"format": 1, "default": default, "rules": rules});
        Policy::load("policy.yaml", &tree(&json)).unwrap()
    })
}

#[test]
fn every_known_wrapper_passes_a_refusal_on() {
    every_pair_is_refused(WRAPPERS, &forbidden());
    every_pair_is_refused(MOVERS, &forbidden_anywhere());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_wrappers_hides_a_refusal(
        wrappers in vec(proptest::sample::select(WRAPPERS), 0..=4),
        bad in proptest::sample::select(forbidden()),
    ) {
        let argv = wrap(&wrappers, &bad);
        prop_assert_eq!(verdict(&Policy::open(), &argv).decision, Decision::Forbid, "{:?}", argv);
    }

    #[test]
    fn nor_does_one_that_goes_elsewhere(
        wrappers in vec(prop_oneof![proptest::sample::select(WRAPPERS), proptest::sample::select(MOVERS)], 0..=4),
        bad in proptest::sample::select(forbidden_anywhere()),
    ) {
        let argv = wrap(&wrappers, &bad);
        prop_assert_eq!(verdict(&Policy::open(), &argv).decision, Decision::Forbid, "{:?}", argv);
    }

    #[test]
    fn checking_ends_for_every_input(argv in vec(word(), 0..12), name in word(), value in word()) {
        let env = [(name, value)];
        let found = check(&default_policy(), &Fake, &Request { env: &env, ..request(&argv) });
        prop_assert_eq!(found.decision, found.reasons.iter().map(|r| r.decision).max().unwrap_or_default());
        prop_assert!(found.clone().unattended().decision >= found.decision);
    }

    #[test]
    fn a_machine_only_tightens(shared in random_policy(), machine in random_policy(), argv in vec(word(), 1..6)) {
        let alone = verdict(&shared, &argv).decision;
        let both = verdict(&Policy::merge(shared, machine), &argv).decision;
        prop_assert!(both >= alone, "{both} is milder than {alone}");
    }
}
