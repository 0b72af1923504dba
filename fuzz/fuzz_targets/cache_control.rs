//! `Cache-Control: max-age`, `Retry-After` and the HTTP-date. Oracle: bounded on every input; where there are no quotes, the first
//! `max-age` by a plain reading; seconds are their digits; a date written anew reads as the same.
#![no_main]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aero2::fuzzing;
use aero2_fuzz::wall;
use libfuzzer_sys::fuzz_target;

const LONGEST: Duration = Duration::from_secs(1 << 31);

fuzz_target!(|value: &str| {
    let age = fuzzing::max_age(value);
    assert!(age.is_none_or(|age| age <= LONGEST));
    if !value.contains('"') {
        let plain = value.split(',').map(|directive| directive.split_once('=').unwrap_or((directive, "")));
        let blank = [' ', '\t'];
        let first = plain.into_iter().find(|(name, _)| name.trim_matches(blank).eq_ignore_ascii_case("max-age"));
        assert_eq!(age, first.and_then(|(_, digits)| seconds(digits.trim_matches(blank))));
    }

    let wait = fuzzing::retry_after(value, wall());
    assert!(wait.is_none_or(|wait| wait <= LONGEST));
    let trimmed = value.trim_matches([' ', '\t']);
    let date = fuzzing::http_date(trimmed, wall());
    match seconds(trimmed) {
        Some(whole) => assert_eq!(wait, Some(whole)),
        None => assert_eq!(wait, date.map(|at| at.duration_since(wall()).unwrap_or_default().min(LONGEST))),
    }
    if let Some(at) = date {
        let written = fixdate(at);
        assert_eq!(fuzzing::http_date(&written, wall()), Some(at), "{written}");
    }
});

fn seconds(digits: &str) -> Option<Duration> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST))
}

/// By counting days one by one, as no implementation would.
fn fixdate(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (mut days, time) = (since / 86_400, since % 86_400);
    let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][(days % 7) as usize];
    let is_leap = |year: u64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month];
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{weekday}, {:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT", days + 1)
}
