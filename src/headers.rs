//! The response headers that are read: `Retry-After`, `Cache-Control: max-age`, and the HTTP-date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long `Retry-After` (RFC 9110 §10.2.3) asks to wait: seconds, or until a date. `None` for what is neither; a date that has passed is no
/// wait at all. Callers clamp.
pub(crate) fn retry_after(value: &str, wall: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    delta_seconds(value)
        .or_else(|| Some(http_date(value, wall)?.duration_since(wall).unwrap_or(Duration::ZERO).min(LONGEST)))
}

/// `max-age` of the `Cache-Control` headers (RFC 9111 §5.2); of several, the first counts (§4.2.1).
pub(crate) fn max_age<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Option<Duration> {
    let named = |(name, value): (&str, &'h str)| name.eq_ignore_ascii_case("cache-control").then_some(value);
    headers.into_iter().filter_map(named).find_map(max_age_in)
}

/// `max-age` of one such header. A quoted number is taken as well (RFC 9111 §5.2).
fn max_age_in(value: &str) -> Option<Duration> {
    let mut rest = value;
    while !rest.is_empty() {
        let (directive, after) = split_directive(rest);
        rest = after;
        let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
        if name.trim_matches([' ', '\t']).eq_ignore_ascii_case("max-age") {
            let argument = argument.trim_matches([' ', '\t']);
            let bare = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(argument);
            return delta_seconds(bare);
        }
    }
    None
}

/// The three formats of RFC 9110 §5.6.7. `wall` decides the century of the two-digit years of RFC 850.
pub(crate) fn http_date(text: &str, wall: SystemTime) -> Option<SystemTime> {
    let (date, time) = match text.split_once(", ") {
        Some((day, rest)) if DAYS.contains(&day) => imf_fixdate(rest)?,
        Some((day, rest)) if LONG_DAYS.contains(&day) => rfc850(rest, wall)?,
        Some(_) => return None,
        None => asctime(text)?,
    };
    seconds_since_epoch(date, time).and_then(at)
}

/// Year, month 1–12, day.
type Date = (u64, u64, u64);

/// `06 Nov 1994 08:49:37 GMT`.
fn imf_fixdate(text: &str) -> Option<(Date, u64)> {
    let [day, month, year, time, "GMT"] = fields(text, ' ')? else { return None };
    Some(((number(year, 4)?, month_number(month)?, number(day, 2)?), time_of_day(time)?))
}

/// `06-Nov-94 08:49:37 GMT`. A date that seems more than 50 years ahead lies in the past.
fn rfc850(text: &str, wall: SystemTime) -> Option<(Date, u64)> {
    let [date, time, "GMT"] = fields(text, ' ')? else { return None };
    let [day, month, year] = fields(date, '-')?;
    let (day, month, year, time) = (number(day, 2)?, month_number(month)?, number(year, 2)?, time_of_day(time)?);
    let now = wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let limit = now.saturating_add(50 * SECONDS_PER_YEAR);
    let within = |century: u64| {
        let date = (year.checked_add(century)?, month, day);
        seconds_since_epoch(date, time).filter(|seconds| *seconds <= limit).map(|_| (date, time))
    };
    within(2100).or_else(|| within(2000)).or_else(|| within(1900))
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(text: &str) -> Option<(Date, u64)> {
    let (day_name, rest) = text.split_once(' ')?;
    let (month, rest) = rest.split_once(' ')?;
    let (day, rest) = rest.split_at_checked(2)?;
    let [time, year] = fields(rest.strip_prefix(' ')?, ' ')?;
    let day = match day.strip_prefix(' ') {
        Some(digit) => number(digit, 1)?,
        None => number(day, 2)?,
    };
    DAYS.contains(&day_name).then_some(())?;
    Some(((number(year, 4)?, month_number(month)?, day), time_of_day(time)?))
}

/// `08:49:37` in seconds; 60 is a leap second.
fn time_of_day(text: &str) -> Option<u64> {
    let [hour, minute, second] = fields(text, ':')?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

/// The proleptic Gregorian calendar, counted in years that begin in March so that the leap day comes last. `None` for no real day, and
/// for one before 1970.
fn seconds_since_epoch((year, month, day): Date, time: u64) -> Option<u64> {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > length || year < 1970 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days.checked_sub(DAYS_BEFORE_EPOCH)?.checked_mul(86_400)?.checked_add(time)
}

fn at(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// RFC 9111 §1.2.2: digits; a number too large counts as 2^31.
fn delta_seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST))
}

/// Exactly `digits` decimal digits.
fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn month_number(name: &str) -> Option<u64> {
    (1..).zip(MONTHS).find(|(_, month)| *month == name).map(|(number, _)| number)
}

/// Exactly `N` fields.
fn fields<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    let fields: Vec<&str> = text.splitn(N.saturating_add(1), separator).collect();
    fields.try_into().ok()
}

/// Up to the next comma that is in no quoted string (RFC 9110 §5.6.4), and what follows it.
fn split_directive(text: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let comma = text.find(|c| {
        let literal = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !literal => escaped = true,
            '"' if !literal => quoted = !quoted,
            ',' => return !quoted,
            _ => {}
        }
        false
    });
    comma.and_then(|at| Some((text.get(..at)?, text.get(at.checked_add(1)?..)?))).unwrap_or((text, ""))
}

/// RFC 9111 §1.2.2; well inside what every platform's clock can add.
const LONGEST: Duration = Duration::from_secs(1 << 31);
/// From 1 March of the year 0 to 1970-01-01.
const DAYS_BEFORE_EPOCH: u64 = 719_468;
const SECONDS_PER_YEAR: u64 = 31_556_952;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23T00:00:00Z.
    const NOW: u64 = 1_795_392_000;

    fn wall() -> SystemTime {
        at(NOW).unwrap()
    }

    #[test]
    fn http_dates_of_all_three_formats_are_read() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Mon, 23 Nov 2026 00:00:00 GMT", NOW),
            ("Mon Nov 23 00:00:00 2026", NOW),
            ("Thu, 29 Feb 2024 12:00:00 GMT", 1_709_208_000),
            ("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_400),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
            ("Saturday, 01-Jan-72 00:00:00 GMT", 3_218_832_000),
            ("Sunday, 22-Nov-76 00:00:00 GMT", 3_373_228_800),
            ("Friday, 24-Dec-76 00:00:00 GMT", 220_233_600),
        ] {
            assert_eq!(http_date(text, wall()), at(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_http_date_is_refused() {
        for text in [
            "",
            "Sun",
            "Sun, ",
            "sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 +8:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Mon, 29 Feb 2100 00:00:00 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 19940 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 94",
            "Xyz Nov  6 08:49:37 1994",
            "Sun Nov \u{e9} 08:49:37 1994",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(http_date(text, wall()), None, "{text}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 120\t", Some(120)),
            ("007", Some(7)),
            ("2147483648", Some(1 << 31)),
            ("2147483649", Some(1 << 31)),
            ("18446744073709551615", Some(1 << 31)),
            ("99999999999999999999999999", Some(1 << 31)),
            ("Mon, 23 Nov 2026 00:02:00 GMT", Some(120)),
            ("Monday, 23-Nov-26 00:02:00 GMT", Some(120)),
            ("Mon Nov 23 00:02:00 2026", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(1 << 31)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e3", None),
            ("120 s", None),
            ("1, 2", None),
            ("\u{661}", None),
            ("soon", None),
        ] {
            assert_eq!(retry_after(value, wall()), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn a_clock_before_1970_breaks_nothing() {
        let before = UNIX_EPOCH.checked_sub(Duration::from_secs(86_400)).unwrap();
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:00:00 GMT", before), Some(Duration::from_secs(86_400)));
        assert_eq!(retry_after("Sunday, 06-Nov-94 08:49:37 GMT", before), Some(Duration::from_secs(784_198_177)));
    }

    #[test]
    fn max_age_is_found_among_other_directives() {
        for (value, seconds) in [
            ("max-age=600", Some(600)),
            ("public, max-age=600, must-revalidate", Some(600)),
            ("public,max-age=600", Some(600)),
            ("MAX-AGE=600", Some(600)),
            ("max-age=\"600\"", Some(600)),
            ("max-age = 600", Some(600)),
            ("max-age=0", Some(0)),
            ("max-age=99999999999999999999", Some(1 << 31)),
            (",, ,max-age=5", Some(5)),
            ("no-store, max-age=1, max-age=2", Some(1)),
            ("s-maxage=10, max-age=20", Some(20)),
            ("private=\"max-age=5\", max-age=6", Some(6)),
            ("private=\"a, max-age=5\"", None),
            ("private=\"a\\\", max-age=5\", max-age=6", Some(6)),
            ("private=\"unclosed, max-age=5", None),
            ("s-maxage=10", None),
            ("no-store", None),
            ("max-age", None),
            ("max-age=", None),
            ("max-age=-1", None),
            ("max-age=1.5", None),
            ("max-age=\"5", None),
            ("max-age=abc", None),
            ("x-max-age=5", None),
            ("", None),
        ] {
            assert_eq!(max_age([("cache-control", value)]), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn max_age_is_found_in_any_of_several_headers() {
        let headers = [
            ("age", "max-age=1"),
            ("Cache-Control", "public"),
            ("cache-control", "max-age=5, x"),
            ("cache-control", "max-age=6"),
        ];
        assert_eq!(max_age(headers), Some(Duration::from_secs(5)));
        assert_eq!(max_age([]), None);
    }
}
