//! However the bytes are cut, the output is the same and the canary is not in it.

use proptest::prelude::*;

use super::*;

fn run(secrets: &Rc<Secrets>, chunks: &[&[u8]]) -> (Vec<u8>, u64) {
    let mut stream = Redactor::new(Rc::clone(secrets));
    let mut out: Vec<u8> = chunks.iter().flat_map(|chunk| stream.push(chunk)).collect();
    out.extend(stream.finish());
    (out, stream.count())
}

fn clean(text: &str) -> String {
    Secrets::new(["canary-value-1"]).text(text)
}

#[test]
fn known_values_and_known_shapes_go() {
    let token = "A1b2".repeat(9);
    assert_eq!(clean("a canary-value-1 b"), "a [redacted] b");
    for prefix in ["ghp_", "gho_", "github_pat_", "glpat-", "sk-", "sk-ant-", "xoxb-", "AIza"] {
        assert_eq!(clean(&format!("x={prefix}{token}.")), "x=[redacted].", "{prefix}");
    }
    assert_eq!(clean("id AKIAABCDEFGHIJKLMNOP!"), "id [redacted]!");
    assert_eq!(clean("AUTHORIZATION: Bearer abc.def"), "AUTHORIZATION: Bearer [redacted]");
    assert_eq!(clean(r#"{"authorization": "bearer abc"}"#), r#"{"authorization": "bearer [redacted]"}"#);
    assert_eq!(clean(&format!("Bearer {token}\n")), "Bearer [redacted]\n");
}

#[test]
fn what_only_resembles_a_secret_stays() {
    for text in [
        "risk-assessment-of-a-long-name-with-dashes",
        "the bearer of news",
        "ghp_short",
        "AKIA",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----BEGIN ",
        "canary-value-",
        "",
    ] {
        assert_eq!(clean(text), text);
    }
}

#[test]
fn a_private_key_goes_from_its_first_line_to_its_last() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz\nabc-----\n-----END OPENSSH PRIVATE KEY-----";
    assert_eq!(clean(&format!("before {key} after\n")), "before [redacted] after\n");
    assert_eq!(clean("-----BEGIN PRIVATE KEY-----\\nabc"), "[redacted]", "cut off in the middle");
    let endless = format!("-----BEGIN PRIVATE KEY-----{}", "x".repeat(LONGEST_KEY + 10));
    assert_eq!(clean(&endless).len(), REDACTED.len() + 9, "a lone first line does not eat the whole log");
}

#[test]
fn the_longest_secret_wins_and_tiny_ones_are_left_alone() {
    let secrets =
        Secrets::new(["secret", "secret-long-one", "tiny", "line one of the key\nline two of the key"]);
    assert_eq!(secrets.text("secret-long-one secret-long- tiny"), "[redacted] [redacted]-long- tiny");
    assert_eq!(secrets.text("  line two of the key"), "  [redacted]");
    assert_eq!(secrets.text(r"line one of the key\nline two of the key"), "[redacted]");
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_output_without_the_canary(
        parts in prop::collection::vec(prop_oneof![
            Just("hunter2-canary".to_owned()),
            Just("hunter2-canary-longer".to_owned()),
            Just("hunter2-".to_owned()),
            Just("ghp_".to_owned()),
            Just("A1b2A1b2A1b2A1b2A1b2A1b2".to_owned()),
            Just("Authorization: Bearer ".to_owned()),
            Just("-----BEGIN RSA PRIVATE KEY-----".to_owned()),
            Just("-----END RSA PRIVATE KEY-----".to_owned()),
            Just("-----".to_owned()),
            Just(" ".to_owned()),
            "[a-z -]{0,6}",
        ], 0..24),
        cuts in prop::collection::vec(0usize..400, 0..12),
    ) {
        let text = parts.concat();
        let secrets = Secrets::new(["hunter2-canary", "hunter2-canary-longer"]);
        let (whole, count) = run(&secrets, &[text.as_bytes()]);
        let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        at.extend([0, text.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        prop_assert_eq!(run(&secrets, &chunks), (whole.clone(), count));
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(run(&secrets, &bytes), (whole.clone(), count));
        let shown = String::from_utf8_lossy(&whole).into_owned();
        prop_assert!(!shown.contains("hunter2-canary"), "{shown}");
        prop_assert!(!shown.contains("ghp_A1b2A1b2A1b2A1b2A1b2"), "{shown}");
    }

    #[test]
    fn text_without_secrets_passes_unchanged(text in "[a-z0-9 \n]{0,200}") {
        let secrets = Secrets::new(["hunter2-canary"]);
        prop_assert_eq!(run(&secrets, &[text.as_bytes()]), (text.clone().into_bytes(), 0));
    }
}
