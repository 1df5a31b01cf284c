//! Try.
use orch_harness::interleave::{run, scenes, seat::Harm};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let bound = args.get(2).and_then(|t| t.parse().ok());
    let broken = args
        .get(3)
        .and_then(|name| orch_harness::sim::faults::Broken::all().find(|b| format!("{b:?}") == *name));
    for scene in scenes::SCENES.iter().filter(|s| args[1] == "all" || s.name == args[1]) {
        let out = run(scene, bound, broken, Harm::default(), |n| {
            if n % 500 == 0 {
                eprintln!("{n}")
            }
        });
        println!(
            "{} bound {:?}: {} in {:.2?}: {:?} unseen {:?} calls {:?} contended {:#?}",
            scene.name, bound, out.iterations, out.took, out.endings, out.unseen, out.calls, out.contended
        );
        if let Some((violations, trail)) = out.broken {
            for v in &violations {
                println!("  {v:?}");
            }
            if args.len() > 4 || broken.is_none() {
                for line in trail {
                    println!("    {line}");
                }
            }
        }
    }
}
