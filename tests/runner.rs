//! The one integration test binary of the root crate.
//!
//! Cargo's own discovery is switched off (`autotests = false`), because every further binary links the
//! whole crate once more. A file that nobody declares here would silently never run; a test below
//! notices it.

#[cfg(test)]
mod rig;
#[cfg(test)]
mod test_add_list_show;
#[cfg(test)]
mod test_archive;
#[cfg(test)]
mod test_both_gits;
#[cfg(test)]
mod test_claim;
#[cfg(test)]
mod test_config;
#[cfg(test)]
mod test_contract;
#[cfg(test)]
mod test_crash;
#[cfg(test)]
mod test_damaged_remote;
#[cfg(test)]
mod test_deleted_on_branch;
#[cfg(test)]
mod test_demo;
#[cfg(test)]
mod test_done_fail_release;
#[cfg(test)]
mod test_exit_codes;
#[cfg(test)]
mod test_fenced;
#[cfg(test)]
mod test_full_disk;
#[cfg(test)]
mod test_gc_race;
#[cfg(test)]
mod test_hand_edits;
#[cfg(test)]
mod test_hostile_tree;
#[cfg(test)]
mod test_identical_ops;
#[cfg(test)]
mod test_init;
#[cfg(test)]
mod test_json;
#[cfg(test)]
mod test_large_merge;
#[cfg(test)]
mod test_lease_places;
#[cfg(test)]
mod test_locks_did_nothing;
#[cfg(test)]
mod test_lost_answer;
#[cfg(test)]
mod test_machine_in_memory;
#[cfg(test)]
mod test_offline;
#[cfg(test)]
mod test_prefix_bitflip;
#[cfg(test)]
mod test_queues;
#[cfg(test)]
mod test_rewound;
#[cfg(test)]
mod test_rig;
#[cfg(test)]
mod test_sample;
#[cfg(test)]
mod test_shared_files;
#[cfg(test)]
mod test_slow_link;
mod test_two_machines;
#[cfg(test)]
mod test_vanished;
#[cfg(test)]
mod test_watchdog;
#[cfg(test)]
mod test_work;
#[cfg(test)]
mod tidy;

#[cfg(test)]
mod declared {
    use std::fs;
    use std::path::Path;

    /// Test files and folders below `tests/` that `runner` does not declare.
    fn forgotten(names: &[String], runner: &str) -> Vec<String> {
        let declared: Vec<&str> = runner
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod "))
            .filter_map(|rest| rest.strip_suffix(';'))
            .collect();
        names.iter().filter(|name| !declared.contains(&name.as_str())).cloned().collect()
    }

    #[test]
    fn every_test_file_runs() {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let runner = fs::read_to_string(tests.join("runner.rs")).unwrap();
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(&tests).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let is_module = path.extension().is_some_and(|e| e == "rs") || path.join("mod.rs").exists();
            if is_module && stem != "runner" {
                names.push(stem);
            }
        }
        assert!(names.contains(&"tidy".to_owned()), "the listing of tests/ found no file: {names:?}");
        let forgotten = forgotten(&names, &runner);
        assert!(
            forgotten.is_empty(),
            "tests/runner.rs does not declare {forgotten:?}, so they never run; add `mod <name>;` for each"
        );
    }

    #[test]
    fn a_forgotten_file_is_noticed() {
        let names = ["claims".to_owned(), "tidy".to_owned()];
        assert_eq!(forgotten(&names, "mod tidy;\n// mod claims;\n"), ["claims"]);
    }
}
