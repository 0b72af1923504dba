//! One token for many processes: `M2mClientBuilder::token_file`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Instant, SystemTime};

use aero2::testing::{Endpoint, Fault, ManualClock, TestIssuer};
use aero2::{Event, Issuer, M2mClient, M2mClientBuilder, TokenOptions};

use crate::support::recorder::Recorder;
use crate::support::{World, child, recorded_builder, secs};

/// An empty directory of one test's own, gone when it is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aero2-token-file-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("tokens.json")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn builder(issuer: &Issuer) -> M2mClientBuilder {
    issuer.m2m_client(TestIssuer::CLIENT_ID, TestIssuer::CLIENT_SECRET)
}

/// A client as another process would have it: nothing in memory.
fn client(world: &World, path: &Path) -> M2mClient {
    builder(&world.issuer()).token_file(path).build().unwrap()
}

fn text(client: &M2mClient) -> String {
    client.access_token().unwrap().expose_secret().to_owned()
}

/// Events as their messages.
fn told(world: &World, path: &Path) -> (M2mClient, Arc<Mutex<Vec<String>>>) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = events.clone();
    let tell = move |event: &Event| sink.lock().unwrap().push(event.to_string());
    let issuer = world.builder().on_event(tell).build().unwrap();
    (builder(&issuer).token_file(path).build().unwrap(), events)
}

const CHILD: &str = "token_file::a_child_that_takes_a_token";

/// Run by the other tests as a process of its own: waits for a line, takes a token, says which.
#[test]
fn a_child_that_takes_a_token() {
    if !child::is_child() {
        return;
    }
    let transport = aero2::UreqTransport::builder().build().unwrap();
    let issuer = Issuer::builder(&child::passed("ISSUER")).transport(Recorder::new(transport)).timeout(secs(60));
    let issuer = issuer.build().unwrap();
    let m2m = builder(&issuer).token_file(child::passed("TOKEN_FILE")).build().unwrap();
    println!("\nREADY");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    println!("\nTOKEN {}", text(&m2m));
}

/// A child, killed at the latest when it is dropped.
struct Process(Child, BufReader<std::process::ChildStdout>);

impl Process {
    fn start(issuer: &str, path: &Path) -> Self {
        let environment = [("ISSUER", issuer), ("TOKEN_FILE", path.to_str().unwrap())];
        let mut command = child::command(CHILD, &environment);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self(child, output);
        process.line("READY");
        process
    }

    fn go(&mut self) {
        self.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn token(mut self) -> String {
        self.line("TOKEN ")
    }

    /// What follows `start` on the first line that begins so.
    fn line(&mut self, start: &str) -> String {
        let mut lines = self.1.by_ref().lines().map(Result::unwrap);
        let found = lines.find_map(|line| line.strip_prefix(start).map(str::to_owned));
        found.unwrap_or_else(|| panic!("the child ended without saying {start}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn twenty_processes_that_start_at_once_make_one_token_request() {
    let directory = Directory::new("twenty");
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    let gate = test.gate(Endpoint::Token);
    let mut processes: Vec<_> = (0..20).map(|_| Process::start(server.url(), &directory.file())).collect();
    processes.iter_mut().for_each(Process::go);
    gate.wait_until_reached(1);
    gate.release();
    let mut tokens: Vec<String> = processes.into_iter().map(Process::token).collect();
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_eq!(test.requests(Endpoint::Token), 1);
}

#[test]
fn a_holder_of_the_lock_that_is_killed_blocks_nobody() {
    let directory = Directory::new("killed");
    let test = TestIssuer::new();
    let server = test.serve().unwrap();
    let gate = test.gate(Endpoint::Token);
    let mut holder = Process::start(server.url(), &directory.file());
    holder.go();
    gate.wait_until_reached(1);

    let mut waiter = Process::start(server.url(), &directory.file());
    waiter.go();
    let before = Instant::now();
    drop(holder);
    gate.wait_until_reached(2);
    assert!(before.elapsed() < secs(20), "less than half of the waiter's budget of 60 s: it got the lock");
    gate.release();
    waiter.token();
    assert_eq!(test.requests(Endpoint::Token), 2);
}

#[cfg(unix)]
#[test]
fn a_holder_of_the_lock_that_hangs_blocks_others_for_half_of_their_budget() {
    use crate::support::pace::{healthy, in_time, within};

    in_time("a token beside a lock that is held", |budget| {
        let directory = Directory::new("hanging");
        let test = TestIssuer::new();
        let lock = fs::File::create(directory.0.join("tokens.json.lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();

        let issuer = recorded_builder(&test).timeout(budget).build().unwrap();
        let m2m = builder(&issuer).token_file(directory.file()).build().unwrap();
        let before = Instant::now();
        healthy("mint", within("mint", budget, || m2m.access_token())?)?;
        let waited = before.elapsed();
        assert!(waited >= budget.mul_f32(0.45), "{waited:?}");
        assert_eq!(issuer.stats().tokens_minted(), 1);
        Ok(())
    });
}

#[test]
fn another_process_takes_the_token_with_its_scope_and_its_end() {
    let (directory, world) = (Directory::new("next"), World::new());
    let first = client(&world, &directory.file()).access_token().unwrap();
    world.clock.advance(secs(100));
    let issuer = world.issuer();
    let second = builder(&issuer).token_file(directory.file()).build().unwrap();
    let token = second.access_token().unwrap();
    assert_eq!(token.expose_secret(), first.expose_secret());
    assert_eq!(token.scope(), Some("api:read api:write"));
    let whole_seconds = |at: Option<SystemTime>| at.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(whole_seconds(token.expires_at()), whole_seconds(first.expires_at()));
    assert_eq!((world.test.requests(Endpoint::Token), issuer.stats().tokens_minted()), (1, 0));

    // And keeps it in memory, whatever becomes of the file.
    fs::remove_file(directory.file()).unwrap();
    assert_eq!(text(&second), first.expose_secret());
}

#[test]
fn each_token_is_for_its_issuer_client_scopes_and_parameters() {
    let (directory, world) = (Directory::new("keys"), World::new());
    let (path, other_world) = (directory.file(), World::new());
    world.test.register_client("other", "secret", ["api:read"]);
    let other_url =
        Issuer::builder("https://test.aero2.example/").transport(Recorder::new(other_world.test.transport()));
    let mint_all = || {
        let m2m = client(&world, &path);
        for options in [
            TokenOptions::new(),
            TokenOptions::new().scope("api:read"),
            TokenOptions::new().scope("api:write api:read"),
            TokenOptions::new().param("audience", "a"),
            TokenOptions::new().param("audience", "b"),
        ] {
            m2m.access_token_with(&options).unwrap();
        }
        let other = world.issuer().m2m_client("other", "secret").token_file(&path).build().unwrap();
        other.access_token().unwrap();
    };
    mint_all();
    assert_eq!(world.test.requests(Endpoint::Token), 6);
    mint_all();
    assert_eq!(world.test.requests(Endpoint::Token), 6, "all are in the file");
    let same_set = TokenOptions::new().scope("api:read api:write api:read");
    client(&world, &path).access_token_with(&same_set).unwrap();
    assert_eq!(world.test.requests(Endpoint::Token), 6);

    let other_issuer = builder(&other_url.build().unwrap()).token_file(&path).build().unwrap();
    assert!(other_issuer.access_token().is_err(), "the URL is not this issuer's, and no token of the file is for it");
}

#[test]
fn the_file_is_private_and_holds_no_secret_and_no_parameter() {
    let (directory, world) = (Directory::new("private"), World::new());
    let options = TokenOptions::new().param("audience", "a-private-audience");
    client(&world, &directory.file()).access_token_with(&options).unwrap();
    let held = fs::read_to_string(directory.file()).unwrap();
    for text in [TestIssuer::CLIENT_SECRET, TestIssuer::CLIENT_ID, "a-private-audience", world.test.url()] {
        assert!(!held.contains(text), "{text}");
    }
    #[cfg(unix)]
    for name in ["tokens.json", "tokens.json.lock", "tokens.json.write.lock"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(directory.0.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 3);
}

#[test]
fn a_token_that_is_due_or_over_by_the_wall_clock_is_not_taken() {
    let (directory, world) = (Directory::new("due"), World::new());
    let mut requests = 0;
    let mut taken_after = |wall: i64| {
        let _ = fs::remove_file(directory.file());
        client(&world, &directory.file()).access_token().unwrap();
        let clock = ManualClock::new();
        let now = aero2::Clock::wall(&world.clock);
        let step = secs(wall.unsigned_abs());
        clock.set_wall(if wall < 0 { now - step } else { now + step });
        let issuer = Issuer::builder(world.test.url())
            .transport(Recorder::new(world.test.transport()))
            .clock(clock)
            .build()
            .unwrap();
        builder(&issuer).token_file(directory.file()).build().unwrap().access_token().unwrap();
        let asked = world.test.requests(Endpoint::Token) - requests;
        requests += asked;
        asked == 1
    };
    for (wall, taken) in [
        (0, true),
        (1, true),
        (3530, true),
        (3545, false),
        (3600, false),
        (90_000, false),
        (-5, false),
        (-90_000, false),
    ] {
        assert_eq!(taken_after(wall), taken, "{wall} s later");
    }
}

#[test]
fn with_an_unset_wall_clock_the_file_is_left_alone() {
    let (directory, world) = (Directory::new("unset"), World::new());
    world.clock.set_wall(SystemTime::UNIX_EPOCH);
    client(&world, &directory.file()).access_token().unwrap();
    client(&world, &directory.file()).access_token().unwrap();
    assert_eq!(world.test.requests(Endpoint::Token), 2);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
}

#[test]
fn one_process_refreshes_for_all() {
    let (directory, world) = (Directory::new("refresh"), World::new());
    let (one, two) = (client(&world, &directory.file()), client(&world, &directory.file()));
    let old = text(&one);
    assert_eq!(text(&two), old);
    world.clock.advance(secs(3560));
    let new = text(&one);
    assert_ne!(new, old);
    assert_eq!(text(&two), new);
    assert_eq!(world.test.requests(Endpoint::Token), 2);
}

#[test]
fn a_forced_refresh_asks_the_issuer_and_rewrites_the_file() {
    let (directory, world) = (Directory::new("forced"), World::new());
    let m2m = client(&world, &directory.file());
    let old = text(&m2m);
    let new = m2m.access_token_with(&TokenOptions::new().force_refresh()).unwrap();
    assert_ne!(new.expose_secret(), old);
    assert_eq!(text(&client(&world, &directory.file())), new.expose_secret());
    assert_eq!(world.test.requests(Endpoint::Token), 2);
}

#[test]
fn a_rejected_token_does_not_come_back_from_the_file() {
    let (directory, world) = (Directory::new("rejected"), World::new());
    let m2m = client(&world, &directory.file());
    let bystander = client(&world, &directory.file());
    let kept = TokenOptions::new().scope("api:read");
    bystander.access_token_with(&kept).unwrap();
    let old = m2m.access_token().unwrap();
    let copy = fs::read(directory.file()).unwrap();
    m2m.reject(&old);
    assert_ne!(text(&client(&world, &directory.file())), old.expose_secret(), "another process does not get it");

    fs::write(directory.file(), copy).unwrap();
    assert_ne!(text(&m2m), old.expose_secret(), "nor does this one, even if it is in the file");

    // Another process may have replaced it: then that one will do.
    let (one, two) = (client(&world, &directory.file()), client(&world, &directory.file()));
    let same = one.access_token().unwrap();
    assert_eq!(text(&two), same.expose_secret());
    one.reject(&same);
    let newer = text(&one);
    let requests = world.test.requests(Endpoint::Token);
    two.reject(&same);
    assert_eq!(text(&two), newer);
    client(&world, &directory.file()).access_token_with(&kept).unwrap();
    assert_eq!(world.test.requests(Endpoint::Token), requests);
}

#[test]
fn clearing_the_cache_clears_the_file_even_while_a_request_is_under_way() {
    let (directory, world) = (Directory::new("cleared"), World::new());
    let m2m = client(&world, &directory.file());
    let old = text(&m2m);
    m2m.clear_cache();
    assert_ne!(text(&m2m), old);

    m2m.clear_cache();
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| text(&m2m));
        gate.wait_until_reached(1);
        m2m.clear_cache();
        gate.release();
        let cut_off = waiting.join().unwrap();
        assert_ne!(text(&client(&world, &directory.file())), cut_off);
    });
}

#[test]
fn a_file_that_cannot_be_believed_is_told_of_and_replaced() {
    let (directory, world) = (Directory::new("corrupt"), World::new());
    let path = directory.file();
    let token = text(&client(&world, &path));
    let good = fs::read_to_string(&path).unwrap();
    let changed = |from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        changed
    };
    for held in [
        String::new(),
        "{}".to_owned(),
        good[..good.len() / 2].to_owned(),
        format!("{good}x"),
        changed("\"aero2_tokens\":2", "\"aero2_tokens\":1"),
        changed("\"aero2_tokens\":2", "\"aero2_tokens\":2,\"aero2_tokens\":2"),
        changed("\"entries\":{", "\"entry\":{"),
        changed("\"expires_at\":", "\"expires_at\":-"),
        changed("aero2_token\\\":1", "aero2_token\\\":2"),
        changed("key\\\":\\\"token.", "key\\\":\\\"tokens."),
        changed("minted_at\\\":", "minted\\\":"),
        changed("expires_at\\\":", "expires_at\\\":-"),
        changed(&token, ""),
        changed(&token, "two words"),
        changed(&token, "caf\u{e9}"),
        changed(&token, "line\\\\n"),
        changed("scope\\\":\\\"", "scope\\\":7,\\\"s\\\":\\\""),
        "x".repeat(2_000_000),
    ] {
        fs::write(&path, &held).unwrap();
        let (m2m, events) = told(&world, &path);
        let before = world.test.requests(Endpoint::Token);
        text(&m2m);
        assert_eq!(world.test.requests(Endpoint::Token), before + 1);
        let events = events.lock().unwrap().join("; ");
        assert!(events.starts_with("token minted; token file not used: it is "), "{events}");
        text(&client(&world, &path));
        assert_eq!(world.test.requests(Endpoint::Token), before + 1, "the file is whole again");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_others_may_have_written_is_told_of_and_replaced() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let (directory, world) = (Directory::new("foreign"), World::new());
    let path = directory.file();
    text(&client(&world, &path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    let (m2m, events) = told(&world, &path);
    text(&m2m);
    let told_of = |events: &Mutex<Vec<String>>, cause: &str| {
        let events = events.lock().unwrap();
        assert!(events.contains(&format!("token file not used: {cause}: {}", path.display())), "{events:?}");
    };
    told_of(&events, "others may write it");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let elsewhere = directory.0.join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    let (m2m, events) = told(&world, &path);
    text(&m2m);
    told_of(&events, "it is a symbolic link");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(world.test.requests(Endpoint::Token), 3);
}

#[test]
fn a_directory_that_is_not_there_costs_the_sharing_only() {
    let (directory, world) = (Directory::new("absent"), World::new());
    let (m2m, events) = told(&world, &directory.0.join("absent").join("tokens.json"));
    let token = text(&m2m);
    assert_eq!(text(&m2m), token);
    m2m.reject(&m2m.access_token().unwrap());
    m2m.clear_cache();
    let events = events.lock().unwrap();
    assert!(events.iter().any(|event| event.starts_with("token file not written: ")), "{events:?}");
}

#[test]
fn an_error_of_the_issuer_is_no_matter_of_the_file() {
    let (directory, world) = (Directory::new("error"), World::new());
    world.test.fail(Endpoint::Token, 1, Fault::status(500));
    assert!(client(&world, &directory.file()).access_token().is_err());
    text(&client(&world, &directory.file()));
    assert_eq!(world.test.requests(Endpoint::Token), 2);
}

#[test]
fn the_file_holds_the_newest_tokens_only() {
    let (directory, world) = (Directory::new("many"), World::new());
    let m2m = client(&world, &directory.file());
    for n in 0..70 {
        m2m.access_token_with(&TokenOptions::new().param("audience", format!("a{n}"))).unwrap();
        world.clock.advance(secs(1));
    }
    let held = fs::read_to_string(directory.file()).unwrap();
    assert_eq!(held.matches("token\\\":\\\"").count(), 64);
    client(&world, &directory.file()).access_token_with(&TokenOptions::new().param("audience", "a69")).unwrap();
    assert_eq!(world.test.requests(Endpoint::Token), 70);
}

/// A client whose token endpoint waits behind a gate, on a thread of its own, for another scope.
fn during_a_request_for_another_scope<T>(world: &World, path: &Path, during: impl FnOnce() -> T) -> T {
    let holder = client(world, path);
    let gate = world.test.gate(Endpoint::Token);
    thread::scope(|scope| {
        let request = scope.spawn(move || holder.access_token_with(&TokenOptions::new().scope("api:write")).unwrap());
        gate.wait_until_reached(1);
        let outcome = during();
        gate.release();
        request.join().unwrap();
        outcome
    })
}

#[test]
fn a_rejection_takes_effect_at_once_while_another_process_holds_the_request_lock() {
    let (directory, world) = (Directory::new("rejected-meanwhile"), World::new());
    let path = directory.file();
    let m2m = client(&world, &path);
    let old = m2m.access_token().unwrap();
    during_a_request_for_another_scope(&world, &path, || m2m.reject(&old));
    assert_ne!(text(&client(&world, &path)), old.expose_secret());
}

#[test]
fn a_cleared_token_does_not_come_back_when_another_process_stores_its_own() {
    let (directory, world) = (Directory::new("cleared-meanwhile"), World::new());
    let path = directory.file();
    let m2m = client(&world, &path);
    let old = text(&m2m);
    during_a_request_for_another_scope(&world, &path, || m2m.clear_cache());
    assert_ne!(text(&client(&world, &path)), old);
}

#[test]
fn clearing_the_cache_removes_this_clients_tokens_and_no_other_clients() {
    let (directory, world) = (Directory::new("others"), World::new());
    let path = directory.file();
    world.test.register_client("other", "secret", ["api:read"]);
    let other = || world.issuer().m2m_client("other", "secret").token_file(&path).build().unwrap();
    let kept = text(&other());
    let scoped = TokenOptions::new().scope("api:read");
    let (one, two) = (text(&client(&world, &path)), client(&world, &path).access_token_with(&scoped).unwrap());

    // A process that never used the tokens itself, as the command `logout` of a tool.
    client(&world, &path).clear_cache();
    assert_eq!(text(&other()), kept);
    assert_ne!(text(&client(&world, &path)), one);
    let second = client(&world, &path).access_token_with(&scoped).unwrap();
    assert_ne!(second.expose_secret(), two.expose_secret());
}

#[test]
fn an_entry_that_is_evicted_during_its_request_clears_nothing() {
    let (directory, world) = (Directory::new("evicted"), World::new());
    let path = directory.file();
    let m2m = client(&world, &path);
    let kept = TokenOptions::new().scope("api:read");
    let numbered = |n: usize| TokenOptions::new().param("audience", format!("a{n}"));
    let other = client(&world, &path);
    (0..63).for_each(|n| drop(other.access_token_with(&numbered(n)).unwrap()));
    let before = other.access_token_with(&kept).unwrap();

    let gate = world.test.gate(Endpoint::Token);
    let minted = thread::scope(|scope| {
        let request = scope.spawn(|| text(&m2m));
        gate.wait_until_reached(1);
        // They come from the file, and are the 64 entries that there is room for.
        (0..63).for_each(|n| drop(m2m.access_token_with(&numbered(n)).unwrap()));
        m2m.access_token_with(&kept).unwrap();
        gate.release();
        request.join().unwrap()
    });
    assert_eq!(text(&client(&world, &path)), minted);
    let again = client(&world, &path).access_token_with(&kept).unwrap();
    assert_eq!(again.expose_secret(), before.expose_secret());
}

#[test]
fn a_refusal_is_shared_for_ten_seconds_and_ends_at_once_with_another_secret() {
    let (directory, world) = (Directory::new("refused"), World::new());
    let path = directory.file();
    let with = |secret: &str| {
        let m2m = world.issuer().m2m_client(TestIssuer::CLIENT_ID, secret).token_file(&path).build().unwrap();
        m2m.access_token()
    };
    for _ in 0..8 {
        let error = with("wrong").unwrap_err();
        let wait = error.retry_after().unwrap();
        assert!(wait <= secs(10) && wait >= secs(9), "{wait:?}");
        let aero2::Error::OAuth(error) = error else { panic!("{error}") };
        assert_eq!((error.error_code(), error.status()), ("invalid_client", 401));
    }
    assert_eq!(world.test.requests(Endpoint::Token), 1);
    assert!(!fs::read_to_string(&path).unwrap().contains("wrong"));

    with(TestIssuer::CLIENT_SECRET).unwrap();
    assert_eq!(world.test.requests(Endpoint::Token), 2, "the mended secret is tried at once");
    fs::remove_file(&path).unwrap();
    with("wrong").unwrap_err();
    world.clock.advance(secs(11));
    with("wrong").unwrap_err();
    assert_eq!(world.test.requests(Endpoint::Token), 4);
}

#[test]
fn each_problem_with_the_file_is_told_with_its_path_and_its_cause() {
    let (directory, world) = (Directory::new("causes"), World::new());
    let absent = directory.0.join("absent").join("tokens.json");
    let (m2m, events) = told(&world, &absent);
    text(&m2m);
    let events = events.lock().unwrap().join("\n");
    for (start, lock) in [("token file not used: ", ".lock"), ("token file not written: ", ".write.lock")] {
        let expected = format!("(os error 2): {}{lock}", absent.display());
        assert!(events.lines().any(|line| line.starts_with(start) && line.ends_with(&expected)), "{events}");
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_in_place_of_the_file_makes_no_call_wait() {
    let (directory, world) = (Directory::new("pipe"), World::new());
    let path = directory.file();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (m2m, events) = told(&world, &path);
    let before = Instant::now();
    text(&m2m);
    assert!(before.elapsed() < secs(5));
    let expected = format!("token file not used: it is not a regular file: {}", path.display());
    assert!(events.lock().unwrap().contains(&expected));
    assert!(fs::symlink_metadata(&path).unwrap().is_file(), "it was replaced");
}

#[cfg(unix)]
#[test]
fn a_directory_that_others_can_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;

    let (directory, world) = (Directory::new("open"), World::new());
    text(&client(&world, &directory.file()));
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o777)).unwrap();
    let (m2m, events) = told(&world, &directory.file());
    text(&m2m);
    assert_eq!(world.test.requests(Endpoint::Token), 2);
    let events = events.lock().unwrap().join("\n");
    assert!(events.contains("token file not used: others may write its directory: "), "{events}");
    assert!(events.contains("token file not written: others may write its directory: "), "{events}");
}

#[test]
fn what_a_killed_writer_left_behind_goes_with_the_next_token() {
    let (directory, world) = (Directory::new("left-behind"), World::new());
    let left = directory.0.join(".tokens.json.killed.tmp");
    fs::write(&left, "a token").unwrap();
    text(&client(&world, &directory.file()));
    assert!(!left.exists());
}

/// A store of the user's own: it works, or fails, or lies.
#[derive(Clone, Default)]
struct Memory {
    entries: Arc<Mutex<std::collections::BTreeMap<String, Vec<u8>>>>,
    dead: bool,
    lie: Option<&'static str>,
}

impl aero2::TokenStore for Memory {
    fn load(&self, key: &str) -> std::io::Result<Option<Vec<u8>>> {
        if let Some(lie) = self.lie {
            return Ok(Some(lie.into()));
        }
        self.alive()?;
        Ok(self.entries.lock().unwrap().get(key).cloned())
    }

    fn store(&self, key: &str, value: &[u8], ttl: std::time::Duration) -> std::io::Result<()> {
        self.alive()?;
        assert!(ttl > secs(0) && key.len() <= 100 && key.bytes().all(|byte| byte.is_ascii_graphic()));
        self.entries.lock().unwrap().insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn remove(&self, prefix: &str) -> std::io::Result<()> {
        self.alive()?;
        self.entries.lock().unwrap().retain(|key, _| !key.starts_with(prefix));
        Ok(())
    }

    fn lock(&self, _: &str, _: std::time::Duration) -> std::io::Result<Option<aero2::StoreLock>> {
        self.alive()?;
        Ok(Some(aero2::StoreLock::new(())))
    }
}

impl Memory {
    fn alive(&self) -> std::io::Result<()> {
        if self.dead { Err(std::io::Error::other("it is dead")) } else { Ok(()) }
    }
}

#[test]
fn a_store_of_the_users_own_shares_tokens_as_the_file_does() {
    let (world, store) = (World::new(), Memory::default());
    let client = || builder(&world.issuer()).token_store(store.clone()).build().unwrap();
    let old = client().access_token().unwrap();
    let m2m = client();
    assert_eq!(text(&m2m), old.expose_secret());
    m2m.reject(&old);
    let new = text(&client());
    assert_ne!(new, old.expose_secret());
    client().clear_cache();
    assert_ne!(text(&client()), new);
    assert_eq!(world.test.requests(Endpoint::Token), 3);
}

#[test]
fn a_store_that_is_dead_or_lies_costs_one_request_and_an_event() {
    let lies = [
        "",
        "{}",
        "not a token",
        r#"{"aero2_token":1,"key":"another","minted_at":1,"expires_at":99999999999,"token":"t"}"#,
    ];
    let stores = lies.map(|lie| Memory { lie: Some(lie), ..Memory::default() });
    for store in stores.into_iter().chain([Memory { dead: true, ..Memory::default() }]) {
        let world = World::new();
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = events.clone();
        let issuer = world.builder().on_event(move |event: &Event| sink.lock().unwrap().push(event.to_string()));
        let m2m = builder(&issuer.build().unwrap()).token_store(store).build().unwrap();
        let token = text(&m2m);
        assert_eq!(text(&m2m), token);
        m2m.clear_cache();
        assert_ne!(text(&m2m), token);
        assert_eq!(world.test.requests(Endpoint::Token), 2);
        assert!(events.lock().unwrap().iter().any(|event| event.starts_with("token file not used: it is ")));
    }
}
