//! Reads the task files of machines as text, without any code of orch: whether machines hold the same, whether what
//! was acknowledged is there, and whether each act of a holder stands in its own epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::ledger::Told;

/// Names and bytes of the task files of a state directory.
#[must_use]
pub fn read(state: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for shard in std::fs::read_dir(state.join("tasks")).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(shard.path()).into_iter().flatten().flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            // What a killed process left behind is no task yet.
            if let Some(task) = name.strip_suffix(".yaml").filter(|_| !name.starts_with('.')) {
                files.insert(task.to_owned(), std::fs::read(file.path()).unwrap_or_default());
            }
        }
    }
    files
}

/// The whole lines of a file to which lines are appended; nothing if it is not there. A last line that is cut off, which
/// whoever wrote it told nobody, is taken out of the file.
///
/// # Errors
/// The file, and why it cannot be read or cut.
pub fn whole_lines(path: &Path) -> Result<String, String> {
    let shown = |why: std::io::Error| format!("{}: {why}", path.display());
    let mut text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(why) => return Err(shown(why)),
    };
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    if whole < text.len() {
        let file = std::fs::File::options().write(true).open(path).map_err(shown)?;
        file.set_len(whole as u64).map_err(shown)?;
        text.truncate(whole);
    }
    Ok(text)
}

/// In what the files of two machines differ, at most so many sentences.
#[must_use]
pub fn differences(a: &BTreeMap<String, Vec<u8>>, b: &BTreeMap<String, Vec<u8>>, most: usize) -> Vec<String> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let odd = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    odd.take(most)
        .map(|name| match (a.get(name), b.get(name)) {
            (Some(a), Some(b)) => {
                let (a, b) = (String::from_utf8_lossy(a), String::from_utf8_lossy(b));
                let line = a.lines().zip(b.lines()).find(|(a, b)| a != b);
                format!("{name}: {:?} and {:?}", line.map(|l| l.0), line.map(|l| l.1))
            }
            (Some(_), None) => format!("{name} is missing on the second"),
            _ => format!("{name} is missing on the first"),
        })
        .collect()
}

/// What was acknowledged and does not stand in the file of its task.
#[must_use]
pub fn missing<'t>(
    files: &BTreeMap<String, Vec<u8>>,
    told: &'t BTreeMap<String, Vec<Told>>,
) -> Vec<&'t Told> {
    let mut lost = Vec::new();
    for (task, all) in told {
        let text = files.get(task).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        lost.extend(all.iter().filter(|told| !text.contains(&told.token)));
    }
    lost
}

/// What is wrong with the order of epochs in a history.
#[must_use]
pub fn epochs(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut now, mut ended) = (0, false);
    for line in text.lines().filter(|line| line.starts_with("  - {op: ")) {
        let field = |name: &str| {
            let rest = line.split_once(&format!(", {name}: "))?.1;
            Some(rest.split([',', '}']).next().unwrap_or_default().to_owned())
        };
        let verb = field("do").unwrap_or_default();
        let Some(epoch) = field("epoch").and_then(|text| text.parse::<u64>().ok()) else { continue };
        match verb.as_str() {
            "claim" => {
                if epoch <= now {
                    wrong.push(format!("a claim of epoch {epoch} after epoch {now}"));
                }
                (now, ended) = (epoch, false);
            }
            "checkpoint" | "done" | "fail" | "release" | "recover" => {
                if epoch != now {
                    wrong.push(format!("{verb} of epoch {epoch} in epoch {now}"));
                } else if ended {
                    wrong.push(format!("{verb} after epoch {epoch} had ended"));
                }
                ended = ended || verb != "checkpoint";
            }
            _ => {}
        }
    }
    wrong
}

/// Bytes of a state directory without its local repository: what people see.
#[must_use]
pub fn visible(state: &Path) -> u64 {
    let entries = std::fs::read_dir(state).into_iter().flatten().flatten();
    let seen = entries.filter(|entry| entry.file_name() != ".git");
    seen.map(|entry| {
        entry.metadata().map_or(0, |data| if data.is_dir() { size(&entry.path()) } else { data.len() })
    })
    .sum()
}

/// Bytes of everything below a folder.
#[must_use]
pub fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            // It went away meanwhile.
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "id: T\nhistory:\n  - {op: 1, at: x, by: a, do: add, title: t}\n  \
                        - {op: 2, at: x, by: a, do: claim, epoch: 1, ttl: 5s}\n  \
                        - {op: 3, at: x, by: w, role: source, do: recover, epoch: 1, beat: 0}\n  \
                        - {op: 4, at: x, by: b, do: claim, epoch: 2}\n  \
                        - {op: 5, at: x, by: b, do: done, epoch: 2, notes: n}\nseal: 1\n";

    #[test]
    fn a_sound_history_passes_and_an_act_of_an_old_epoch_is_seen() {
        assert_eq!(epochs(GOOD), Vec::<String>::new());
        let late = GOOD.replace("do: done, epoch: 2", "do: done, epoch: 1");
        assert_eq!(epochs(&late), ["done of epoch 1 in epoch 2"]);
        let twice = GOOD.replace("do: claim, epoch: 2}", "do: release, epoch: 1}");
        assert!(epochs(&twice)[0].starts_with("release after epoch 1"), "{:?}", epochs(&twice));
        let again = GOOD.replace("do: claim, epoch: 2", "do: claim, epoch: 1");
        assert!(epochs(&again)[0].starts_with("a claim of epoch 1 after epoch 1"));
    }

    #[test]
    fn what_was_told_and_is_not_there_is_found() {
        let files = BTreeMap::from([("T".to_owned(), GOOD.as_bytes().to_vec())]);
        let told = |token: &str, task: &str| Told {
            at: 0,
            machine: 0,
            session: "s".to_owned(),
            verb: "done".to_owned(),
            task: task.to_owned(),
            epoch: 1,
            token: token.to_owned(),
            published: true,
        };
        let all = BTreeMap::from([
            ("T".to_owned(), vec![told("notes: n", "T"), told("gone", "T")]),
            ("U".to_owned(), vec![told("u", "U")]),
        ]);
        let lost: Vec<&str> = missing(&files, &all).iter().map(|told| told.token.as_str()).collect();
        assert_eq!(lost, ["gone", "u"]);
    }

    #[test]
    fn what_people_see_of_a_state_directory_is_measured_without_its_repository() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("orch.yaml", 3), ("tasks/ab/T.yaml", 40), (".git/objects/x", 500)] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![b'x'; bytes]).unwrap();
        }
        assert_eq!((visible(dir.path()), size(dir.path())), (43, 543));
    }

    #[test]
    fn differences_name_task_and_line() {
        let a = BTreeMap::from([("T".to_owned(), b"x\ny\n".to_vec()), ("U".to_owned(), Vec::new())]);
        let b = BTreeMap::from([("T".to_owned(), b"x\nz\n".to_vec())]);
        let all = differences(&a, &b, 9);
        assert!(all[0].contains("\"y\"") && all[0].contains("\"z\""), "{all:?}");
        assert!(all[1].contains("missing on the second"));
        assert_eq!(differences(&a, &a, 9), Vec::<String>::new());
    }

    #[test]
    fn half_a_line_is_taken_out_of_the_file_before_something_is_appended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("series.jsonl");
        assert_eq!(whole_lines(&path), Ok(String::new()), "none yet");
        for (before, after) in [("1\n2\n", "1\n2\n"), ("1\n2\n{\"at", "1\n2\n"), ("{", "")] {
            std::fs::write(&path, before).unwrap();
            assert_eq!(whole_lines(&path).as_deref(), Ok(after));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }
}
