//! Pure readers of what `git` prints for programs: the porcelain answer of a push and the listing of a
//! remote's refs. Whatever is not understood is no answer.

use std::collections::BTreeMap;

use super::failure;
use crate::world::{Oid, PushOutcome};

/// What a `git push --porcelain` says, by full name of the remote ref.
///
/// Lines are `<flag> TAB <from>:<to> TAB <summary>`. Moved refs (` `, `+`, `*`, `-`) are accepted. "Up to
/// date" (`=`) is unknown: it only says that the remote holds this object, whoever put it there. A refusal
/// (`!`) counts if it is one of the words that git has for it; `[remote failure]` means that no report
/// came. A ref that two lines speak of differently is unknown.
#[must_use]
pub fn push(stdout: &[u8]) -> BTreeMap<String, PushOutcome> {
    let mut said = BTreeMap::new();
    for line in String::from_utf8_lossy(stdout).lines() {
        if let Some((name, outcome)) = push_line(line) {
            note(&mut said, name, outcome);
        }
    }
    said
}

/// Adds what was said of a ref. One that two lines speak of differently is unknown.
pub fn note(said: &mut BTreeMap<String, PushOutcome>, name: String, outcome: PushOutcome) {
    said.entry(name)
        .and_modify(|earlier| {
            if *earlier != outcome {
                *earlier = PushOutcome::Unknown("two different answers".to_owned());
            }
        })
        .or_insert(outcome);
}

fn push_line(line: &str) -> Option<(String, PushOutcome)> {
    let mut fields = line.splitn(3, '\t');
    let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
    let (_, name) = refs.rsplit_once(':')?;
    let words = || failure::clean(summary);
    let outcome = match flag {
        " " | "+" | "*" | "-" => PushOutcome::Accepted,
        "!" if is_refusal(summary) => PushOutcome::Refused(words()),
        "!" | "=" => PushOutcome::Unknown(words()),
        _ => return None,
    };
    Some((name.to_owned(), outcome))
}

fn is_refusal(summary: &str) -> bool {
    ["[rejected]", "[remote rejected]", "[no match]"].iter().any(|word| summary.starts_with(word))
}

/// The lines `<object> TAB <ref>` of `git ls-remote`; peeled tags and names that are no ref names are left out.
#[must_use]
pub fn listing(stdout: &[u8]) -> Vec<(String, Oid)> {
    stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let (oid, name) = std::str::from_utf8(line).ok()?.split_once('\t')?;
            is_ref_name(name).then_some(())?;
            Some((name.to_owned(), Oid::parse(oid)?))
        })
        .collect()
}

/// Whether this is a full ref name that may stand in a refspec: the rules of `git check-ref-format`, and
/// it begins with `refs/`.
#[must_use]
pub fn is_ref_name(name: &str) -> bool {
    let part_is_fine = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.ends_with(".lock")
    };
    let odd = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    name.len() <= 1024
        && name.strip_prefix("refs/").is_some_and(|rest| !rest.is_empty())
        && !name.contains(odd)
        && !name.contains("..")
        && !name.contains("@{")
        && name.split('/').all(part_is_fine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OID: &str = "0123456789abcdef0123456789abcdef01234567";

    /// What kind of outcome a line has; the words come from transcripts of several versions and hosts.
    #[test]
    fn spellings_of_answers() {
        let accepted = [
            " \tOID:refs/x\tabc..def",
            "*\tOID:refs/x\t[new reference]",
            "*\tOID:refs/x\t[new branch]",
            "+\tOID:refs/x\tabc...def (forced update)",
            "-\t:refs/x\t[deleted]",
        ];
        let refused = [
            "!\tOID:refs/x\t[rejected] (fetch first)",
            "!\tOID:refs/x\t[rejected] (non-fast-forward)",
            "!\tOID:refs/x\t[rejected] (stale info)",
            "!\tOID:refs/x\t[rejected] (atomic push failed)",
            "!\tOID:refs/x\t[rejected] (already exists)",
            "!\tOID:refs/x\t[remote rejected] (failed to update ref)",
            "!\tOID:refs/x\t[remote rejected] (cannot lock ref 'refs/x': is at 1 but expected 2)",
            "!\tOID:refs/x\t[remote rejected] (reference already exists)",
            "!\tOID:refs/x\t[remote rejected] (incorrect old value provided)",
            "!\tOID:refs/x\t[remote rejected] (atomic transaction failed)",
            "!\tOID:refs/x\t[remote rejected] (pre-receive hook declined)",
            "!\tOID:refs/x\t[remote rejected] (unpacker error)",
            "!\t:refs/x\t[remote rejected] (refusing to delete)",
        ];
        let unknown = [
            "=\tOID:refs/x\t[up to date]",
            "!\tOID:refs/x\t[remote failure] (remote failed to report status)",
            "!\tOID:refs/x\t[something new]",
            "!\tOID:refs/x\t",
        ];
        let silent = [
            "To /srv/hub.git",
            "Done",
            "Everything up-to-date",
            "",
            "?\tOID:refs/x\t[new reference]",
            "*\tOID:refs/x",
            "*\trefs/x\t[new reference]",
            "fatal: the remote end hung up unexpectedly",
            "error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503",
        ];
        let one = |line: &str| push(line.replace("OID", OID).as_bytes()).remove("refs/x");
        for line in accepted {
            assert_eq!(one(line), Some(PushOutcome::Accepted), "{line:?}");
        }
        for line in refused {
            assert!(matches!(one(line), Some(PushOutcome::Refused(_))), "{line:?}");
        }
        for line in unknown {
            assert!(matches!(one(line), Some(PushOutcome::Unknown(_))), "{line:?}");
        }
        for line in silent {
            assert_eq!(one(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_whole_answer() {
        let text = format!(
            "To /srv/hub.git\n*\t{OID}:refs/a\t[new reference]\n!\t{OID}:refs/b\t[rejected] (stale info)\nDone\n"
        );
        let said = push(text.as_bytes());
        assert_eq!(said.len(), 2);
        assert_eq!(said["refs/a"], PushOutcome::Accepted);
        assert_eq!(said["refs/b"], PushOutcome::Refused("[rejected] (stale info)".to_owned()));
    }

    #[test]
    fn contradiction_is_unknown() {
        let text = format!("*\t{OID}:refs/a\t[new]\n!\t{OID}:refs/a\t[rejected] (x)\n");
        assert!(matches!(push(text.as_bytes())["refs/a"], PushOutcome::Unknown(_)));
    }

    #[test]
    fn listings_leave_out_what_is_no_ref() {
        let text = format!(
            "{OID}\tHEAD\n{OID}\trefs/heads/a\n{OID}\trefs/tags/v^{{}}\n{OID} refs/b\nzz\trefs/c\n{OID}\trefs/../d\n"
        );
        let oid = Oid::parse(OID).unwrap();
        assert_eq!(listing(text.as_bytes()), [("refs/heads/a".to_owned(), oid)]);
    }

    #[test]
    fn ref_names() {
        for good in ["refs/a", "refs/orch/leases/T-1.x", "refs/heads/ä"] {
            assert!(is_ref_name(good), "{good}");
        }
        for bad in [
            "",
            "refs/",
            "HEAD",
            "heads/a",
            "refs//a",
            "refs/a/",
            "refs/a b",
            "refs/a:b",
            "refs/*",
            "refs/.a",
            "refs/a.lock",
            "refs/a..b",
            "refs/a\n",
            "refs/a@{1}",
            "+refs/a",
        ] {
            assert!(!is_ref_name(bad), "{bad:?}");
        }
    }

    proptest! {
        /// No input panics, and a success needs a line with an accepting flag.
        #[test]
        fn arbitrary_answers(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for outcome in push(&bytes).values() {
                if *outcome == PushOutcome::Accepted {
                    prop_assert!(bytes.contains(&b'\t') && bytes.contains(&b':'));
                }
            }
            prop_assert!(listing(&bytes).iter().all(|(name, _)| is_ref_name(name)));
        }

        #[test]
        fn answers_of_the_right_shape(flag in " |[!=*+-]|x", name in "refs/[a-z]{1,4}", summary in "\\PC{0,30}") {
            let said = push(format!("{flag}\t{OID}:{name}\t{summary}").as_bytes());
            let accepted = said.get(&name) == Some(&PushOutcome::Accepted);
            prop_assert_eq!(accepted, [" ", "*", "+", "-"].contains(&flag.as_str()));
        }
    }
}
