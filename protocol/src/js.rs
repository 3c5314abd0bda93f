//! Numbers as JavaScript prints them, for the lines and fields that the reference formats with it.

/// `String(value)` of a JavaScript number: `10`, `0.5`, `1e+21`.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    // Both languages print the shortest digits that mean this number; only the switch to an exponent differs.
    let scientific = format!("{value:e}");
    if (-6..=20).contains(&exponent_of(&scientific)) {
        return format!("{value}");
    }
    exponential(&scientific)
}

/// Digits after which the decimal expansion of every `f64` has ended.
const ALL_DIGITS: usize = 767;

/// `value.toPrecision(digits)` of a JavaScript number, for finite values that are not negative. Halves are rounded up, as
/// JavaScript does; Rust's own formatting rounds them to even.
pub fn to_precision(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    // All digits, so that what is a half is seen to be one.
    let exact = format!("{value:.*e}", ALL_DIGITS - 1);
    let mut exponent = exponent_of(&exact);
    let expansion: Vec<u8> = exact
        .bytes()
        .take_while(|byte| *byte != b'e')
        .filter(u8::is_ascii_digit)
        .collect();
    let mut kept: Vec<u8> = expansion.iter().copied().take(digits).collect();
    if expansion.get(digits).is_some_and(|next| *next >= b'5') && round_up(&mut kept) {
        exponent += 1;
    }
    let kept: String = kept.into_iter().map(char::from).collect();
    match usize::try_from(exponent) {
        Ok(places) if places < digits => with_point(&kept, places + 1),
        Err(_) if exponent >= -6 => {
            let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
            format!("0.{}{kept}", "0".repeat(zeros))
        }
        Ok(_) | Err(_) => exponential(&format!("{}e{exponent}", with_point(&kept, 1))),
    }
}

/// Adds one to the last digit; whether that gave a further digit in front, the number then being `100…`.
fn round_up(digits: &mut [u8]) -> bool {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return false;
        }
        *digit = b'0';
    }
    if let Some(first) = digits.first_mut() {
        *first = b'1';
    }
    true
}

fn with_point(digits: &str, at: usize) -> String {
    match digits.split_at_checked(at) {
        Some((whole, rest)) if !rest.is_empty() => format!("{whole}.{rest}"),
        _ => digits.to_owned(),
    }
}

fn exponent_of(scientific: &str) -> i32 {
    scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or(0)
}

/// Rust's `1.5e-7` as JavaScript's `1.5e-7`, `1.5e21` as `1.5e+21`.
fn exponential(text: &str) -> String {
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => {
            format!("{mantissa}e+{exponent}")
        }
        _ => text.to_owned(),
    }
}

/// Bytes as `dataclip_size_mb` (protocol spec, section 4.9): three significant digits; `None` for nothing.
pub fn size_mb(bytes: u64) -> Option<String> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "three significant digits are printed"
    )]
    let mb = bytes as f64 / 1_048_576.0;
    (bytes > 0).then(|| to_precision(mb, 3))
}

/// Bytes that [`size_mb`] prints so; `likely` if it is one of several. `None` for what is no number.
pub fn bytes_of_mb(mb: &str, likely: u64) -> Option<u64> {
    if size_mb(likely).as_deref() == Some(mb) {
        return Some(likely);
    }
    let bytes = mb.parse::<f64>().ok()? * 1_048_576.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, and no size is below nothing"
    )]
    Some(bytes.round() as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_size_that_is_read_back_prints_the_same(bytes in prop_oneof![1_u64..5000, 1_u64..1 << 40]) {
            let mb = size_mb(bytes).unwrap();
            prop_assert_eq!(size_mb(bytes_of_mb(&mb, 0).unwrap()), Some(mb.clone()));
            prop_assert_eq!(bytes_of_mb(&mb, bytes), Some(bytes));
        }
    }

    #[test]
    fn numbers_print_like_javascript() {
        for (value, text) in [
            (10.0, "10"),
            (0.5, "0.5"),
            (300.0, "300"),
            (1.5, "1.5"),
            (0.0, "0"),
            (0.000_001, "0.000001"),
            (1e-7, "1e-7"),
            (5e-7, "5e-7"),
            (-1.5, "-1.5"),
            (999_999_999_999_999_900_000.0, "999999999999999900000"),
            (f64::INFINITY, "Infinity"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn precision_prints_like_javascript() {
        for (value, digits, text) in [
            (0.001_95, 3, "0.00195"),
            (0.477, 3, "0.477"),
            (1.0, 3, "1.00"),
            (10.5, 3, "10.5"),
            (123.0, 3, "123"),
            (1230.0, 3, "1.23e+3"),
            (9.54e-7, 3, "9.54e-7"),
            (0.15, 2, "0.15"),
            (0.004, 2, "0.0040"),
            (12.0, 2, "12"),
            (123.0, 2, "1.2e+2"),
            (1.125, 3, "1.13"),
            (2.5, 1, "3"),
            (0.999_9, 3, "1.00"),
            (999.5, 3, "1.00e+3"),
            (1.005, 3, "1.00"),
            (0.000_001, 3, "0.00000100"),
            (0.0, 3, "0.00"),
        ] {
            assert_eq!(to_precision(value, digits), text);
        }
    }

    #[test]
    fn sizes_are_in_mebibytes() {
        assert_eq!(size_mb(0), None);
        assert_eq!(size_mb(1).as_deref(), Some("9.54e-7"));
        assert_eq!(size_mb(1_048_576).as_deref(), Some("1.00"));
        assert_eq!(size_mb(500_000).as_deref(), Some("0.477"));
    }
}
