//! Clock and randomness.

use std::collections::BTreeSet;
use std::time::Duration;

use orch::world::{Clock, Random};

use super::{Outcome, Statement, ensure, same, try_all};

/// What holders and observers rely on.
pub fn clock(make: &dyn Fn() -> Box<dyn Clock>) -> Vec<String> {
    const ALL: [Statement<Box<dyn Clock>>; 6] = [
        ("the wall clock counts milliseconds since 1970", |clock| {
            let year_2020 = 1_577_836_800_000;
            ensure(
                (year_2020..year_2020 * 3).contains(&clock.wall_ms()),
                "it is not a moment of this century",
            )
        }),
        ("monotonic and boottime never run backwards", |clock| {
            let mut last = (clock.monotonic(), clock.boottime());
            for _ in 0..1000 {
                let now = (clock.monotonic(), clock.boottime());
                ensure(now.0 >= last.0 && now.1 >= last.1, "one of them did")?;
                last = now;
            }
            Ok(())
        }),
        ("sleeping takes at least as long as asked, on both clocks", |clock| {
            for ms in [0, 1, 3, 20] {
                let span = Duration::from_millis(ms);
                let before = (clock.monotonic(), clock.boottime());
                clock.sleep(span);
                let took = (clock.monotonic() - before.0, clock.boottime() - before.1);
                ensure(took.0 >= span && took.1 >= span, &format!("{ms} ms took {took:?}"))?;
            }
            Ok(())
        }),
        ("boottime counts what monotonic counts, and suspend besides", |clock| {
            let monotonic = clock.monotonic();
            ensure(clock.boottime() + Duration::from_millis(1) >= monotonic, "boottime is behind")
        }),
        ("monotonic and boottime advance together while the machine runs", |clock| {
            let before = (clock.monotonic(), clock.boottime());
            clock.sleep(Duration::from_millis(20));
            let after = (clock.monotonic(), clock.boottime());
            let (one, two) = (after.0 - before.0, after.1 - before.1);
            ensure(one.abs_diff(two) < Duration::from_secs(5), &format!("{one:?} and {two:?}"))
        }),
        ("the boot has one name, which is not empty", |clock| {
            let name = clock.boot_id();
            ensure(!name.is_empty() && !name.contains(char::is_whitespace), "it is empty or has spaces")?;
            same("its name a second time", clock.boot_id(), name)
        }),
    ];
    try_all(make, &ALL)
}

/// What ids and jitter rely on. Two things from the maker stand for two processes: they must differ.
pub fn random(make: &dyn Fn() -> Box<dyn Random>) -> Vec<String> {
    const ALL: [Statement<Box<dyn Random>>; 4] = [
        ("every byte of the buffer is filled, whatever its length", fills),
        ("ten thousand ids are different", |random| {
            let ids: BTreeSet<[u8; 8]> = (0..10_000).map(|_| eight(&**random)).collect();
            same("the number of different ones", ids.len(), 10_000)
        }),
        ("each bit is set about half of the time", |random| {
            let mut counts = [0u32; 64];
            for _ in 0..4000 {
                let word = u64::from_le_bytes(eight(&**random));
                counts
                    .iter_mut()
                    .enumerate()
                    .for_each(|(bit, count)| *count += u32::from(word >> bit & 1 == 1));
            }
            // Ten standard deviations around 2000.
            let odd = counts.iter().position(|count| !(1680..=2320).contains(count));
            ensure(odd.is_none(), &format!("bit {odd:?} is not: {counts:?}"))
        }),
        ("a unit is at least 0 and less than 1, and covers what is between", |random| {
            let units: Vec<f64> = (0..2000).map(|_| random.unit()).collect();
            ensure(units.iter().all(|unit| (0.0..1.0).contains(unit)), "one is outside")?;
            let tenths: BTreeSet<u8> = units.iter().map(|unit| (unit * 10.0) as u8).collect();
            same("the number of tenths that were met", tenths.len(), 10)
        }),
    ];
    let mut failed = try_all(make, &ALL);
    let (one, two) = (make(), make());
    if eight(&*one) == eight(&*two) {
        failed.push("two sources give different bytes: both gave the same".to_owned());
    }
    failed
}

fn eight(random: &dyn Random) -> [u8; 8] {
    let mut bytes = [0u8; 8];
    random.fill(&mut bytes);
    bytes
}

#[expect(clippy::borrowed_box, reason = "the shape of a statement about boxes")]
fn fills(random: &Box<dyn Random>) -> Outcome {
    random.fill(&mut []);
    for length in [1usize, 7, 8, 9, 33, 4096] {
        let mut ever = vec![0u8; length];
        for _ in 0..40 {
            let mut bytes = vec![0u8; length];
            random.fill(&mut bytes);
            ever.iter_mut().zip(&bytes).for_each(|(seen, byte)| *seen |= byte);
        }
        ensure(ever.iter().all(|byte| *byte != 0), &format!("some of {length} bytes stay zero"))?;
    }
    Ok(())
}
