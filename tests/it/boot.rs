//! Starting without the network: pinned keys, snapshots; and a clock that is not right.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use aero2::testing::{Endpoint, Fault, ManualClock, TestIssuer};
use aero2::{Clock, Error, Event, Issuer, IssuerBuilder, NetworkErrorKind, Request, TokenErrorKind, Transport};

use crate::support::recorder::Recorder;
use crate::support::{World, network_kind, secs, token_kind};

fn cut_off(world: &World) {
    for endpoint in [Endpoint::Discovery, Endpoint::Keys] {
        world.test.fail(endpoint, u32::MAX, Fault::transport(NetworkErrorKind::Connect));
    }
}

fn verify(issuer: &Issuer, token: &str) -> Result<(), Error> {
    issuer.resource_server().build().unwrap().verify_token(token).map(drop)
}

/// The events that an issuer tells, by their text.
fn listening(builder: IssuerBuilder) -> (IssuerBuilder, Arc<Mutex<Vec<String>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    (builder.on_event(move |event: &Event| sink.lock().unwrap().push(event.to_string())), events)
}

#[test]
fn static_keys_never_ask_the_network() {
    let world = World::new();
    let issuer = world.builder().static_keys(&world.test.key_set()).build().unwrap();
    verify(&issuer, &world.test.token().sign()).unwrap();
    world.clock.advance(secs(1_000_000));
    verify(&issuer, &world.test.token().sign()).unwrap();
    issuer.refresh_if_due().unwrap_or_default();
    world.test.rotate_keys();
    assert_eq!(token_kind(verify(&issuer, &world.test.token().sign())), TokenErrorKind::UnknownKey);
    assert_eq!(world.test.requests(Endpoint::Keys), 0);
}

#[test]
fn static_keys_are_in_a_snapshot_as_if_fetched_now() {
    let world = World::new();
    let saved = world.builder().static_keys(&world.test.key_set()).build().unwrap().snapshot().unwrap();
    assert_eq!(world.test.requests(Endpoint::Keys), 0);
    cut_off(&world);
    let later = world.builder().snapshot(&saved).build().unwrap();
    verify(&later, &world.test.token().sign()).unwrap();
}

#[test]
fn static_keys_that_are_none_are_a_configuration_error() {
    let world = World::new();
    for keys in ["", "[]", "{}", "{\"keys\":1}"] {
        assert!(matches!(world.builder().static_keys(keys).build(), Err(Error::Config(_))), "{keys}");
        assert!(matches!(world.builder().static_then_remote(keys).build(), Err(Error::Config(_))), "{keys}");
    }
}

#[test]
fn pinned_keys_serve_while_the_issuer_cannot_be_reached_and_give_way_to_fetched_ones() {
    let world = World::new();
    let issuer = world.builder().static_then_remote(&world.test.key_set()).build().unwrap();
    let old = world.test.token().lifetime(secs(1_000_000)).sign();
    cut_off(&world);
    verify(&issuer, &old).unwrap();
    world.clock.advance(secs(100_000));
    verify(&issuer, &old).unwrap();
    world.test.clear_faults();
    world.test.rotate_keys_dropping_old();
    world.clock.advance(secs(60));
    verify(&issuer, &world.test.token().sign()).unwrap();
    assert_eq!(token_kind(verify(&issuer, &old)), TokenErrorKind::UnknownKey);
}

#[test]
fn a_snapshot_starts_an_issuer_without_the_network() {
    let world = World::new();
    let saved = world.issuer().snapshot().unwrap();
    world.clock.advance(secs(3599));
    cut_off(&world);
    let issuer = world.builder().snapshot(&saved).build().unwrap();
    verify(&issuer, &world.test.token().sign()).unwrap();
    // It counts as old as it is: past the time to live of its keys the issuer is asked.
    assert_eq!(issuer.stats().stale_keys_served(), 1);
    assert_eq!(issuer.stats().key_fetches(), 1);
}

#[test]
fn a_snapshot_older_than_max_stale_is_not_used() {
    let world = World::new();
    let saved = world.issuer().snapshot().unwrap();
    world.clock.advance(secs(3601));
    cut_off(&world);
    let (builder, events) = listening(world.builder().snapshot(&saved));
    let issuer = builder.build().unwrap();
    assert_eq!(network_kind(verify(&issuer, &world.test.token().sign())), NetworkErrorKind::Connect);
    assert_eq!(events.lock().unwrap()[0], "snapshot not used: it is older than max_stale");
}

#[test]
fn a_snapshot_of_another_issuer_or_a_damaged_one_is_a_configuration_error() {
    let world = World::new();
    let saved = world.issuer().snapshot().unwrap();
    let other = TestIssuer::builder().url("https://other.example").build();
    let foreign = Issuer::builder(other.url()).transport(Recorder::new(other.transport())).snapshot(&saved).build();
    assert!(foreign.unwrap_err().to_string().contains("of another issuer"));
    let half = &saved[..saved.len() / 2];
    assert!(matches!(world.builder().snapshot(half).build(), Err(Error::Config(_))));
}

#[test]
fn a_snapshot_never_displaces_what_was_fetched() {
    let world = World::new();
    let saved = world.issuer().snapshot().unwrap();
    let issuer = world.builder().snapshot(&saved).build().unwrap();
    world.clock.set_wall(UNIX_EPOCH);
    issuer.preload().unwrap();
    world.test.rotate_keys_dropping_old();
    world.clock.advance(secs(600));
    issuer.preload().unwrap();
    world.clock.set_wall(ManualClock::new().wall() + secs(700));
    verify(&issuer, &world.test.token().sign()).unwrap();
}

/// A machine whose clock is so far from the issuer's, in seconds.
fn machine(world: &World, ahead: i64) -> ManualClock {
    let clock = ManualClock::new();
    let by = secs(ahead.unsigned_abs());
    clock.set_wall(if ahead < 0 { world.clock.wall() - by } else { world.clock.wall() + by });
    clock
}

fn documents(world: &World) -> (usize, usize) {
    (world.test.requests(Endpoint::Discovery), world.test.requests(Endpoint::Keys))
}

#[test]
fn a_clock_before_the_snapshot_judges_no_token_and_the_issuer_is_asked_within_the_back_off() {
    let world = World::new();
    let saved = world.issuer().snapshot().unwrap();
    let made_at = world.clock.wall();
    let token = world.test.token().sign();
    let clock = machine(&world, 0);
    let issuer = world.builder().clock(clock.clone()).snapshot(&saved).build().unwrap();
    world.test.reset_counts();
    clock.set_wall(UNIX_EPOCH);
    assert!(matches!(verify(&issuer, &token), Err(Error::Clock(_))));
    assert_eq!(documents(&world), (0, 0), "such a clock is not set whatever the issuer says");
    for (wall, requests) in [(UNIX_EPOCH + secs(1_767_225_600), 1), (made_at - secs(61), 2)] {
        clock.set_wall(wall);
        for _ in 0..10 {
            assert!(matches!(verify(&issuer, &token), Err(Error::Clock(_))));
        }
        assert_eq!(documents(&world), (requests, 0), "once, within the back-off by either clock");
    }
    clock.set_wall(made_at - secs(30));
    verify(&issuer, &token).unwrap();
    clock.set_wall(made_at);
    verify(&issuer, &token).unwrap();
    assert_eq!(documents(&world), (2, 0), "the snapshot is used");
}

#[test]
fn a_snapshot_that_is_ahead_is_refused_when_the_issuers_time_agrees_with_this_clock() {
    for ahead in [61, 1_000, 70 * 365 * 86_400] {
        let world = World::new();
        let writer = world.builder().clock(machine(&world, ahead)).build().unwrap();
        let saved = writer.snapshot().unwrap();
        world.test.reset_counts();
        let (builder, events) = listening(world.builder().snapshot(&saved));
        let issuer = builder.build().unwrap();
        let token = world.test.token().sign();
        verify(&issuer, &token).unwrap();
        verify(&issuer, &token).unwrap();
        assert_eq!(documents(&world), (1, 1), "{ahead}");
        assert_eq!(events.lock().unwrap()[0], "snapshot not used: it was made by a clock that ran ahead");
    }
}

#[test]
fn a_snapshot_that_is_a_few_seconds_ahead_is_used_and_counts_as_new() {
    let world = World::new();
    let saved = world.builder().clock(machine(&world, 60)).build().unwrap().snapshot().unwrap();
    cut_off(&world);
    let issuer = world.builder().snapshot(&saved).build().unwrap();
    verify(&issuer, &world.test.token().sign()).unwrap();
    assert_eq!(issuer.stats().stale_keys_served(), 0);
}

#[test]
fn the_issuers_time_counts_with_the_time_in_a_cache_on_the_way() {
    for (url, age, good) in [
        ("https://test.aero2.example", "600", true),
        ("https://test.aero2.example", "0", false),
        ("http://127.0.0.1:9", "600", true),
    ] {
        let clock = ManualClock::new();
        let test = TestIssuer::builder().url(url).clock(clock.clone()).build();
        let builder = Issuer::builder(url).transport(Recorder::new(test.transport())).clock(clock.clone());
        let ahead = ManualClock::new();
        ahead.set_wall(clock.wall() + secs(1_000));
        let saved = builder.clone().clock(ahead).build().unwrap().snapshot().unwrap();
        let issuer = builder.snapshot(&saved).build().unwrap();
        let document = format!(r#"{{"issuer":"{url}"}}"#);
        let date = httpdate(clock.wall() - secs(600));
        let answer = Fault::json(200, document).header("date", date).header("age", age);
        test.fail(Endpoint::Discovery, u32::MAX, answer);
        let outcome = verify(&issuer, &test.token().sign());
        assert_eq!(outcome.is_ok(), good, "{url} {age}: {outcome:?}");
    }
}

/// The `Date` of an issuer at that time.
fn httpdate(at: std::time::SystemTime) -> String {
    let clock = ManualClock::new();
    clock.set_wall(at);
    let test = TestIssuer::with_clock(clock);
    let answer = test.transport().send(&Request::get(&format!("{}/oauth2/jwks.json", test.url()))).unwrap();
    answer.header("date").unwrap().to_owned()
}

#[test]
fn two_sources_of_keys_are_a_configuration_error() {
    let world = World::new();
    let (saved, keys) = (world.issuer().snapshot().unwrap(), world.test.key_set());
    for builder in [
        world.builder().static_keys(&keys).snapshot(&saved),
        world.builder().static_keys(&keys).static_then_remote(&keys),
        world.builder().static_then_remote(&keys).snapshot(&saved),
    ] {
        let message = builder.build().unwrap_err().to_string();
        assert!(message.contains("set one of static_keys"), "{message}");
    }
}

#[test]
fn an_issuer_without_a_wall_clock_makes_no_snapshot() {
    let world = World::new();
    let issuer = world.issuer();
    issuer.preload().unwrap();
    world.clock.set_wall(UNIX_EPOCH);
    assert!(matches!(issuer.snapshot(), Err(Error::Clock(_))));
}

#[test]
fn the_skew_of_the_clocks_is_told_and_never_applied() {
    let world = World::new();
    let behind = ManualClock::new();
    behind.set_wall(world.clock.wall() - secs(100));
    let builder =
        Issuer::builder(world.test.url()).transport(Recorder::new(world.test.transport())).clock(behind.clone());
    let (builder, events) = listening(builder);
    let issuer = builder.build().unwrap();
    assert_eq!(issuer.stats().clock_skew(), None);
    assert_eq!(token_kind(verify(&issuer, &world.test.token().sign())), TokenErrorKind::NotYetValid);
    assert_eq!(issuer.stats().clock_skew(), Some(100));
    let told = |events: &Mutex<Vec<String>>| events.lock().unwrap().iter().filter(|e| e.contains("behind")).count();
    assert_eq!(events.lock().unwrap()[0], "this clock is 100 s behind the issuer's");
    assert_eq!(told(&events), 1);

    behind.advance(secs(200));
    issuer.refresh_if_due().unwrap();
    behind.advance_monotonic(secs(600));
    issuer.refresh_if_due().unwrap();
    assert_eq!(issuer.stats().clock_skew(), Some(-100));
    assert_eq!(told(&events), 2);
}

#[test]
fn a_small_skew_is_measured_without_a_word() {
    let world = World::new();
    let near = ManualClock::new();
    near.set_wall(world.clock.wall() + Duration::from_secs(30));
    let builder = Issuer::builder(world.test.url()).transport(Recorder::new(world.test.transport())).clock(near);
    let (builder, events) = listening(builder);
    let issuer = builder.build().unwrap();
    issuer.preload().unwrap();
    assert_eq!(issuer.stats().clock_skew(), Some(-30));
    assert!(!events.lock().unwrap().iter().any(|event| event.contains("behind")));
}

#[cfg(all(unix, feature = "file-cache"))]
mod file {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A folder of one test's own.
    fn folder(name: &str) -> PathBuf {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("snapshot-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn a_snapshot_file_carries_the_keys_to_the_next_process_and_is_written_anew_after_each_refresh() {
        let world = World::new();
        let path = folder("carries").join("issuer.json");
        let issuer = world.builder().snapshot_file(&path).build().unwrap();
        assert!(!path.exists());
        issuer.preload().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let first = fs::read_to_string(&path).unwrap();

        world.test.rotate_keys();
        world.clock.advance(secs(600));
        issuer.refresh_if_due().unwrap();
        assert_ne!(fs::read_to_string(&path).unwrap(), first);

        cut_off(&world);
        let next = world.builder().snapshot_file(&path).build().unwrap();
        verify(&next, &world.test.token().sign()).unwrap();
        assert_eq!(next.stats().key_fetches(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_believed_is_told_of_and_the_network_is_used() {
        let world = World::new();
        let saved = world.issuer().snapshot().unwrap();
        let other = TestIssuer::builder().url("https://other.example").clock(world.clock.clone()).build();
        let foreign =
            Issuer::builder(other.url()).transport(Recorder::new(other.transport())).clock(world.clock.clone()).build();
        for (name, text, mode, why) in [
            ("half", saved[..saved.len() / 2].to_owned(), 0o600, "not a snapshot"),
            ("empty", String::new(), 0o600, "not a snapshot"),
            ("foreign", foreign.unwrap().snapshot().unwrap(), 0o600, "of another issuer"),
            ("version", saved.replacen("snapshot\":1", "snapshot\":9", 1), 0o600, "another version"),
            ("group", saved.clone(), 0o660, "others may write"),
            ("world", saved.clone(), 0o606, "others may write"),
            ("long", " ".repeat(5 * 1024 * 1024), 0o600, "cannot be read"),
        ] {
            let path = folder(name).join("issuer.json");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let (builder, events) = listening(world.builder().snapshot_file(&path));
            verify(&builder.build().unwrap(), &world.test.token().sign()).unwrap();
            assert!(events.lock().unwrap()[0].contains(why), "{name}: {:?}", events.lock().unwrap());
            // What was fetched has taken the place of the file.
            let next = world.builder().snapshot_file(&path).build().unwrap();
            verify(&next, &world.test.token().sign()).unwrap();
            assert_eq!(next.stats().key_fetches(), 0, "{name}");
        }
    }

    #[test]
    fn a_file_that_is_too_old_is_not_used() {
        let world = World::new();
        let path = folder("old").join("issuer.json");
        world.builder().snapshot_file(&path).build().unwrap().preload().unwrap();
        world.clock.advance(secs(3601));
        let (builder, events) = listening(world.builder().snapshot_file(&path));
        let issuer = builder.build().unwrap();
        verify(&issuer, &world.test.token().sign()).unwrap();
        assert!(events.lock().unwrap()[0].contains("older than max_stale"));
        assert_eq!(issuer.stats().key_fetches(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_fails_nothing() {
        let world = World::new();
        let path = folder("unwritable").join("no such folder").join("issuer.json");
        let (builder, events) = listening(world.builder().snapshot_file(&path));
        verify(&builder.build().unwrap(), &world.test.token().sign()).unwrap();
        assert!(events.lock().unwrap().iter().any(|event| event.contains("cannot be read or written")));
    }

    #[test]
    fn a_clock_before_the_file_judges_no_token() {
        let world = World::new();
        let path = folder("clock").join("issuer.json");
        world.builder().snapshot_file(&path).build().unwrap().preload().unwrap();
        let before = fs::read(&path).unwrap();
        let token = world.test.token().sign();
        let clock = machine(&world, -86_400);
        let issuer = world.builder().clock(clock).snapshot_file(&path).build().unwrap();
        assert!(matches!(verify(&issuer, &token), Err(Error::Clock(_))));
        issuer.preload().unwrap();
        assert_eq!(fs::read(&path).unwrap(), before, "an unset clock writes nothing");
    }

    #[test]
    fn a_file_that_a_clock_ahead_wrote_is_refused_and_replaced_at_the_next_fetch() {
        let world = World::new();
        let path = folder("ahead").join("issuer.json");
        let writer = world.builder().clock(machine(&world, 86_400)).snapshot_file(&path).build().unwrap();
        writer.preload().unwrap();
        let (builder, events) = listening(world.builder().snapshot_file(&path));
        let issuer = builder.build().unwrap();
        verify(&issuer, &world.test.token().sign()).unwrap();
        let told = events.lock().unwrap()[0].clone();
        assert!(told.contains(path.to_str().unwrap()) && told.contains("ran ahead"), "{told}");
        cut_off(&world);
        let next = world.builder().snapshot_file(&path).build().unwrap();
        verify(&next, &world.test.token().sign()).unwrap();
        assert_eq!(next.stats().key_fetches(), 0);
    }

    #[test]
    fn the_file_is_written_for_other_keys_or_a_later_time_and_not_otherwise() {
        use std::os::unix::fs::MetadataExt;

        let world = World::new();
        let path = folder("writes").join("issuer.json");
        let issuer = world.builder().snapshot_file(&path).build().unwrap();
        issuer.preload().unwrap();
        let written = || fs::metadata(&path).unwrap().ino();
        let refetch = |issuer: &Issuer| drop(verify(issuer, &world.test.token().key_id("unknown").sign()));
        let mut last = written();
        let mut is_written = || std::mem::replace(&mut last, written()) != written();
        world.clock.advance(secs(119));
        refetch(&issuer);
        assert_eq!((issuer.stats().key_fetches(), is_written()), (2, false), "the same keys");
        world.clock.advance(secs(10));
        refetch(&issuer);
        assert!(is_written(), "a fifth of the time to live later");
        let next = world.builder().snapshot_file(&path).build().unwrap();
        refetch(&next);
        assert_eq!((next.stats().key_fetches(), is_written()), (1, false), "what this process read itself");
        world.test.rotate_keys();
        verify(&next, &world.test.token().sign()).unwrap();
        assert!(is_written(), "other keys");
    }

    #[test]
    fn a_file_and_another_source_of_keys_are_a_configuration_error() {
        let world = World::new();
        let (saved, keys) = (world.issuer().snapshot().unwrap(), world.test.key_set());
        let with_file = || world.builder().snapshot_file("issuer.json");
        for builder in
            [with_file().static_keys(&keys), with_file().static_then_remote(&keys), with_file().snapshot(&saved)]
        {
            assert!(matches!(builder.build(), Err(Error::Config(_))));
        }
    }

    /// Of many threads at the first need each one finds the snapshot in the file, whichever reads it first.
    #[test]
    fn threads_that_need_the_file_at_once_all_start_without_the_network() {
        let world = World::new();
        let path = folder("threads").join("issuer.json");
        world.builder().snapshot_file(&path).build().unwrap().preload().unwrap();
        let token = world.test.token().sign();
        cut_off(&world);
        for _ in 0..50 {
            let issuer = world.builder().snapshot_file(&path).build().unwrap();
            let start = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                let verify = || {
                    start.wait();
                    verify(&issuer, &token)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(verify)).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
            });
        }
    }
}

#[test]
fn a_handler_that_panics_or_calls_back_harms_nothing() {
    let world = World::new();
    let slot: Arc<std::sync::OnceLock<Issuer>> = Arc::default();
    let inner = slot.clone();
    let token = world.test.token().sign();
    let handler = {
        let token = token.clone();
        move |_: &Event| {
            // No lock is held: the handler may use the issuer.
            let _ = inner.get().map(|issuer| (issuer.stats(), issuer.preload(), verify(issuer, &token)));
            panic!("the handler's own");
        }
    };
    let issuer = world.builder().on_event(handler).build().unwrap();
    slot.set(issuer.clone()).unwrap();
    verify(&issuer, &token).unwrap();
    world.clock.advance(secs(600));
    verify(&issuer, &token).unwrap();
    assert_eq!(issuer.stats().key_fetches(), 2);
}
