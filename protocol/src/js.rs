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
    let exponent = value.abs().log10().floor();
    if (-6.0..21.0).contains(&exponent) {
        return format!("{value}");
    }
    exponential(&format!("{value:e}"))
}

/// `value.toPrecision(digits)` of a JavaScript number, for finite values.
pub fn to_precision(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent: i32 = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse().ok())
        .unwrap_or(0);
    let most = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -6 || exponent >= most {
        return exponential(&scientific);
    }
    let decimals = usize::try_from(most - 1 - exponent).unwrap_or(0);
    format!("{value:.decimals$}")
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

#[cfg(test)]
mod tests {
    use super::*;

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
