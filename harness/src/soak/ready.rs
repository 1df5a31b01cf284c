//! What the computer can do, measured before a run: outside its preconditions a run is invalid, not passed.

use std::io::Write;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::place::Place;
use super::profile::Profile;

/// What was measured.
pub struct Measured {
    /// Writing and syncing a small file.
    pub fsync: Histogram,
    /// Pushing one ref by path.
    pub push: Histogram,
}

impl Measured {
    /// Why a run would be invalid here.
    #[must_use]
    pub fn complaints(&self, profile: &Profile) -> Vec<String> {
        let limits = &profile.preconditions;
        let pairs = [
            ("writing and syncing a small file", &self.fsync, limits.fsync_p99.0),
            ("pushing one ref by path", &self.push, limits.push_p99.0),
        ];
        let slow = |(what, histogram, limit): &(&str, &Histogram, Duration)| {
            let p99 = histogram.quantile(0.99).unwrap_or(Duration::MAX);
            (p99 > *limit)
                .then(|| format!("{what} takes {p99:?} at the 99th percentile, more than {limit:?}"))
        };
        pairs.iter().filter_map(slow).collect()
    }
}

/// Measures.
///
/// # Errors
/// Something does not work at all.
pub fn measure(place: &Place) -> Result<Measured, String> {
    Ok(Measured { fsync: fsync(place)?, push: push(place)? })
}

fn fsync(place: &Place) -> Result<Histogram, String> {
    let path = place.world("tmp/fsync");
    let shown = |why: std::io::Error| format!("{}: {why}", path.display());
    let mut histogram = Histogram::default();
    for _ in 0..100 {
        let start = Instant::now();
        let mut file = std::fs::File::create(&path).map_err(shown)?;
        file.write_all(&[b'x'; 1024]).and_then(|()| file.sync_all()).map_err(shown)?;
        histogram.record(start.elapsed());
    }
    std::fs::remove_file(&path).map_err(shown)?;
    Ok(histogram)
}

fn push(place: &Place) -> Result<Histogram, String> {
    let (from, to) = (place.world("tmp/from.git"), place.world("tmp/to.git"));
    for dir in [&from, &to] {
        drop(std::fs::remove_dir_all(dir));
        std::fs::create_dir_all(dir).map_err(|why| format!("{}: {why}", dir.display()))?;
        place.git(dir, &["init", "--quiet", "--bare"])?;
    }
    let tree = place.git(&from, &["mktree"])?;
    let commit = place.git(&from, &["commit-tree", tree.trim(), "-m", "x"])?;
    let mut histogram = Histogram::default();
    for n in 0..20 {
        let start = Instant::now();
        let spec = format!("{}:refs/soak/{n}", commit.trim());
        place.git(&from, &["push", "--quiet", &to.display().to_string(), &spec])?;
        histogram.record(start.elapsed());
    }
    for dir in [&from, &to] {
        drop(std::fs::remove_dir_all(dir));
    }
    Ok(histogram)
}
