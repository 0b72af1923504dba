//! A JSON number (RFC 8259 §6) as it was written. What it is worth is worked out for who asks, alike on every platform and, dates
//! included, without floating point.

use std::iter;
use std::time::Duration;

/// The literal of a number, as the grammar has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number<'o>(pub(super) &'o str);

impl Number<'_> {
    /// `None` for a number with a fraction or an exponent, even if its value is whole, and for one that does not fit.
    pub(crate) fn as_i64(self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// As [`as_i64`](Self::as_i64).
    pub(crate) fn as_u64(self) -> Option<u64> {
        self.0.parse().ok().or_else(|| u64::try_from(self.as_i64()?).ok())
    }

    /// The nearest double; `None` for a number beyond all of them.
    pub(crate) fn as_f64(self) -> Option<f64> {
        self.0.parse().ok().filter(|number: &f64| number.is_finite())
    }

    /// So many seconds, cut off below a nanosecond; [`Duration::MAX`] for more than it holds. `None` for a negative number, and from
    /// 10^309 on, which is beyond all doubles: nobody can have meant that.
    pub(crate) fn as_seconds(self) -> Option<Duration> {
        if let Ok(whole) = self.0.parse() {
            return Some(Duration::from_secs(whole));
        }
        let (mantissa, exponent) = self.0.split_once(['e', 'E']).unwrap_or((self.0, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits =
            whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit).map(|digit| u64::from(digit - b'0'));
        let zeros = digits.clone().take_while(|digit| *digit == 0).count();
        let mut digits = digits.skip(zeros).peekable();
        if digits.peek().is_none() {
            return Some(Duration::ZERO);
        }
        if self.0.starts_with('-') {
            return None;
        }
        // Digits between the first that counts and the decimal point; if negative, zeros between the point and that digit.
        let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
        let before = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(zeros).ok()?)?.saturating_add(exponent);
        if before > DIGITS_OF_A_DOUBLE {
            return None;
        }
        let mut digits = digits.chain(iter::repeat(0));
        let seconds = digits.by_ref().take(usize::try_from(before).unwrap_or(0)).try_fold(0_u64, shifted);
        // Held within bounds before it becomes a usize, which may have 32 bits.
        let zeros = usize::try_from(before.clamp(-i64::from(NANO_DIGITS), 0).unsigned_abs()).ok()?;
        let nanos = iter::repeat_n(0, zeros).chain(digits).take(usize::from(NANO_DIGITS)).try_fold(0, shifted);
        let Some(seconds) = seconds else { return Some(Duration::MAX) };
        Some(Duration::new(seconds, u32::try_from(nanos?).ok()?))
    }
}

fn shifted(number: u64, digit: u64) -> Option<u64> {
    number.checked_mul(10)?.checked_add(digit)
}

/// Before the decimal point of the largest one (1.8e308).
const DIGITS_OF_A_DOUBLE: i64 = 309;

const NANO_DIGITS: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_one_that_is_written_so() {
        let numbers = [
            ("0", Some(0), Some(0)),
            ("-0", Some(0), Some(0)),
            ("-1", Some(-1), None),
            ("9223372036854775807", Some(i64::MAX), Some((1 << 63) - 1)),
            ("9223372036854775808", None, Some(1 << 63)),
            ("-9223372036854775808", Some(i64::MIN), None),
            ("-9223372036854775809", None, None),
            ("18446744073709551615", None, Some(u64::MAX)),
            ("18446744073709551616", None, None),
            ("1.0", None, None),
            ("1e0", None, None),
        ];
        for (literal, signed, unsigned) in numbers {
            assert_eq!((Number(literal).as_i64(), Number(literal).as_u64()), (signed, unsigned), "{literal}");
        }
    }

    #[test]
    fn a_double_is_the_nearest_one_unless_none_is_near() {
        for literal in ["1.5", "-2", "3", "0.1", "-0.0", "1e-400", "1.7976931348623157e308", "123456789012345678901"] {
            assert_eq!(Number(literal).as_f64(), literal.parse().ok(), "{literal}");
        }
        for literal in ["1e400", "-1e400", "1.8e308", &"9".repeat(400), "1e99999999999999999999"] {
            assert_eq!(Number(literal).as_f64(), None, "{literal}");
        }
    }

    #[test]
    fn seconds_are_exact_to_the_nanosecond() {
        let long = format!("0.{}1e309", "0".repeat(300));
        let numbers = [
            ("0", 0, 0),
            ("-0", 0, 0),
            ("-0.0e5", 0, 0),
            ("0e99999999999999999999", 0, 0),
            ("7", 7, 0),
            ("0.5", 0, 500_000_000),
            ("1800000000.25", 1_800_000_000, 250_000_000),
            ("1800000000.123456789", 1_800_000_000, 123_456_789),
            ("1800000000.1234567899", 1_800_000_000, 123_456_789),
            ("1.8e9", 1_800_000_000, 0),
            ("1.8E+9", 1_800_000_000, 0),
            ("18000e-1", 1800, 0),
            ("12345e-3", 12, 345_000_000),
            ("12345e-5", 0, 123_450_000),
            ("12345e-7", 0, 1_234_500),
            ("0.00012e4", 1, 200_000_000),
            ("1e-9", 0, 1),
            ("1e-10", 0, 0),
            ("1e-99999999999999999999", 0, 0),
            ("1e19", 10_000_000_000_000_000_000, 0),
            ("18446744073709551615.5", u64::MAX, 500_000_000),
            (&long, 100_000_000, 0),
        ];
        for (literal, seconds, nanos) in numbers {
            assert_eq!(Number(literal).as_seconds(), Some(Duration::new(seconds, nanos)), "{literal}");
        }
    }

    #[test]
    fn seconds_beyond_all_clocks_are_the_most_there_are_and_beyond_all_doubles_or_below_zero_none() {
        for literal in ["18446744073709551616", "1e20", "1e300", "0.01e310", "9e308"] {
            assert_eq!(Number(literal).as_seconds(), Some(Duration::MAX), "{literal}");
        }
        for literal in
            ["-1", "-0.5", "-1e-300", "-801e-44799508704", "1e309", "1e400", "1e99999999999999999999", &"9".repeat(310)]
        {
            assert_eq!(Number(literal).as_seconds(), None, "{literal}");
        }
    }
}
