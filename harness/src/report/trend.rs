//! The slope of a series by Theil and Sen: the median of the slopes between all pairs of points, which single outliers
//! do not move, with the interval in which it lies with 95 % confidence.
//!
//! Samples of a process follow each other closely: what a heap has grown by it keeps for a while. Taken as independent they
//! make noise look like a trend, so the interval is widened by what they repeat of each other: by the factor of Bayley and
//! Hammersley (1946) for noise of which each sample keeps a part of the one before, as Yue and Wang (Water Resources Management
//! 18, 2004) use it for this very test.

/// A slope and its interval of confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// The median slope, in units of y per unit of x.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// More points than this are thinned out evenly: pairs grow with the square.
const MOST: usize = 400;

/// The slope of points (x, y). `None` with fewer than three points that differ in x.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<Slope> {
    let step = points.len().div_ceil(MOST).max(1);
    let points: Vec<(f64, f64)> = points.iter().step_by(step).copied().collect();
    let mut slopes = Vec::new();
    for (at, (x1, y1)) in points.iter().enumerate() {
        let later = points[at + 1..].iter().filter(|(x2, _)| x2 != x1);
        slopes.extend(later.map(|(x2, y2)| (y2 - y1) / (x2 - x1)));
    }
    if slopes.len() < 3 {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let all = count(slopes.len());
    let at = |rank: f64| slopes[index(rank.clamp(0.0, all - 1.0))];
    let median = at((all - 1.0) / 2.0);
    // Sen's interval: the slopes whose ranks are this far from the middle. Kendall's variance gives the distance.
    let n = count(points.len());
    let residues: Vec<f64> = points.iter().map(|(x, y)| y - median * x).collect();
    let spread = 1.96 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0 * repetition(&residues)).sqrt();
    Some(Slope { median, low: at((all - spread) / 2.0 - 1.0), high: at((all + spread) / 2.0) })
}

/// By what the variance of a trend grows because each value keeps a part of the one before, and 1 where it does not. The values
/// are what a line has left over, which makes their correlation smaller than it is by about (2 + 4ρ)/n (van Giersbergen,
/// Economics Letters 89, 2005; the tests below count what comes of it). Of ranks, because a single outlier would hide it.
fn repetition(values: &[f64]) -> f64 {
    let ranks = ranks(values);
    let n = count(ranks.len());
    let mean = ranks.iter().sum::<f64>() / n;
    let away: Vec<f64> = ranks.iter().map(|rank| rank - mean).collect();
    let together = |lag: usize| away.iter().zip(&away[lag..]).map(|(one, other)| one * other).sum::<f64>();
    if together(0) == 0.0 {
        return 1.0;
    }
    let seen = together(1) / together(0);
    let kept = (seen + (2.0 + 4.0 * seen) / n).clamp(0.0, 0.99);
    (1.0 + kept) / (1.0 - kept)
}

/// The rank of each value, from 0; equal ones share the middle of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let less = |value: f64| values.iter().filter(|other| **other < value).count();
    let same = |value: f64| values.iter().filter(|other| **other == value).count();
    values.iter().map(|value| count(less(*value)) + (count(same(*value)) - 1.0) / 2.0).collect()
}

/// The slope of the last half of the points: what a run settles into, without its warm-up.
#[must_use]
pub fn last_half(points: &[(f64, f64)]) -> Option<Slope> {
    slope(&points[points.len() / 2..])
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples are far below 2^52")]
fn count(of: usize) -> f64 {
    of as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is clamped to the length"
)]
fn index(rank: f64) -> usize {
    rank.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wild_point_does_not_move_the_slope_of_a_line() {
        let mut points: Vec<(f64, f64)> = (0..50).map(|x| (f64::from(x), f64::from(x) * 2.0 + 1.0)).collect();
        points[20].1 = 1e9;
        let found = slope(&points).unwrap();
        assert!((found.median - 2.0).abs() < 1e-9, "{found:?}");
        assert!(found.low <= 2.0 && found.high >= 2.0);
    }

    #[test]
    fn noise_around_a_level_has_no_slope_worth_the_name() {
        let points: Vec<(f64, f64)> = (0..200).map(|x| (f64::from(x), f64::from((x * 7919) % 101))).collect();
        let found = slope(&points).unwrap();
        assert!(found.low <= 0.0 && found.high >= 0.0, "{found:?}");
    }

    /// Uniform numbers from -0.5 to 0.5, always the same ones.
    fn noise(mut seed: u64) -> impl FnMut() -> f64 {
        move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(seed >> 32).expect("half of it")) / f64::from(u32::MAX) - 0.5
        }
    }

    /// A level with noise of which each sample keeps so much of the one before, beside a leak per sample.
    fn series(seed: u64, kept: f64, leak: f64) -> Vec<(f64, f64)> {
        let (mut noise, mut now) = (noise(seed), 0.0);
        let mut point = |x: u32| {
            now = kept * now + noise();
            (f64::from(x), now + leak * f64::from(x))
        };
        (0..60).map(&mut point).collect()
    }

    /// Of three soaks of one program one had a memory that grew by 3.9 MiB per hour "for certain", one by 2.2 and one not at
    /// all: samples that follow each other were counted as independent ones.
    #[test]
    fn noise_that_lasts_is_no_trend() {
        let alarms = |kept: f64| {
            let certain = |seed: &u64| slope(&series(*seed, kept, 0.0)).is_some_and(|found| found.low > 0.0);
            (0..400).filter(certain).count()
        };
        // One end of an interval of 95 %: ten of four hundred. (Taken as independent: 7, 41 and 73.)
        for (kept, most) in [(0.0, 15), (0.5, 15), (0.75, 20)] {
            assert!(alarms(kept) <= most, "{} alarms where {kept} is kept", alarms(kept));
        }
    }

    #[test]
    fn a_leak_is_found_beneath_noise_that_lasts() {
        // Five minutes of a sample every five seconds; in them it grows by three times what the noise jumps at most.
        let found = |seed: &u64| slope(&series(*seed, 0.5, 0.05)).is_some_and(|found| found.low > 0.0);
        assert!((0..100).filter(found).count() >= 95);
    }

    /// A heap grows in steps: four megabytes every half an hour of a day are eight an hour, and no noise.
    #[test]
    fn a_leak_in_steps_is_found() {
        let mut noise = noise(7);
        let sample = |n: u32| {
            let hours = f64::from(n) / 60.0;
            (hours, (hours * 2.0).floor() * 4.0 + 2.0 * noise())
        };
        let day: Vec<(f64, f64)> = (0..24 * 60).map(sample).collect();
        let found = last_half(&day).unwrap();
        assert!((found.median - 8.0).abs() < 0.2 && found.low > 7.5, "{found:?}");
    }

    #[test]
    fn a_warm_up_is_no_trend() {
        let points: Vec<(f64, f64)> = (0..40).map(|x| (f64::from(x), f64::from(x.min(20)))).collect();
        assert!(slope(&points).unwrap().median > 0.1);
        assert!(last_half(&points).unwrap().median.abs() < 1e-9);
        assert_eq!(last_half(&[]), None);
    }

    #[test]
    fn two_points_are_no_trend() {
        assert_eq!(slope(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(slope(&[]), None);
    }
}
