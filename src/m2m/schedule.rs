//! When a token is served from the cache, refreshed early, or no longer served. Pure: times and the draw are arguments, and nothing
//! but the time is imported, so that `examples/fleet.rs` runs a hundred thousand clients on this very file.

use std::time::{Duration, SystemTime};

use crate::time::Now;

/// What to do for a caller who wants a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The held token serves.
    Serve,
    /// It serves, and one caller should refresh it.
    ServeAndRefresh,
    /// No held token may be used.
    Fetch,
}

/// When one token is due and when it ends. The jitter is drawn once, when the token is minted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// The end by the monotonic clock.
    end: Duration,
    /// The end by the wall clock, if that was set at the request.
    wall_end: Option<SystemTime>,
    /// How long before its end the token is due to be refreshed.
    soft: Duration,
    /// The same with the wide jitter, until that time has come: it counts for a client that is in steady use then.
    early: Option<Duration>,
    /// The longest pause between two look-ups of a client in steady use.
    steady: Duration,
    /// What was left of the life at the last look-up that was noted.
    left: Duration,
}

impl Schedule {
    /// A token that lives for `lifetime` from the time of the request: the issuer may have started the count at any time since. `draw`
    /// is in `[0, 1)`.
    pub(crate) fn new(lifetime: Duration, requested: Now, jitter: Jitter, draw: f64) -> Self {
        Self {
            end: requested.monotonic.saturating_add(lifetime),
            // Beyond what the platform's wall clock can say, the monotonic clock alone decides.
            wall_end: requested.wall.and_then(|wall| wall.checked_add(lifetime)),
            soft: soft_margin(lifetime, draw),
            early: (jitter == Jitter::Wide).then(|| wide_margin(lifetime, draw)),
            steady: lifetime / STEADY_SHARE,
            left: lifetime,
        }
    }

    /// The plan for a cached token, and a note of this look-up.
    pub(crate) fn plan(&mut self, now: Now) -> Plan {
        let left = self.left(now);
        if let Some(early) = self.early.take_if(|early| left <= *early) {
            // A client that was idle at that time is in step with no fleet: its next request comes when its own work does.
            if self.left.saturating_sub(left) <= self.steady {
                self.soft = early;
            }
        }
        self.left = left;
        self.plan_for(left)
    }

    /// As [`plan`](Self::plan) without a note; `None` for a look-up that has to be noted. Look-ups count to a hundredth of the longest
    /// pause of steady use, and no longer at all when the early time has passed.
    pub(crate) fn plan_unnoted(&self, now: Now) -> Option<Plan> {
        let left = self.left(now);
        let noted = self.left.abs_diff(left) < self.steady / NOTED_SHARE;
        self.early.is_none_or(|early| noted && left > early).then(|| self.plan_for(left))
    }

    fn plan_for(&self, left: Duration) -> Plan {
        match left {
            left if left <= HARD_MARGIN => Plan::Fetch,
            left if left <= self.soft => Plan::ServeAndRefresh,
            _ => Plan::Serve,
        }
    }

    /// By the clock that says less: the monotonic one stands still while the machine sleeps, the wall clock is put back and forth.
    fn left(&self, now: Now) -> Duration {
        let monotonic = self.end.saturating_sub(now.monotonic);
        match (self.wall_end, now.wall) {
            (Some(end), Some(wall)) => monotonic.min(end.duration_since(wall).unwrap_or_default()),
            _ => monotonic,
        }
    }
}

/// A minute, or half of a short life, and up to a twentieth of the life more.
fn soft_margin(lifetime: Duration, draw: f64) -> Duration {
    let margin = margin(lifetime);
    spread_between(margin, margin.saturating_add(lifetime / NARROW_SHARE), draw)
}

/// From the first tenth of the life, so that no token is due when it has hardly come, to the plain margin.
fn wide_margin(lifetime: Duration, draw: f64) -> Duration {
    let margin = margin(lifetime);
    spread_between(margin, lifetime.saturating_sub(lifetime / 10).max(margin), draw)
}

fn margin(lifetime: Duration) -> Duration {
    if lifetime < SHORT_LIFE { lifetime / 2 } else { SOFT_MARGIN }
}

fn spread_between(shortest: Duration, longest: Duration, draw: f64) -> Duration {
    shortest.saturating_add(longest.saturating_sub(shortest).mul_f64(draw.clamp(0.0, 1.0)))
}

/// The part of a token's life over which its refresh is spread, so that the clients of a fleet do not refresh at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Jitter {
    /// Over a twentieth of the life: the entry's first token. The whole fleet may have started at once, but most programs that do not
    /// live long need no other token.
    #[default]
    First,
    /// Over nearly the whole life, for a client in steady use: it parts clients that started together, or waited for the end of an
    /// outage together, at the price of half a request per client, once. A client that calls now and then is parted by its calls.
    Wide,
    /// Over a twentieth of the life: the clients differ already.
    Narrow,
}

impl Jitter {
    /// The jitter of the token after one with this.
    pub(crate) fn after_token(self) -> Self {
        if self == Self::First { Self::Wide } else { Self::Narrow }
    }

    /// The jitter of the next token after a failure: the issuer, when it is back, meets all clients that it has kept waiting.
    pub(crate) fn after_failure(self) -> Self {
        if self == Self::First { Self::First } else { Self::Wide }
    }
}

/// How long before its end a token is due: about what a call that carries it may take, with retries.
const SOFT_MARGIN: Duration = Duration::from_secs(60);

/// Below this life the margin is half the life.
const SHORT_LIFE: Duration = Duration::from_secs(120);

/// How long before its end a token is no longer served: it must live until the resource has checked it, by a clock of its own.
const HARD_MARGIN: Duration = Duration::from_secs(10);

/// A twentieth, 5 %, of the life is what the narrow jitter adds to the margin at most.
const NARROW_SHARE: u32 = 20;

/// Pauses up to a tenth of the life are steady use: six minutes for a token of an hour, so a gateway that reports every five is.
const STEADY_SHARE: u32 = 10;

/// Look-ups that follow one another within a hundredth of a steady pause are as good as one.
const NOTED_SHARE: u32 = 100;

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const START: Duration = Duration::from_secs(500);

    fn wall(seconds: f64) -> SystemTime {
        let start = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        if seconds < 0.0 { start - Duration::from_secs_f64(-seconds) } else { start + Duration::from_secs_f64(seconds) }
    }

    /// Both clocks `seconds` after the token was asked for.
    fn later(seconds: f64) -> Now {
        at(seconds, wall(seconds))
    }

    fn monotonic_only(seconds: f64) -> Now {
        Now { wall: None, ..later(seconds) }
    }

    fn at(seconds: f64, wall: SystemTime) -> Now {
        Now { monotonic: START + Duration::from_secs_f64(seconds), wall: Some(wall) }
    }

    fn schedule(lifetime: f64, jitter: Jitter, draw: f64) -> Schedule {
        Schedule::new(Duration::from_secs_f64(lifetime), later(0.0), jitter, draw)
    }

    /// The moments at which the plan changes, found by asking it.
    fn due_and_end(mut schedule: Schedule) -> (f64, f64) {
        schedule.soft = schedule.early.take().unwrap_or(schedule.soft);
        let first = |not: Plan| {
            let (mut low, mut high) = (0, 40_000_000_u64);
            while low < high {
                let middle = (low + high) / 2;
                let plan = { schedule }.plan(later(Duration::from_millis(middle).as_secs_f64()));
                if plan == Plan::Serve || plan == not { low = middle + 1 } else { high = middle }
            }
            Duration::from_millis(low).as_secs_f64()
        };
        (first(Plan::Serve), first(Plan::ServeAndRefresh))
    }

    #[test]
    fn the_soft_margin_is_a_minute_or_half_of_a_short_life_and_up_to_five_percent_more_and_the_hard_one_ten_seconds() {
        for (lifetime, draw, due, end) in [
            (3_600.0, 0.0, 3_540.0, 3_590.0),
            (3_600.0, 0.5, 3_450.0, 3_590.0),
            (3_600.0, 1.0, 3_360.0, 3_590.0),
            (120.0, 0.0, 60.0, 110.0),
            (120.0, 1.0, 54.0, 110.0),
            (119.0, 0.0, 59.5, 109.0),
            (60.0, 0.0, 30.0, 50.0),
            (60.0, 1.0, 27.0, 50.0),
            (21.0, 0.0, 10.5, 11.0),
            (20.0, 0.0, 10.0, 10.0),
            (12.0, 0.0, 2.0, 2.0),
            (10.0, 0.0, 0.0, 0.0),
            (1.0, 1.0, 0.0, 0.0),
            (0.0, 0.0, 0.0, 0.0),
            (36_000.0, 1.0, 34_140.0, 35_990.0),
        ] {
            assert_eq!(due_and_end(schedule(lifetime, Jitter::Narrow, draw)), (due, end), "{lifetime} s, draw {draw}");
        }
    }

    #[test]
    fn the_wide_jitter_covers_the_life_from_its_first_tenth_to_the_soft_margin() {
        for (lifetime, draw, due) in [
            (3_600.0, 0.0, 3_540.0),
            (3_600.0, 0.5, 1_950.0),
            (3_600.0, 1.0, 360.0),
            (60.0, 0.0, 30.0),
            (60.0, 1.0, 6.0),
            (20.0, 1.0, 2.0),
        ] {
            assert_eq!(due_and_end(schedule(lifetime, Jitter::Wide, draw)).0, due, "{lifetime} s, draw {draw}");
        }
    }

    #[test]
    fn the_wide_jitter_counts_only_for_a_client_that_is_in_steady_use_when_its_moment_comes() {
        // The moment is at 1,950 s, steady is up to 360 s.
        for (looks, due) in [
            (&[1_600.0, 1_949.0, 1_950.0][..], true),
            (&[1_600.0, 1_960.0], true),
            (&[1_600.0, 1_960.1], false),
            (&[1_590.0, 1_950.0], true),
            (&[1_950.0], false),
            (&[3_000.0], false),
            (&[3_000.0, 3_001.0, 3_300.0], false),
            (&[1_949.0, 1_951.0, 3_300.0], true),
        ] {
            let mut schedule = schedule(3_600.0, Jitter::Wide, 0.5);
            let last = looks.iter().map(|look| schedule.plan(later(*look))).last();
            assert_eq!(last == Some(Plan::ServeAndRefresh), due, "{looks:?}");
            assert_eq!(schedule.plan(later(3_450.0)), Plan::ServeAndRefresh, "the narrow jitter holds in any case");
        }
    }

    #[test]
    fn a_look_is_noted_only_where_that_can_change_a_later_plan() {
        // The moment is at 1,950 s, a look counts to 3.6 s.
        let mut wide = schedule(3_600.0, Jitter::Wide, 0.5);
        assert_eq!(wide.plan_unnoted(later(3.5)), Some(Plan::Serve));
        assert_eq!(wide.plan_unnoted(later(3.6)), None);
        wide.plan(later(1_948.0));
        assert_eq!(wide.plan_unnoted(later(1_948.0)), Some(Plan::Serve));
        assert_eq!(wide.plan_unnoted(later(1_949.9)), Some(Plan::Serve));
        assert_eq!(wide.plan_unnoted(later(1_940.0)), None, "the clock was put back");
        assert_eq!(wide.plan_unnoted(later(1_950.0)), None);
        wide.plan(later(1_950.0));
        assert_eq!(wide.plan_unnoted(later(1_950.0)), Some(Plan::ServeAndRefresh));

        let narrow = schedule(3_600.0, Jitter::Narrow, 0.0);
        for (seconds, plan) in
            [(0.0, Plan::Serve), (3_539.999, Plan::Serve), (3_540.0, Plan::ServeAndRefresh), (3_590.0, Plan::Fetch)]
        {
            assert_eq!(narrow.plan_unnoted(later(seconds)), Some(plan), "{seconds}");
        }
    }

    #[test]
    fn each_edge_of_the_plan_is_on_the_moment() {
        let mut schedule = schedule(3_600.0, Jitter::Narrow, 0.0);
        for (seconds, plan) in [
            (0.0, Plan::Serve),
            (3_539.999, Plan::Serve),
            (3_540.0, Plan::ServeAndRefresh),
            (3_589.999, Plan::ServeAndRefresh),
            (3_590.0, Plan::Fetch),
            (3_600.0, Plan::Fetch),
            (1e9, Plan::Fetch),
        ] {
            assert_eq!(schedule.plan(later(seconds)), plan, "{seconds}");
            assert_eq!(schedule.plan(monotonic_only(seconds)), plan, "{seconds} on the monotonic clock");
        }
    }

    #[test]
    fn the_clock_that_says_expired_first_decides() {
        let mut schedule = schedule(3_600.0, Jitter::Narrow, 0.0);
        let mut at = |monotonic: f64, wall_seconds: f64| schedule.plan(at(monotonic, wall(wall_seconds)));
        assert_eq!(at(5.0, 3_595.0), Plan::Fetch, "the machine slept, or the clock was put forward");
        assert_eq!(at(5.0, 3_545.0), Plan::ServeAndRefresh);
        assert_eq!(at(3_595.0, -86_400.0), Plan::Fetch, "the clock was put back by a day");
        assert_eq!(at(3_595.0, 5.0), Plan::Fetch);
        assert_eq!(at(5.0, -86_400.0), Plan::Serve);
    }

    #[test]
    fn a_wall_clock_that_was_not_set_at_the_mint_or_is_not_now_has_no_say() {
        let mut minted_without = Schedule::new(HOUR, monotonic_only(0.0), Jitter::Narrow, 0.0);
        assert_eq!(minted_without.plan(later(5.0)), Plan::Serve);
        assert_eq!(minted_without.plan(at(5.0, wall(1e9))), Plan::Serve);
        let mut minted_with = schedule(3_600.0, Jitter::Narrow, 0.0);
        assert_eq!(minted_with.plan(monotonic_only(5.0)), Plan::Serve);
    }

    #[test]
    fn no_lifetime_overflows() {
        for lifetime in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(1 << 62)] {
            for jitter in [Jitter::Narrow, Jitter::Wide] {
                for draw in [0.0, 0.5, 1.0, -1.0, 2.0] {
                    let mut schedule = Schedule::new(lifetime, later(0.0), jitter, draw);
                    assert_ne!(schedule.plan(later(0.0)), Plan::Fetch);
                }
            }
        }
        let late = Now { monotonic: Duration::MAX, wall: Some(wall(0.0)) };
        assert_eq!(Schedule::new(HOUR, late, Jitter::Narrow, 0.0).plan(late), Plan::Fetch);
    }

    #[test]
    fn the_second_token_has_the_wide_jitter_and_so_has_the_first_after_a_failure() {
        let first = Jitter::default();
        assert_eq!(first.after_token(), Jitter::Wide);
        assert_eq!(first.after_token().after_token(), Jitter::Narrow);
        assert_eq!(Jitter::Narrow.after_token(), Jitter::Narrow);
        assert_eq!(Jitter::Narrow.after_failure(), Jitter::Wide);
        assert_eq!(Jitter::Wide.after_failure(), Jitter::Wide);
        assert_eq!(first.after_failure(), first, "the first token keeps the plain margin");
    }
}
