//! Dates as text: the HTTP-date (RFC 9110 §5.6.7), which is read, and RFC 3339, which is written. One calendar for both.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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

/// A time in UTC, to the second. The calendar counts years from March, so that the leap day is the last one.
pub(crate) fn rfc3339(since_epoch: Duration) -> String {
    let (days, second) = (since_epoch.as_secs() / DAY, since_epoch.as_secs() % DAY);
    let shifted = days + DAYS_BEFORE_EPOCH;
    let (era, day) = (shifted / DAYS_IN_400_YEARS, shifted % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// From 1 March of the year 0 to 1970-01-01.
const DAYS_BEFORE_EPOCH: u64 = 719_468;
const SECONDS_PER_YEAR: u64 = 31_556_952;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 86_400;
const DAYS_IN_400_YEARS: u64 = 146_097;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_says() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_796_083_200, "2026-12-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
    }

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
}
