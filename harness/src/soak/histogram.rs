//! Latencies in buckets whose width grows with the value, as HDR histograms have them: 32 per doubling, so that a
//! percentile is at most about 3 % above the true one. They add up, and they survive in a checkpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Buckets of one doubling, as a power of two.
const BITS: u32 = 5;

/// Counts of durations in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    buckets: BTreeMap<u32, u64>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(micros)).or_default() += 1;
        self.count += 1;
        self.max = self.max.max(micros);
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Histogram) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that this share (0 to 1) does not exceed; `None` when nothing was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are far below 2^52 and the product is not negative"
        )]
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Some(Duration::from_micros(upper(*bucket).min(self.max)));
            }
        }
        None
    }

    /// Count, percentiles and maximum in milliseconds.
    #[must_use]
    pub fn summary(&self) -> Value {
        let ms = |share| self.quantile(share).map(|span| span.as_secs_f64() * 1000.0);
        json!({"count": self.count, "p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "p999": ms(0.999), "max": ms(1.0)})
    }
}

fn bucket(micros: u64) -> u32 {
    let shift = (64 - micros.leading_zeros()).saturating_sub(BITS + 1);
    let inside = u32::try_from(micros >> shift).unwrap_or(u32::MAX);
    (shift << BITS) + inside
}

/// The largest value that falls into a bucket.
fn upper(bucket: u32) -> u64 {
    let shift = (bucket >> BITS).saturating_sub(1);
    let inside = u64::from(bucket - (shift << BITS));
    ((inside + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_the_true_one_within_four_percent(mut values in proptest::collection::vec(0_u64..1 << 40, 1..300), share in 0.0_f64..=1.0) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.record(Duration::from_micros(*value));
            }
            values.sort_unstable();
            let rank = ((values.len() as f64 * share).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let found = histogram.quantile(share).unwrap().as_micros() as u64;
            prop_assert!(found >= exact, "{found} {exact}");
            prop_assert!(found as f64 <= exact as f64 * 1.04, "{found} {exact}");
        }
    }

    #[test]
    fn two_halves_make_the_whole() {
        let (mut a, mut b, mut both) = (Histogram::default(), Histogram::default(), Histogram::default());
        for n in 0..1000_u64 {
            let span = Duration::from_micros(n * n);
            if n % 2 == 0 {
                a.record(span);
            } else {
                b.record(span);
            }
            both.record(span);
        }
        a.add(&b);
        assert_eq!(a, both);
        assert_eq!(serde_json::from_str::<Histogram>(&serde_json::to_string(&a).unwrap()).unwrap(), both);
    }

    #[test]
    fn nothing_counted_has_no_percentile() {
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
