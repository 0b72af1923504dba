//! Shortens a world that fails: events go, in ever smaller pieces, while the same rule still breaks.

use crate::plan::{Event, What, World};
use crate::program::{readable, run};
use crate::sim::Failure;

/// The first failure of that rule. The crate draws its jitter from the system, so that one run may not show it.
fn failure(world: &World, rule: &str) -> Option<Failure> {
    (0..2).find_map(|_| run(world).1.into_iter().find(|failure| failure.rule == rule))
}

pub(crate) fn shorten(world: &World, rule: &str) -> World {
    let mut world = world.clone();
    if let Some(failure) = failure(&world, rule) {
        world.events.retain(|event| event.at <= failure.t);
    }
    let mut size = world.events.len().div_ceil(2).max(1);
    loop {
        let mut start = 0;
        while start < world.events.len() {
            let mut events = world.events.clone();
            events.drain(start..(start + size).min(events.len()));
            let shorter = World { events, ..world.clone() };
            if failure(&shorter, rule).is_some() {
                world = shorter;
            } else {
                start += size;
            }
        }
        if size == 1 {
            return world;
        }
        size = size.div_ceil(2);
    }
}

pub(crate) fn report(world: &World, rule: &str) {
    let short = shorten(world, rule);
    println!("seed {}, shortened from {} events to {}:", world.seed, world.events.len(), short.events.len());
    println!("{:?}", short.config);
    for Event { at, what } in &short.events {
        match what {
            What::Issuer(change) => println!("  {} issuer: {change:?}", readable(*at)),
            What::Machine(machine) => println!("  {} machine: {machine:?}", readable(*at)),
            What::Traffic(traffic) => println!("  {} calls: {traffic:?}", readable(*at)),
        }
    }
    if let Some(failure) = failure(&short, rule) {
        println!("  {} {}: {}", readable(failure.t), failure.rule, failure.text);
    }
}
