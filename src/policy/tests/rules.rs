//! Rules: reading them, their mistakes, and which of them counts.

use super::fake::{default_policy, tree};
use super::{Decision, Policy, verdict, words};
use serde_json::json;

fn load(json: &serde_json::Value) -> Result<Policy, String> {
    Policy::load("policy.yaml", &tree(json)).map_err(|error| error.to_string())
}

fn policy(default: &str, rules: &[(serde_json::Value, &str)]) -> Policy {
    let rule = |(prefix, decision): &(serde_json::Value, &str)| json!({"prefix": prefix, "decision": decision, "reason": "r"});
    load(&json!({"format": 1, "default": default, "rules": rules.iter().map(rule).collect::<Vec<_>>()}))
        .unwrap()
}

fn decide(policy: &Policy, line: &str) -> Decision {
    verdict(policy, &words(line)).decision
}

#[test]
fn the_strictest_match_wins_whatever_the_order() {
    for flipped in [false, true] {
        let mut rules = vec![
            (json!(["foo"]), "allow"),
            (json!(["foo", ["a", "b"]]), "prompt"),
            (json!(["foo", "b", "c"]), "forbid"),
        ];
        if flipped {
            rules.reverse();
        }
        let policy = policy("forbid", &rules);
        for (line, expected) in [
            ("foo", "allow"),
            ("foo x", "allow"),
            ("foo a", "prompt"),
            ("foo b x", "prompt"),
            ("foo b c d", "forbid"),
            ("bar", "forbid"),
        ] {
            assert_eq!(decide(&policy, line).word(), expected, "{line}");
        }
    }
}

#[test]
fn a_program_is_what_it_resolves_to() {
    let allowed = policy("forbid", &[(json!(["git"]), "allow"), (json!(["./ci.x"]), "allow")]);
    assert_eq!(decide(&allowed, "git status"), Decision::Allow);
    assert_eq!(decide(&allowed, "/usr/bin/git status"), Decision::Allow);
    assert_eq!(decide(&allowed, "/bin/git status"), Decision::Allow, "through the link /bin");
    assert_eq!(decide(&allowed, "./git status"), Decision::Forbid, "another program of the same name");
    assert_eq!(decide(&allowed, "./ci.x"), Decision::Allow);
    let refused = policy(
        "allow",
        &[(json!(["vim.basic"]), "forbid"), (json!(["git"]), "forbid"), (json!(["busybox"]), "forbid")],
    );
    assert_eq!(decide(&refused, "vi x"), Decision::Forbid, "behind two links");
    assert_eq!(decide(&refused, "./git x"), Decision::Forbid, "a restriction takes every name for it");
    assert_eq!(decide(&refused, "ls"), Decision::Allow, "busybox goes by the name it is called");
}

#[test]
fn wrappers_and_global_options_of_git_do_not_hide_from_rules() {
    let rules = policy("allow", &[(json!(["git", "push"]), "forbid"), (json!(["sudo"]), "forbid")]);
    for line in [
        "git -C x push",
        "git -c a.b=c push",
        "env A=1 nice git push",
        "xargs git push",
        "find . -exec git push ;",
    ] {
        assert_eq!(decide(&rules, line), Decision::Forbid, "{line}");
    }
    let strict = policy("forbid", &[(json!(["cargo"]), "allow"), (json!(["git", "log"]), "allow")]);
    for (line, expected) in [
        ("timeout 5 env A=1 cargo test", Decision::Allow),
        ("git --no-pager log", Decision::Allow),
        ("sudo cargo test", Decision::Forbid),
        ("timeout 5 make", Decision::Forbid),
    ] {
        assert_eq!(decide(&strict, line), expected, "{line}");
    }
}

#[test]
fn a_rule_answers_a_question_but_lifts_no_refusal() {
    let rules = policy(
        "allow",
        &[(json!(["npx", "eslint"]), "allow"), (json!(["sh"]), "allow"), (json!(["rm"]), "allow")],
    );
    assert_eq!(decide(&rules, "npx eslint ."), Decision::Allow);
    assert_eq!(decide(&rules, "npx other"), Decision::Prompt);
    assert_eq!(decide(&rules, "sh -c ls"), Decision::Forbid);
    assert_eq!(decide(&rules, "rm -rf /"), Decision::Forbid);
    let merged = Policy::merge(Policy::open(), rules);
    assert_eq!(decide(&merged, "npx eslint ."), Decision::Prompt, "a machine's own policy cannot answer");
}

#[test]
fn each_layer_keeps_its_own_default() {
    let shared = policy("allow", &[(json!(["npm"]), "allow")]);
    let machine = policy("forbid", &[(json!(["cargo"]), "allow"), (json!(["git"]), "allow")]);
    let merged = Policy::merge(shared, machine);
    assert_eq!(decide(&merged, "cargo test"), Decision::Allow);
    assert_eq!(decide(&merged, "npm test"), Decision::Forbid);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let rule = |extra: serde_json::Value| {
        let mut rule = json!({"prefix": ["git", "push"], "decision": "forbid", "reason": "no"});
        for (key, value) in extra.as_object().unwrap() {
            rule[key] = value.clone();
        }
        json!({"format": 1, "rules": [rule]})
    };
    for (tree, expected) in [
        (json!({"rules": []}), "format: is missing; write `format: 1`"),
        (json!({"format": 2}), "format: 2 is newer than this version of orch reads (1); install a newer one"),
        (json!({"format": "1"}), "format: expected 1"),
        (json!([]), "expected a map, found a list"),
        (
            json!({"format": 1, "rule": []}),
            "rule: unknown key, did you mean `rules`?; known are format, default, rules",
        ),
        (
            json!({"format": 1, "default": "forbidden"}),
            "default: `forbidden` is no decision, did you mean `forbid`?; write allow, prompt or forbid",
        ),
        (
            json!({"format": 1, "default": "alow"}),
            "default: `alow` is no decision, did you mean `allow`?; write allow, prompt or forbid",
        ),
        (json!({"format": 1, "rules": {}}), "rules: expected a list, found a map"),
        (
            json!({"format": 1, "rules": [{"prefix": ["x"], "decision": "allow"}]}),
            "rules[0].reason: is missing; say why, for whoever meets this rule",
        ),
        (rule(json!({"reason": " "})), "rules[0].reason: is empty"),
        (
            rule(json!({"prefix": []})),
            "rules[0].prefix: is empty and would match every command; use `default` for that",
        ),
        (
            rule(json!({"prefix": ["kill", 9]})),
            "rules[0].prefix[1]: expected text, found a number; put it in quotes",
        ),
        (rule(json!({"prefix": ["git", []]})), "rules[0].prefix[1]: has no alternative"),
        (
            rule(json!({"match": [["git", "push"], ["git", "pull"]]})),
            "rules[0].match[1]: the example `git pull` does not match the prefix of its rule",
        ),
        (
            rule(json!({"not_match": ["git push -f"]})),
            "rules[0].not_match[0]: the example `git push -f` matches the prefix of its rule",
        ),
        (
            rule(json!({"match": ["git push | cat"]})),
            "rules[0].match[0]: only plain words can be split: '|' outside of quotes; write the example as a list",
        ),
        (
            rule(json!({"notmatch": []})),
            "rules[0].notmatch: unknown key, did you mean `not_match`?; known are prefix, decision, reason, instead, match, not_match",
        ),
    ] {
        assert_eq!(load(&tree).unwrap_err(), expected);
    }
}

#[test]
fn examples_that_hold_are_fine() {
    let rule = json!({"prefix": ["git", "push", ["--force", "-f"]], "decision": "forbid", "reason": "no", "instead": "new branch",
                      "match": [["git", "push", "-f"], "git push --force x", "/usr/bin/git push -f"],
                      "not_match": [["git", "push"], ["git"], []]});
    assert!(load(&json!({"format": 1, "rules": [rule]})).is_ok());
}

#[test]
fn the_digest_changes_with_what_decides_and_with_nothing_else() {
    let base = json!({"format": 1, "default": "allow", "rules": [{"prefix": ["a", ["b", "c"]], "decision": "allow", "reason": "r"}]});
    let digest = |json: &serde_json::Value| load(json).unwrap().digest();
    let reordered = json!({"rules": [{"reason": "r", "match": ["a b"], "decision": "allow", "prefix": [["a"], ["b", "c"]]}], "format": 1});
    assert_eq!(digest(&base), digest(&reordered));
    assert_eq!(digest(&base).len(), 64);
    for (pointer, value) in [
        ("/default", "prompt"),
        ("/rules/0/decision", "forbid"),
        ("/rules/0/prefix/0", "x"),
        ("/rules/0/reason", "s"),
    ] {
        let mut other = base.clone();
        *other.pointer_mut(pointer).unwrap() = json!(value);
        assert_ne!(digest(&base), digest(&other), "{pointer}");
    }
    let policy = load(&base).unwrap();
    assert_ne!(Policy::merge(policy.clone(), Policy::open()).digest(), policy.digest());
}

#[test]
fn the_default_policy_proves_its_own_examples() {
    assert_eq!(default_policy().digest(), default_policy().digest());
    assert_eq!(decide(&default_policy(), "sudo ls"), Decision::Forbid);
}
