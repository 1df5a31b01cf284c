//! What is refused, where it is found, and what text may contain all the same.

use std::time::{Duration, Instant};

use super::*;

fn refused(text: &str) -> String {
    parse(text).map_or_else(|e| e.to_string(), |value| format!("accepted as {value:?}"))
}

#[test]
fn what_the_format_forbids_is_refused_with_its_place() {
    for (text, expected) in [
        ("a: &x b\n", "1:4: anchors"),
        ("a: 1\nb: *x\n", "2:4: aliases"),
        ("a: [1, *x]\n", "1:8: aliases"),
        ("a: !!binary aGk=\n", "1:4: tags"),
        ("a:\n  - !x y\n", "2:5: tags"),
        ("- \"k\": |\n    text\n  b: &x 1\n", "3:6: anchors"),
        ("a: |\n  text\nb: &x 1\n", "3:4: anchors"),
        ("'a': \"one\n  two\"\nb: &x 1\n", "3:4: anchors"),
        ("<<: {a: 1}\n", "1:1: merge keys"),
        ("a: {<<: {b: 1}}\n", "1:5: merge keys"),
        ("a: 1\n---\nb: 2\n", "2:1: a file holds one document"),
        ("a: 1\n...\n", "2:1: a file holds one document"),
        ("%YAML 1.1\n---\na: 1\n", "1:1: YAML directives"),
        ("a: 1\n<<<<<<< ours\n", "2:1: a conflict marker"),
        ("a: 1\n=======\n", "2:1: a conflict marker"),
        ("a:\n\tb: 1\n", "2:1: a tab"),
        ("a: 1\nb: 2\na: 3\n", "3:1: the key `a` stands here for the second time"),
        ("a: {b: 1, b: 2}\n", "1:11: the key `b`"),
        ("a: .inf\n", "1:4: infinity"),
        ("a: 99999999999999999999\n", "1:4: the number is too large"),
        ("a: 18446744073709551615\n", "1:4: the number is too large"),
        ("a: b\u{1}c\n", "1:5: the control character U+0001"),
        ("a: b\rc: d\n", "1:5: the control character U+000D"),
        ("a: [1, 2\nb: 3\n", "2:2: this is not valid YAML"),
        ("[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "1:17: nested more than 16"),
        ("- - - - - - - - - - - - - - - - - a\n", "1:33: nested more than 16"),
    ] {
        let found = refused(text);
        assert!(found.starts_with(expected), "{text:?}: {found}");
    }
}

#[test]
fn text_may_contain_what_would_be_refused_elsewhere() {
    let text = "\
# &comment *of !mine\n\
a: |\n  *bold* &and !important\n  <<<<<<< not a marker\n\n\tstill: text\n\
b: \"&x *y !z\"\n\
c: 'it''s *fine*'\n\
d: 1 & 2 * 3 !\n\
e: [\"*x\", '&y', a*b]\n\
f:\n  - >-\n    *folded*\n    &text\n  - x: |\n      *deep*\n    y: 1\n\
g: \"two\n  *lines*\"\n";
    let text = text.replace("\n\tstill", "\n  \tstill");
    let value = parse(&text).map_err(|e| format!("{e}\n{text}"));
    let value = value.expect("good text");
    assert_eq!(
        value.get("a"),
        Some(&Value::str("*bold* &and !important\n<<<<<<< not a marker\n\n\tstill: text\n"))
    );
    assert_eq!(value.get("d"), Some(&Value::str("1 & 2 * 3 !")));
    assert_eq!(value.get("g"), Some(&Value::str("two *lines*")));
    assert_eq!(parse("---\na: 1\n").map(|v| v.get("a").cloned()), Ok(Some(Value::Int(1))));
}

#[test]
fn bytes_are_bounded_and_must_be_text() {
    assert_eq!(text(b"\xef\xbb\xbfa: 1"), Ok("a: 1"));
    assert_eq!(text(b"a: 1\nb: \xff").map_err(|e| (e.line, e.column)), Err((2, 4)));
    assert!(text(&vec![b' '; FILE_MAX]).is_ok() && text(&vec![b' '; FILE_MAX + 1]).is_err());
    assert!(refused(&format!("a: {}\n", "x".repeat(TEXT_MAX + 1))).contains("at most 65536"));
    assert!(refused(&format!("{}: 1\n", "x".repeat(KEY_MAX + 1))).contains("a key of 201 bytes"));
}

#[test]
fn a_bomb_is_refused_before_it_costs_anything() {
    // Far above what they take, far below what an exploding parser takes, on a busy machine, too.
    let limit = Duration::from_secs(2);
    let aliases: String = (1..20).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
    for bomb in [
        "[".repeat(250_000),
        "- ".repeat(125_000),
        "{a: ".repeat(60_000),
        format!("a: [{}", "1,".repeat(120_000)),
        "- a\n".repeat(60_000),
        aliases,
    ] {
        let start = Instant::now();
        assert!(parse(&bomb).is_err());
        assert!(start.elapsed() < limit, "{} took {:?}", &bomb[..20], start.elapsed());
    }
}

/// The story: to libyaml a line ends at U+0085, U+2028 and U+2029, too. Behind one of them the look beforehand saw a comment
/// where the parser saw keys, anchors and aliases: 50,000 aliases of one long text, 300 kB in a file, were gigabytes in
/// memory. Places in messages were wrong as well, and by an error in a line that was not there a fuzzer noticed it.
#[test]
fn no_line_ends_where_the_parser_alone_sees_it() {
    for end in ['\u{85}', '\u{2028}', '\u{2029}'] {
        for text in [
            format!("a: b{end}c: d\n"),
            format!("# only a remark{end}status: done\n"),
            format!("# {end}a: &x y{end}b: *x\n"),
            format!("a: |\n  b{end}  c\n"),
            format!("a: \"b{end}c\"\n"),
        ] {
            assert!(refused(&text).contains(&format!("U+{:04X}", u32::from(end))), "{text:?}");
        }
        let aliases = "*x, ".repeat(NODES_MAX - 10);
        let bomb = format!("# {end}a: &x {}{end}b: [{aliases}]\n", "x".repeat(TEXT_MAX));
        assert!(refused(&bomb).starts_with("1:3: the control character"));
    }
    assert_eq!(
        parse("a: \"b\\u2028c\\N\"\n").map(|v| v.get("a").cloned()),
        Ok(Some(Value::str("b\u{2028}c\u{85}")))
    );
}

/// The story: a quote at the beginning of a line in the middle of a plain text opens nothing, and the look beforehand
/// took all that follows for quoted. The aliases in it were gigabytes.
#[test]
fn aliases_that_the_look_beforehand_overlooks_cost_no_memory() {
    let (long, aliases) = ("x".repeat(TEXT_MAX), "*x, ".repeat(NODES_MAX - 10));
    for hiding in ["a: b\n  \"c\n", "a: :\"b\n", "a: [b\n  'c]\n"] {
        let bomb = format!("{hiding}d: &x {long}\ne: [{aliases}]\n");
        assert!(refused(&bomb).contains("aliases (`*`) are not allowed"), "{hiding}");
    }
    let grown = format!("a: \"{}\"\n", "\\L".repeat(TEXT_MAX / 3));
    assert!(parse(&grown).is_ok(), "an escape of two bytes is a text of three");
}

/// The story: at the end of a text whose last line had no line feed, an error stood in a line that was not there.
#[test]
fn an_error_at_the_end_stands_in_the_last_line() {
    assert_eq!(refused("# only a remark"), "1:16: the file is empty");
    assert!(refused("a: 1\nb: [1, 2").starts_with("2:9: this is not valid YAML"));
    assert!(refused("a: 1\nb: [1, 2\n").starts_with("3:1: this is not valid YAML"));
}

#[test]
fn a_path_leads_to_its_place() {
    let text = "a: 1\nb:\n  - {c: x, d: [1, 2]}\n  - e\n";
    let key = |k: &str| Step::Key(k.to_owned());
    let to = |path: &[Step]| locate(text, path);
    assert_eq!(to(&[key("b"), Step::Index(0), key("d"), Step::Index(1)]), (3, 19));
    assert_eq!(to(&[key("b"), Step::Index(0), Step::Name("d".to_owned())]), (3, 12));
    assert_eq!(to(&[key("b"), Step::Index(1)]), (4, 5));
    assert_eq!(to(&[key("b"), Step::Index(0), key("missing")]), (3, 5));
    assert_eq!(to(&[]), (1, 1));
}
