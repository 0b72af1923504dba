//! Starting without the network: pinned keys, snapshots; and a clock that is not right.

use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use aero2::testing::{Endpoint, Fault, ManualClock, TestIssuer};
use aero2::{Clock, Error, Event, Issuer, IssuerBuilder, NetworkErrorKind, TokenErrorKind};

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

#[test]
fn a_clock_before_the_snapshot_judges_no_token() {
    let world = World::new();
    let saved = world.issuer().snapshot().unwrap();
    let made_at = world.clock.wall();
    let issuer = world.builder().snapshot(&saved).build().unwrap();
    let token = world.test.token().sign();
    for wall in [UNIX_EPOCH, UNIX_EPOCH + secs(1_767_225_600), made_at - secs(1)] {
        world.clock.set_wall(wall);
        assert!(matches!(verify(&issuer, &token), Err(Error::Clock(_))));
    }
    assert_eq!(issuer.stats().key_fetches(), 0);
    world.clock.set_wall(made_at);
    verify(&issuer, &token).unwrap();
    assert_eq!(issuer.stats().key_fetches(), 0);
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
        let token = world.test.token().sign();
        world.clock.set_wall(UNIX_EPOCH + secs(1_767_225_600));
        let issuer = world.builder().snapshot_file(&path).build().unwrap();
        assert!(matches!(verify(&issuer, &token), Err(Error::Clock(_))));
        assert_eq!(issuer.stats().key_fetches(), 0);
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
