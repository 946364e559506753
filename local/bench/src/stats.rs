//! Percentiles and medians of measured values.

/// The value that `share` (0.0 to 1.0) of all values do not exceed, by the nearest rank. 0 without
/// values.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousand values, and a rank between 0 and their number"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The middle value, or the mean of the two middle values. 0 without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half), sorted.len() % 2) {
        (Some(upper), 0) => f64::midpoint(sorted[half - 1], *upper),
        (Some(middle), _) => *middle,
        (None, _) => 0.0,
    }
}

/// The median over all rounds of a percentile within each round. 0 without rounds.
pub(crate) fn median_over_rounds(rounds: &[Vec<f64>], share: f64) -> f64 {
    median(&rounds.iter().map(|round| percentile(round, share)).collect::<Vec<_>>())
}

/// The arithmetic mean. 0 without values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / usize_to_f64(values.len()) }
}

/// A count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
pub(crate) fn usize_to_f64(n: usize) -> f64 {
    n as f64
}

/// A fake's count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts here stay far below 2^52")]
pub(crate) fn u64_to_f64(n: u64) -> f64 {
    n as f64
}

/// A duration in milliseconds.
pub(crate) fn to_milliseconds(span: std::time::Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_close(percentile(&values, 0.5), 50.0);
        assert_close(percentile(&values, 0.95), 95.0);
        assert_close(percentile(&values, 0.99), 99.0);
        assert_close(percentile(&values, 1.0), 100.0);
        assert_close(percentile(&[7.0], 0.01), 7.0);
    }

    #[test]
    fn a_median_of_an_even_number_lies_between() {
        assert_close(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_close(median(&[9.0, 1.0, 5.0]), 5.0);
    }

    #[test]
    fn one_bad_round_does_not_move_the_overall_figure() {
        let rounds = [vec![1.0, 2.0, 3.0], vec![2.0, 3.0, 4.0], vec![100.0, 200.0, 300.0]];
        assert_close(median_over_rounds(&rounds, 0.99), 4.0);
        assert_close(median_over_rounds(&rounds, 0.5), 3.0);
        assert_close(median_over_rounds(&[], 0.5), 0.0);
    }

    #[test]
    fn nothing_measured_is_zero_and_no_panic() {
        assert_close(percentile(&[], 0.99) + median(&[]) + mean(&[]), 0.0);
    }
}
