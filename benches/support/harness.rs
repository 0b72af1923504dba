//! Interleaved rounds: every round times each contender for a moment, so that a busy machine slows all of them alike, and a ratio is
//! the median of the rounds' ratios. Absolute times are the minimum over the rounds.

use std::time::{Duration, Instant};

pub(crate) struct Contender<'a> {
    call: Box<dyn FnMut() + 'a>,
    calls: u32,
    /// Nanoseconds per call, one entry a round.
    rounds: Vec<f64>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(call: impl FnMut() + 'a) -> Self {
        Self { call: Box::new(call), calls: 1, rounds: Vec::new() }
    }

    /// As many calls as fill a slice.
    fn calibrate(&mut self) {
        loop {
            if self.time() >= SLICE || self.calls >= 1 << 20 {
                return;
            }
            self.calls *= 2;
        }
    }

    fn time(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..self.calls {
            (self.call)();
        }
        start.elapsed()
    }

    /// Nanoseconds per call in the best round.
    pub(crate) fn best(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// How long one contender is timed in one round: so short that few rounds are cut in two by another program.
const SLICE: Duration = Duration::from_micros(250);

pub(crate) fn run(contenders: &mut [Contender<'_>], rounds: usize) {
    for contender in &mut *contenders {
        contender.calibrate();
    }
    for round in 0..rounds {
        // Each goes first as often as last.
        for position in 0..contenders.len() {
            let next = (position + round) % contenders.len();
            let contender = &mut contenders[next];
            let spent = contender.time();
            contender.rounds.push(spent.as_secs_f64() * 1e9 / f64::from(contender.calls));
        }
    }
}

/// The median over the rounds of `measured` by `base`.
pub(crate) fn ratio(measured: &Contender<'_>, base: &Contender<'_>) -> f64 {
    median(measured.rounds.iter().zip(&base.rounds).map(|(m, b)| m / b).collect())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
