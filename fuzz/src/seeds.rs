//! Replays the seeds, and every crash that became one, without a fuzzer.

use std::fs;
use std::path::Path;

type Law = (&'static str, fn(&[u8]));

const LAWS: [Law; 6] = [
    ("edit", crate::edit::holds),
    ("merge", crate::merge::holds),
    ("policy", crate::policy::holds),
    ("settings", crate::settings::holds),
    ("table", crate::table::holds),
    ("task_file", crate::task_file::holds),
];

#[test]
fn every_law_holds_for_its_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, law) in LAWS {
        let folder = root.join("corpus").join(name);
        let seeds: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(seeds.len() >= 3, "only {} seeds in {}", seeds.len(), folder.display());
        for seed in seeds {
            eprintln!("{}", seed.display());
            law(&fs::read(&seed).unwrap());
        }
        assert!(root.join("fuzz_targets").join(name).with_extension("rs").exists());
    }
}
