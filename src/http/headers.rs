//! The response headers that are read: `Retry-After`, `Cache-Control: max-age`, and the HTTP-date.

use std::time::{Duration, SystemTime};

use crate::http::date::http_date;

/// How long `Retry-After` (RFC 9110 §10.2.3) asks to wait: seconds, or until a date. `None` for what is neither; a date that has passed is no
/// wait at all. Callers clamp.
pub(crate) fn retry_after(value: &str, wall: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    delta_seconds(value)
        .or_else(|| Some(http_date(value, wall)?.duration_since(wall).unwrap_or(Duration::ZERO).min(LONGEST)))
}

/// How long a response is fresh from now on: its `max-age`, less the `Age` that it has from caches on the way (RFC 9111 §4.2).
pub(crate) fn freshness_lifetime<'h, H: Iterator<Item = (&'h str, &'h str)>>(
    headers: impl Fn() -> H,
) -> Option<Duration> {
    let max_age = max_age(headers())?;
    Some(max_age.saturating_sub(age(headers()).unwrap_or_default()))
}

/// The `Age` header (RFC 9111 §5.1); of a list, the first member counts, and one that is no number is ignored.
pub(crate) fn age<'h>(headers: impl IntoIterator<Item = (&'h str, &'h str)>) -> Option<Duration> {
    let (_, value) = headers.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("age"))?;
    delta_seconds(value.split(',').next()?.trim_matches([' ', '\t']))
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

/// RFC 9111 §1.2.2: digits; a number too large counts as 2^31.
fn delta_seconds(text: &str) -> Option<Duration> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST))
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

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// 2026-11-23T00:00:00Z.
    const NOW: u64 = 1_795_392_000;

    fn wall() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(NOW)
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

    #[test]
    fn the_age_of_an_answer_shortens_its_freshness() {
        for (age, seconds) in [
            (&["3590"][..], 10),
            (&["0"], 3600),
            (&["7200"], 0),
            (&["99999999999999999999"], 0),
            (&["10, 20"], 3590),
            (&[" 10 "], 3590),
            (&["10", "20"], 3590),
            (&["x"], 3600),
            (&["-5"], 3600),
            (&["1.5"], 3600),
            (&[""], 3600),
            (&[], 3600),
        ] {
            let headers = age.iter().map(|age| ("AGE", *age)).chain([("cache-control", "max-age=3600")]);
            assert_eq!(freshness_lifetime(|| headers.clone()), Some(Duration::from_secs(seconds)), "{age:?}");
        }
        assert_eq!(freshness_lifetime(|| [("age", "5")].into_iter()), None);
    }
}
