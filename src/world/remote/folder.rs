//! A remote that is a folder of this computer: its `receive-pack` and `upload-pack` are started here and spoken to.
//!
//! They are the programs that stand behind `git push`, `git fetch` and `git ls-remote`, and everything is decided where it
//! always is: compare-and-swap under the lock of the ref, hooks, quarantine, who may write. Only git's client and the
//! processes that it starts fall away, which is half of the time of a claim. The words are those of `gitprotocol-pack(5)` and
//! `gitprotocol-v2(5)`. As git's client does, a push compares with the advertised values before it sends anything:
//! `receive-pack` by itself deletes a ref whatever it holds when it does not have the object that was expected.

use std::collections::BTreeMap;
use std::path::Path;

use super::parse;
use crate::world::{Oid, PushOutcome, RefUpdate, Wanted};

/// Packs commits of the repository in a git directory, without what the other side has: commits that it is known to
/// have. The error is one line of text.
pub type Pack = fn(git_dir: &Path, commits: &[Oid], known: &[Oid]) -> Result<Vec<u8>, String>;

/// Sets the local ref of each to its object, which is there, whatever it held. The error is one line of text.
pub type SetRefs = fn(git_dir: &Path, wanted: &[Wanted]) -> Result<(), String>;

/// What is done in the repository of this side, by whoever knows repositories.
#[derive(Debug, Clone, Copy)]
pub struct Repository {
    /// Packs what is pushed.
    pub pack: Pack,
    /// What its refs hold; nothing when that cannot be read.
    pub held: fn(git_dir: &Path) -> Vec<Oid>,
    /// Moves the local refs of what was wanted.
    pub set_refs: SetRefs,
}

/// With fewer objects than this a fetch leaves each in a file of its own, as git's client does (`fetch.unpackLimit`): packs
/// of a few objects each would make every later look slower.
const LEAST_PACKED: u32 = 100;

/// What tells `upload-pack` which protocol is used.
pub const PROTOCOL: (&str, &str) = ("GIT_PROTOCOL", "version=2");

/// What `receive-pack` takes in lies in a quarantine at first, to which the repository itself is an alternate. So its check
/// whether all is there starts `git for-each-ref` for the alternate's refs, which are those that it has looked at already.
/// Refs of a true alternate are offered as `.have` otherwise, which is nothing to us: what they reach is found without them.
pub const NO_REFS_OF_ALTERNATES: &str = "core.alternateRefsCommand=true";

/// What a listing says: the refs below these prefixes, and no other question.
#[must_use]
pub fn listing_request(prefixes: &[&str]) -> Vec<u8> {
    let mut request = packet(b"command=ls-refs\n");
    request.extend(b"0001");
    for prefix in prefixes {
        request.extend(packet(format!("ref-prefix {prefix}\n").as_bytes()));
    }
    // The end of this question, and of all.
    request.extend(b"00000000");
    request
}

/// The refs of an answer to [`listing_request`]. `None` when it is another protocol's, or does not end.
#[must_use]
pub fn listing(answer: &[u8]) -> Option<Vec<(String, Oid)>> {
    let (hello, rest) = section(answer)?;
    if hello.first()?.strip_suffix(b"\n")? != b"version 2" {
        return None;
    }
    let (lines, _) = section(rest)?;
    let one = |line: &&[u8]| {
        let mut words = std::str::from_utf8(line).ok()?.trim_end_matches('\n').split(' ');
        let (oid, name) = (Oid::parse(words.next()?)?, words.next()?);
        parse::is_ref_name(name).then(|| (name.to_owned(), oid))
    };
    Some(lines.iter().filter_map(one).collect())
}

/// What a fetch says: these objects with all that they need, without what the known ones need.
#[must_use]
pub fn fetch_request(wanted: &[Oid], known: &[Oid]) -> Vec<u8> {
    let mut request = packet(b"command=fetch\n");
    request.extend(b"0001");
    for line in ["thin-pack\n", "ofs-delta\n", "no-progress\n"] {
        request.extend(packet(line.as_bytes()));
    }
    for (word, oids) in [("want", wanted), ("have", known)] {
        request.extend(oids.iter().flat_map(|oid| packet(format!("{word} {oid}\n").as_bytes())));
    }
    // With all said at once nothing is negotiated. Then the end of this question, and of all.
    request.extend(packet(b"done\n"));
    request.extend(b"00000000");
    request
}

/// The pack in an answer to [`fetch_request`]. `None` when it is something else, or not whole.
#[must_use]
pub fn fetched(answer: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = section(answer)?;
    let (packets, _) = section(rest)?;
    let (title, packets) = packets.split_first()?;
    if *title != b"packfile\n" {
        return None;
    }
    let mut pack = Vec::new();
    for packet in packets {
        match packet.split_first()? {
            (1, bytes) => pack.extend(bytes),
            // What is said about progress.
            (2, _) => {}
            _ => return None,
        }
    }
    Some(pack)
}

/// What git is to do with a pack that it is given. Either way it has to be whole: with all that its objects name, here or in
/// it. `None` when it is none.
#[must_use]
pub fn take_in(pack: &[u8]) -> Option<&'static [&'static str]> {
    let count = pack.strip_prefix(b"PACK")?.get(4..8)?;
    let count = u32::from_be_bytes(count.try_into().ok()?);
    Some(if count < LEAST_PACKED {
        &["unpack-objects", "-q", "--strict"]
    } else {
        &["index-pack", "--stdin", "--fix-thin", "--strict"]
    })
}

/// One push: what was asked for, and what is known of it before and after the remote has spoken.
pub struct Push<'a> {
    updates: &'a [&'a RefUpdate],
    atomic: bool,
    /// Nothing is sent unless all can be.
    whole: bool,
    sent: bool,
    /// What all of it needs, made while the remote's program starts.
    pack: Option<Result<Vec<u8>, String>>,
    /// Of those that were not sent: why not.
    decided: BTreeMap<String, PushOutcome>,
}

impl<'a> Push<'a> {
    /// A push of these updates, of which no two name the same ref.
    #[must_use]
    pub fn new(updates: &'a [&'a RefUpdate], atomic: bool) -> Self {
        Push { updates, atomic, whole: false, sent: false, pack: None, decided: BTreeMap::new() }
    }

    /// The same to a `receive-pack` that has spoken some time ago. What it said is no reason to refuse anything: where it does
    /// not fit, nothing is sent.
    #[must_use]
    pub fn to_one_that_waits(updates: &'a [&'a RefUpdate], atomic: bool) -> Self {
        Push { whole: true, ..Push::new(updates, atomic) }
    }

    /// Whether anything was sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// What `receive-pack` is to be told, once it has said all that it says at first; `None` before. What does not fit to
    /// what it says is not sent.
    pub fn request(
        &mut self,
        said: &[u8],
        pack: impl Fn(&[Oid], &[Oid]) -> Result<Vec<u8>, String>,
    ) -> Option<Vec<u8>> {
        let pack = |updates: &[&RefUpdate]| {
            let commits: Vec<Oid> = updates.iter().filter_map(|update| update.new).collect();
            let known: Vec<Oid> = updates.iter().filter_map(|update| update.expected).collect();
            if commits.is_empty() { Ok(Vec::new()) } else { pack(&commits, &known) }
        };
        let whole = self.pack.take().unwrap_or_else(|| pack(self.updates));
        // It waits for us now, or has not got so far; looked at first, because a listing may be long.
        let Some((lines, _)) = said.ends_with(b"0000").then(|| section(said)).flatten() else {
            self.pack = Some(whole);
            return None;
        };
        let remote = Advertised::read(&lines);
        self.decide(&remote);
        let sent = self.to_send();
        if sent.is_empty() || (self.whole && sent.len() < self.updates.len()) {
            return Some(b"0000".to_vec());
        }
        // Where less is sent, what the remote was expected to have may not be there.
        match if sent.len() == self.updates.len() { whole } else { pack(&sent) } {
            Ok(pack) => {
                self.sent = true;
                Some(commands(&sent, self.atomic, &pack))
            }
            Err(why) => {
                for update in sent {
                    self.decided.insert(update.name.clone(), PushOutcome::Unknown(why.clone()));
                }
                Some(b"0000".to_vec())
            }
        }
    }

    /// Decides what need not be sent, with the words that git's client has for it.
    fn decide(&mut self, remote: &Advertised) {
        let refused = |why: &str| PushOutcome::Refused(format!("[rejected] ({why})"));
        let lacks = if !remote.has("report-status") {
            Some("the remote does not report what became of a push")
        } else if self.atomic && !remote.has("atomic") {
            Some("the remote does not support atomic pushes")
        } else {
            None
        };
        for update in self.updates {
            let outcome = if let Some(why) = lacks {
                refused(why)
            } else if remote.refs.get(&update.name).copied() != update.expected {
                refused("stale info")
            } else if update.expected == update.new {
                // It only says that the remote holds this object, whoever put it there.
                PushOutcome::Unknown("[up to date]".to_owned())
            } else {
                continue;
            };
            self.decided.insert(update.name.clone(), outcome);
        }
        let fails = |outcome: &PushOutcome| matches!(outcome, PushOutcome::Refused(_));
        if self.atomic && self.decided.values().any(fails) {
            for update in self.updates {
                self.decided.entry(update.name.clone()).or_insert_with(|| refused("atomic push failed"));
            }
        }
    }

    fn to_send(&self) -> Vec<&'a RefUpdate> {
        let open = |update: &&&RefUpdate| !self.decided.contains_key(&update.name);
        self.updates.iter().filter(open).copied().collect()
    }

    /// What became of each ref that was decided here, or that the remote's whole answer names.
    #[must_use]
    pub fn outcomes(self, said: &[u8]) -> BTreeMap<String, PushOutcome> {
        let mut outcomes = self.decided;
        let report = section(said).and_then(|(_, rest)| section(rest)).map(|(lines, _)| lines);
        for line in report.unwrap_or_default() {
            let line = String::from_utf8_lossy(line);
            let mut words = line.trim_end_matches('\n').splitn(3, ' ');
            let (word, name, why) = (words.next(), words.next(), words.next());
            let outcome = match (word, why) {
                (Some("ok"), None) => PushOutcome::Accepted,
                (Some("ng"), why) => {
                    let why = super::failure::clean(why.unwrap_or("failed"));
                    PushOutcome::Refused(format!("[remote rejected] ({why})"))
                }
                _ => continue,
            };
            parse::note(&mut outcomes, name.unwrap_or_default().to_owned(), outcome);
        }
        outcomes
    }
}

/// The commands of a push and what they need. Deletions alone are sent without a pack.
fn commands(updates: &[&RefUpdate], atomic: bool, pack: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    for (at, update) in updates.iter().enumerate() {
        let oid = |oid: Option<Oid>| oid.unwrap_or(Oid([0; 20]));
        let mut line = format!("{} {} {}", oid(update.expected), oid(update.new), update.name);
        if at == 0 {
            line.push_str("\0 report-status");
            line.push_str(if atomic { " atomic" } else { "" });
        }
        request.extend(packet(line.as_bytes()));
    }
    request.extend(b"0000");
    request.extend(pack);
    request
}

/// What `receive-pack` says at first.
#[derive(Default)]
struct Advertised {
    refs: BTreeMap<String, Oid>,
    abilities: Vec<String>,
}

impl Advertised {
    /// Lines `<object> SP <ref>`, the first with NUL and its abilities. What is no ref is left out.
    fn read(lines: &[&[u8]]) -> Self {
        let mut remote = Advertised::default();
        for line in lines {
            let text = String::from_utf8_lossy(line);
            let text = text.trim_end_matches('\n');
            let (text, abilities) = text.split_once('\0').unwrap_or((text, ""));
            remote.abilities.extend(abilities.split_whitespace().map(str::to_owned));
            if let Some((oid, name)) = text.split_once(' ')
                && let Some(oid) = Oid::parse(oid)
                && parse::is_ref_name(name)
            {
                remote.refs.insert(name.to_owned(), oid);
            }
        }
        remote
    }

    fn has(&self, ability: &str) -> bool {
        self.abilities.iter().any(|known| known == ability)
    }
}

/// A packet: its length with these four digits, and its bytes. Ours are short: the longest is a command with a ref name.
fn packet(bytes: &[u8]) -> Vec<u8> {
    let mut packet = format!("{:04x}", bytes.len() + 4).into_bytes();
    packet.extend(bytes);
    packet
}

/// The packets before the next end of a section (`0000`), and what follows it. `None` while that has not come, or when these
/// are no packets.
fn section(mut bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut packets = Vec::new();
    loop {
        let (length, rest) = bytes.split_at_checked(4)?;
        match usize::from_str_radix(std::str::from_utf8(length).ok()?, 16).ok()? {
            0 => return Some((packets, rest)),
            length => {
                let (packet, rest) = rest.split_at_checked(length.checked_sub(4)?)?;
                packets.push(packet);
                bytes = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "0123456789abcdef0123456789abcdef01234567";
    const B: &str = "89abcdef0123456789abcdef0123456789abcdef";

    fn oid(text: &str) -> Option<Oid> {
        Some(Oid::parse(text).unwrap())
    }

    fn lines(lines: &[&str]) -> Vec<u8> {
        let mut bytes: Vec<u8> = lines.iter().flat_map(|line| packet(line.as_bytes())).collect();
        bytes.extend(b"0000");
        bytes
    }

    fn hello(abilities: &str) -> Vec<u8> {
        lines(&[&format!("{A} refs/a\0{abilities}\n"), &format!("{B} refs/b\n"), &format!("{B} .have\n")])
    }

    fn update(name: &str, expected: Option<Oid>, new: Option<Oid>) -> RefUpdate {
        RefUpdate { name: name.to_owned(), expected, new }
    }

    fn no_pack(_: &[Oid], _: &[Oid]) -> Result<Vec<u8>, String> {
        Err("nothing is packed here".to_owned())
    }

    /// `receive-pack` deletes a ref whatever it holds when the expected object is not there; so a push that does not fit
    /// to what it says must never reach it.
    #[test]
    fn what_does_not_fit_to_the_remote_is_not_sent() {
        let hello = hello("report-status delete-refs");
        let stale = [
            update("refs/a", oid(B), None),
            update("refs/b", None, oid(A)),
            update("refs/c", oid(A), None),
            update("refs/d", oid(A), oid(B)),
        ];
        let same = update("refs/b", oid(B), oid(B));
        let all: Vec<&RefUpdate> = [&stale[0], &same, &stale[2], &stale[3]].into();
        let mut push = Push::new(&all, false);
        assert_eq!(push.request(&hello[..hello.len() - 1], no_pack), None, "it has not said all");
        assert_eq!(push.request(&hello, no_pack), Some(b"0000".to_vec()));
        let said = push.outcomes(&hello);
        for update in [&stale[0], &stale[2], &stale[3]] {
            assert_eq!(said[&update.name], PushOutcome::Refused("[rejected] (stale info)".to_owned()));
        }
        assert_eq!(said["refs/b"], PushOutcome::Unknown("[up to date]".to_owned()));
        let all = [&stale[1]];
        let mut push = Push::new(&all, false);
        assert_eq!(push.request(&hello, no_pack), Some(b"0000".to_vec()));
    }

    #[test]
    fn of_an_atomic_push_all_or_nothing_is_sent() {
        let good = update("refs/a", oid(A), None);
        let stale = update("refs/b", oid(A), None);
        for (abilities, updates, sent) in [
            ("report-status atomic", vec![&good], true),
            ("report-status atomic", vec![&good, &stale], false),
            ("report-status", vec![&good], false),
            ("atomic", vec![&good], false),
        ] {
            let mut push = Push::new(&updates, true);
            let request = push.request(&hello(abilities), no_pack).unwrap();
            assert_eq!(request != b"0000", sent, "{abilities}");
            let refused = push.outcomes(&[]).len();
            assert_eq!(refused, if sent { 0 } else { updates.len() }, "{abilities}");
        }
    }

    #[test]
    fn a_request_names_each_ref_and_carries_what_it_needs() {
        let (make, delete) = (update("refs/c", None, oid(A)), update("refs/b", oid(B), None));
        let all = [&make, &delete];
        let mut push = Push::new(&all, false);
        let pack = |commits: &[Oid], known: &[Oid]| {
            assert_eq!((commits, known), (&[oid(A).unwrap()][..], &[oid(B).unwrap()][..]));
            Ok(b"PACK".to_vec())
        };
        let request = push.request(&hello("report-status atomic"), pack).unwrap();
        let (lines, pack) = section(&request).unwrap();
        let zero = Oid([0; 20]);
        assert_eq!(lines[0], format!("{zero} {A} refs/c\0 report-status").as_bytes());
        assert_eq!(lines[1], format!("{B} {zero} refs/b").as_bytes());
        assert_eq!(pack, b"PACK");
        let mut push = Push::new(&all, false);
        assert_eq!(push.request(&hello("report-status"), no_pack), Some(b"0000".to_vec()));
        assert!(push.outcomes(&[]).values().all(|outcome| matches!(outcome, PushOutcome::Unknown(_))));
    }

    #[test]
    fn a_report_is_read_and_half_of_one_is_none() {
        let report =
            lines(&["unpack ok\n", "ok refs/a\n", "ng refs/b hook declined\n", "ok refs/c what\n", "odd\n"]);
        let whole = [hello("report-status"), report].concat();
        let said = Push::new(&[], false).outcomes(&whole);
        assert_eq!(said.len(), 2);
        assert_eq!(said["refs/a"], PushOutcome::Accepted);
        assert_eq!(said["refs/b"], PushOutcome::Refused("[remote rejected] (hook declined)".to_owned()));
        assert!(Push::new(&[], false).outcomes(&whole[..whole.len() - 1]).is_empty());
    }

    #[test]
    fn a_fetched_pack_is_whole_or_none() {
        let hello = lines(&["version 2\n", "agent=git/2\n", "fetch=shallow\n"]);
        let answer = |packets: &[&str]| [hello.clone(), lines(packets)].concat();
        let whole = answer(&["packfile\n", "\u{1}PACK", "\u{2}counting", "\u{1}rest"]);
        assert_eq!(fetched(&whole), Some(b"PACKrest".to_vec()));
        assert_eq!(fetched(&whole[..whole.len() - 1]), None);
        assert_eq!(fetched(&answer(&["packfile\n", "\u{1}PACK", "\u{3}out of memory"])), None, "an error");
        assert_eq!(fetched(&answer(&["acknowledgments\n", "NAK\n"])), None, "another section");
        assert_eq!(fetched(&hello), None);
        let (a, b) = (oid(A).unwrap(), oid(B).unwrap());
        let want = format!(
            "0012command=fetch\n0001000ethin-pack\n000eofs-delta\n0010no-progress\n\
             0032want {A}\n0032have {B}\n0009done\n00000000"
        );
        assert_eq!(String::from_utf8(fetch_request(&[a], &[b])).unwrap(), want);
    }

    #[test]
    fn few_objects_are_taken_in_one_by_one_and_many_together() {
        let pack = |count: u32| [b"PACK\0\0\0\x02".to_vec(), count.to_be_bytes().to_vec()].concat();
        assert_eq!(take_in(&pack(LEAST_PACKED - 1)).unwrap()[0], "unpack-objects");
        assert_eq!(take_in(&pack(LEAST_PACKED)).unwrap()[0], "index-pack");
        assert_eq!(take_in(b"PACK\0\0\0\x02\0\0"), None);
        assert_eq!(take_in(b"no pack at all"), None);
    }

    #[test]
    fn a_listing_is_whole_or_none() {
        let hello = lines(&["version 2\n", "agent=git/2\n", "ls-refs\n"]);
        let refs = lines(&[
            &format!("{A} refs/a\n"),
            &format!("{B} HEAD symref-target:refs/a\n"),
            &format!("{B} refs/b peeled:{A}\n"),
        ]);
        let whole = [hello, refs.clone()].concat();
        let (a, b) = (oid(A).unwrap(), oid(B).unwrap());
        assert_eq!(listing(&whole), Some(vec![("refs/a".to_owned(), a), ("refs/b".to_owned(), b)]));
        assert_eq!(listing(&whole[..whole.len() - 4]), None);
        assert_eq!(listing(&refs), None, "another protocol");
        let asked = listing_request(&["refs/x/", "refs/y"]);
        let want = "0014command=ls-refs\n00010017ref-prefix refs/x/\n0016ref-prefix refs/y\n00000000";
        assert_eq!(String::from_utf8(asked).unwrap(), want);
    }

    proptest! {
        /// No answer panics, and a success needs the remote's word for it.
        #[test]
        fn arbitrary_answers(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let wanted = update("refs/a", None, oid(A));
            let all = [&wanted];
            let mut push = Push::new(&all, false);
            let _ = push.request(&bytes, no_pack);
            let accepted = push.outcomes(&bytes).values().any(|outcome| *outcome == PushOutcome::Accepted);
            prop_assert!(!accepted || bytes.windows(3).any(|word| word == b"ok "));
            let _ = (listing(&bytes), fetched(&bytes), take_in(&bytes));
        }
    }
}
