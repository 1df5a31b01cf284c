//! The slope of a series by Theil and Sen: the median of the slopes between all pairs of points, which single outliers
//! do not move, with the interval in which it lies with 95 % confidence.

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
    // Sen's interval: the slopes whose ranks are this far from the middle. Kendall's variance gives the distance.
    let n = count(points.len());
    let spread = 1.96 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let all = count(slopes.len());
    let at = |rank: f64| slopes[index(rank.clamp(0.0, all - 1.0))];
    Some(Slope {
        median: at((all - 1.0) / 2.0),
        low: at((all - spread) / 2.0 - 1.0),
        high: at((all + spread) / 2.0),
    })
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
