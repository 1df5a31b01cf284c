//! How fast the harness itself is: simulated calls and states of the model per second. `cargo bench -p orch-harness`.

#![expect(missing_docs, reason = "made by a macro of criterion")]

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orch_harness::drive;
use orch_harness::model::{self, Bound, Guards};
use orch_harness::sim::plan::{Plan, Profile};

/// Whole runs. The name says how much virtual time one holds; what is counted are calls of ports.
fn simulation(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulation");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, profile) in [("calm", Profile::Calm), ("short", Profile::Short)] {
        let plan = Plan::draw(1, profile, None);
        let outcome = drive::run(&plan);
        assert!(outcome.violations.is_empty(), "{:?}", outcome.violations);
        let minutes = Duration::from_micros(outcome.virtual_time).as_secs() / 60;
        group.throughput(Throughput::Elements(outcome.calls));
        group.bench_function(format!("{name}, {minutes} virtual minutes"), |b| b.iter(|| drive::run(&plan)));
    }
    group.finish();
}

/// The smallest bound that has everybody in it.
fn states(c: &mut Criterion) {
    let mut group = c.benchmark_group("model");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    let search =
        || model::run(Bound::small(), Guards::default(), &mut |_, _, _| {}).map(|outcome| outcome.states);
    let count = search().unwrap_or_else(|why| panic!("{why}"));
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("small bound", |b| b.iter(search));
    group.finish();
}

criterion_group!(benches, simulation, states);
criterion_main!(benches);
