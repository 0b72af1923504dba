//! Looking up host names. The system's resolver cannot be interrupted, so it runs in a thread: one per host at a time, and few in all.

use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// The look-ups of one transport that are under way.
#[derive(Clone)]
pub(super) struct Lookups {
    shared: Arc<Shared>,
    seam: Seam,
}

/// What a test replaces.
#[derive(Clone, Copy)]
struct Seam {
    resolve: fn(&str) -> io::Result<Vec<IpAddr>>,
    spawn: fn(Box<dyn FnOnce() + Send>) -> io::Result<()>,
}

#[derive(Default)]
struct Shared {
    running: Mutex<Vec<Arc<Lookup>>>,
    ended: Condvar,
}

struct Lookup {
    host: String,
    outcome: OnceLock<Result<Vec<IpAddr>, Arc<io::Error>>>,
}

/// Why a look-up gave no address.
#[derive(Debug)]
pub(super) enum LookupError {
    TimedOut,
    Failed(Arc<io::Error>),
}

impl Lookups {
    pub(super) fn new() -> Self {
        Self { shared: Arc::default(), seam: Seam { resolve: ask_the_system, spawn: start_thread } }
    }

    /// The addresses of `host`. A caller joins the look-up that is under way for it, even one whose first caller has given up.
    pub(super) fn addresses(&self, host: &str, deadline: Option<Instant>) -> Result<Vec<IpAddr>, LookupError> {
        let mut running = self.shared.running.lock();
        let lookup = loop {
            if let Some(lookup) = running.iter().find(|lookup| lookup.host.eq_ignore_ascii_case(host)) {
                break lookup.clone();
            }
            if running.len() < MAX_LOOKUPS {
                break self.start(host, &mut running)?;
            }
            self.shared.wait(&mut running, deadline)?;
        };
        loop {
            if let Some(outcome) = lookup.outcome.get() {
                return outcome.clone().map_err(LookupError::Failed);
            }
            self.shared.wait(&mut running, deadline)?;
        }
    }

    fn start(&self, host: &str, running: &mut Vec<Arc<Lookup>>) -> Result<Arc<Lookup>, LookupError> {
        let lookup = Arc::new(Lookup { host: host.to_owned(), outcome: OnceLock::new() });
        let (shared, own, resolve) = (self.shared.clone(), lookup.clone(), self.seam.resolve);
        let work = move || {
            let outcome = resolve(&own.host).map_err(Arc::new);
            let mut running = shared.running.lock();
            let _ = own.outcome.set(outcome);
            running.retain(|other| !Arc::ptr_eq(other, &own));
            shared.ended.notify_all();
        };
        // The thread's first step after the look-up takes the lock that is held here.
        (self.seam.spawn)(Box::new(work)).map_err(|error| LookupError::Failed(Arc::new(error)))?;
        running.push(lookup.clone());
        Ok(lookup)
    }
}

impl Shared {
    fn wait(
        &self,
        running: &mut parking_lot::MutexGuard<'_, Vec<Arc<Lookup>>>,
        deadline: Option<Instant>,
    ) -> Result<(), LookupError> {
        match deadline {
            Some(deadline) if self.ended.wait_until(running, deadline).timed_out() => Err(LookupError::TimedOut),
            Some(_) => Ok(()),
            None => {
                self.ended.wait(running);
                Ok(())
            }
        }
    }
}

fn ask_the_system(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

fn start_thread(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    std::thread::Builder::new().name(String::from("aero2-lookup")).spawn(work).map(drop)
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

/// Look-ups of different hosts at the same time: an issuer has a host or two, and a proxy.
const MAX_LOOKUPS: usize = 4;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn with(
        resolve: fn(&str) -> io::Result<Vec<IpAddr>>,
        spawn: fn(Box<dyn FnOnce() + Send>) -> io::Result<()>,
    ) -> Lookups {
        Lookups { shared: Arc::default(), seam: Seam { resolve, spawn } }
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    /// A resolver that hangs for good.
    fn hang(_: &str) -> io::Result<Vec<IpAddr>> {
        loop {
            std::thread::park();
        }
    }

    #[test]
    fn one_look_up_per_host_runs_at_a_time_and_few_in_all() {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let lookups = with(hang, |work| {
            THREADS.fetch_add(1, Ordering::SeqCst);
            start_thread(work)
        });
        for _ in 0..3 {
            std::thread::scope(|scope| {
                for worker in 0..16 {
                    let lookups = &lookups;
                    scope.spawn(move || {
                        let host = format!("{}.example", worker % 8);
                        assert!(matches!(lookups.addresses(&host, soon()), Err(LookupError::TimedOut)));
                    });
                }
            });
        }
        assert_eq!(THREADS.load(Ordering::SeqCst), MAX_LOOKUPS);
    }

    #[test]
    fn a_caller_joins_the_look_up_that_is_under_way() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static GO: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        let lookups = with(
            |_| {
                ASKED.fetch_add(1, Ordering::SeqCst);
                let mut go = GO.0.lock();
                while !*go {
                    GO.1.wait(&mut go);
                }
                Ok(vec![Ipv4Addr::new(10, 0, 0, 1).into()])
            },
            start_thread,
        );
        assert!(matches!(lookups.addresses("a.example", soon()), Err(LookupError::TimedOut)));
        std::thread::scope(|scope| {
            let joined = scope.spawn(|| lookups.addresses("A.example", None).unwrap());
            while Arc::strong_count(&lookups.shared.running.lock()[0]) < 3 {
                std::thread::yield_now();
            }
            *GO.0.lock() = true;
            GO.1.notify_all();
            assert_eq!(joined.join().unwrap(), [Ipv4Addr::new(10, 0, 0, 1)]);
        });
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        lookups.addresses("a.example", None).unwrap();
        assert_eq!(ASKED.load(Ordering::SeqCst), 2, "nothing is kept");
    }

    #[test]
    fn a_thread_that_cannot_start_is_an_error_and_leaves_nothing_behind() {
        let lookups = with(hang, |_| Err(io::Error::from(io::ErrorKind::WouldBlock)));
        for _ in 0..=MAX_LOOKUPS {
            let error = lookups.addresses("a.example", None).unwrap_err();
            assert!(matches!(error, LookupError::Failed(e) if e.kind() == io::ErrorKind::WouldBlock));
        }
        assert!(lookups.shared.running.lock().is_empty());
    }
}
