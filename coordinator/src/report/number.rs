//! Numbers as people read them: thousands separators, a real minus sign, as many decimals as the metric deserves.

use secateur_proto::metrics::Metric;

use super::statistics::Summary;

/// Integer digits in groups of three: `10,305`.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `value` with so many decimals, grouped, with a real minus sign. What is too large to read in full is in powers of ten.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() || value.abs() >= 1e15 {
        return format!("{value:.3e}").replace('-', "−");
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), grouped);
    let minus = if value < 0.0 && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) { "−" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{minus}{whole}{point}{fraction}")
}

/// The same with a sign on positive numbers too.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let zero = !text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if value > 0.0 && !zero { format!("+{text}") } else { text }
}

/// Decimals that a value of `metric` is printed with. A mean of counts has one.
pub(super) fn decimals(metric: Metric, value: f64) -> usize {
    match metric.decimals() {
        0 if value.fract() != 0.0 => 1,
        decimals => decimals,
    }
}

/// A value of `metric`.
pub(super) fn of_metric(metric: Metric, value: f64) -> String {
    fixed(value, decimals(metric, value))
}

/// A mean and its interval: `0.7573 [0.7561, 0.7585]`; one value has no interval, and equal values need none.
pub(super) fn summary(metric: Metric, summary: &Summary) -> String {
    let mean = of_metric(metric, summary.mean);
    match summary.ci95 {
        Some([low, high]) if low < high => format!("{mean} {}", interval(metric, [low, high], fixed)),
        _ => mean,
    }
}

/// A difference and its interval: `−0.0004 [−0.0011, +0.0003]`.
pub(super) fn difference(metric: Metric, summary: &Summary) -> String {
    let mean = signed(summary.mean, decimals(metric, summary.mean));
    summary.ci95.map_or_else(|| mean.clone(), |bounds| format!("{mean} {}", interval(metric, bounds, signed)))
}

fn interval(metric: Metric, [low, high]: [f64; 2], print: fn(f64, usize) -> String) -> String {
    format!("[{}, {}]", print(low, decimals(metric, low)), print(high, decimals(metric, high)))
}

/// A share of weights: at least two decimals, and no more than it has.
pub(super) fn sparsity(value: f64) -> String {
    let plain = value.to_string();
    let decimals = plain.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    format!("{value:.*}", decimals.clamp(2, 6))
}

/// A setting as one would write it: `0.75`, `1e-5`.
pub(super) fn shortest(value: f64) -> String {
    let small = value != 0.0 && value.abs() < 1e-3;
    if small || value.abs() >= 1e9 { format!("{value:e}") } else { value.to_string() }
}

/// A probability that was found by drawing, so that neither end is certain: `0.83`, `> 0.99`.
pub(super) fn probability(value: f64) -> String {
    match value {
        value if value < 0.005 => "< 0.01".to_owned(),
        value if value > 0.995 => "> 0.99".to_owned(),
        value => fixed(value, 2),
    }
}

/// `1 seed`, `3 seeds`.
pub(super) fn count(number: u64, one: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {one}{ending}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_threes() {
        assert_eq!([0, 999, 1_000, 10_305, 1_234_567].map(grouped), ["0", "999", "1,000", "10,305", "1,234,567"]);
        assert_eq!(fixed(-12_345.678, 1), "−12,345.7");
        assert_eq!(fixed(f64::MAX, 2), "1.798e308");
    }

    #[test]
    fn what_rounds_to_zero_has_no_sign() {
        assert_eq!([signed(-0.00004, 4), signed(0.00004, 4)], ["0.0000", "0.0000"]);
        assert_eq!([signed(-0.0004, 4), signed(0.0003, 4)], ["−0.0004", "+0.0003"]);
    }

    #[test]
    fn sparsities_keep_their_digits() {
        assert_eq!([0.5, 0.75, 0.984_375, 0.0].map(sparsity), ["0.50", "0.75", "0.984375", "0.00"]);
    }
}
