//! Runs `src/cache/single_flight.rs` itself, not a copy or a model of it, under thousands of schedules per scenario: at every lock, wait and
//! notification shuttle chooses who runs next. A deadlock is a failure, so no lost wake-up goes unnoticed.

#[path = "../../../src/cache/single_flight.rs"]
#[expect(dead_code, reason = "the scenarios take the steps of run one by one")]
mod single_flight;
#[path = "../../../src/time.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "the flight needs the deadline only"))]
mod time;

mod scenarios;

use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

const RANDOM: usize = 10_000;

/// Schedules that change the running thread at a few points only, which finds the rare orders that need few changes.
const PCT: usize = 5_000;

fn main() {
    let only = std::env::args().nth(1);
    for (name, scenario) in scenarios::ALL {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let start = Instant::now();
        let random = Runner::new(RandomScheduler::new(RANDOM), config()).run(*scenario);
        let pct = Runner::new(PctScheduler::new(3, PCT), config()).run(*scenario);
        println!("{name}: {} schedules, {:.1?}", random + pct, start.elapsed());
    }
}

fn config() -> Config {
    Config::new()
}
