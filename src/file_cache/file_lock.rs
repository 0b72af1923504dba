//! A lock between processes that dies with its holder.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::file_cache::private_file::{creating_options, open_private};
use crate::time::Deadline;

/// Held until it is dropped, or until the system closes the file of a holder that was killed. The lock file itself stays: removing it
/// would let two processes hold locks on two files of one name.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: File,
}

impl FileLock {
    /// The lock whose file is `path`; `None` if another holds it until the deadline. The system has no lock with a time limit, so the
    /// wait is a series of tries.
    ///
    /// # Errors
    /// The lock file cannot be opened or cannot be trusted ([`read_private`](crate::file_cache::private_file::read_private)).
    pub(crate) fn acquire(path: &Path, deadline: Deadline) -> io::Result<Option<Self>> {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(file) = try_lock(path)? {
                return Ok(Some(Self { _file: file }));
            }
            let Some(left) = deadline.remaining() else { return Ok(None) };
            thread::sleep(pause.min(left));
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }
}

/// The file where it is there, else a new one; who comes second in making it takes the first one's.
fn open(path: &Path, options: &mut OpenOptions, creating: &mut OpenOptions) -> io::Result<File> {
    for _ in 0..OPEN_TRIES {
        if let Some(file) = open_private(path, options.write(true))? {
            return Ok(file);
        }
        match creating.open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => return outcome,
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `flock` and not `fcntl`: a lock of the latter is gone as soon as any other descriptor of the file is closed in this process.
#[cfg(unix)]
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    use rustix::fs::{FlockOperation, flock};

    let file = open(path, &mut OpenOptions::new(), &mut creating_options())?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A file that is opened without sharing cannot be opened a second time.
#[cfg(windows)]
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    use std::os::windows::fs::OpenOptionsExt;

    const ERROR_SHARING_VIOLATION: i32 = 32;
    let (mut options, mut creating) = (OpenOptions::new(), creating_options());
    match open(path, options.share_mode(0), creating.share_mode(0)) {
        Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => Ok(None),
        outcome => outcome.map(Some),
    }
}

#[cfg(not(any(unix, windows)))]
fn try_lock(_: &Path) -> io::Result<Option<File>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Holders come and go within a request, so there is no haste, and no long wait either.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A lock file that is made and removed under our hands this often is no accident.
const OPEN_TRIES: usize = 8;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Instant;

    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("aero2-lock-{name}-{}", std::process::id()))
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(60))
    }

    #[test]
    fn one_holds_it_and_the_next_gets_it_when_the_first_lets_go() {
        let path = path("one");
        let held = FileLock::acquire(&path, soon()).unwrap().unwrap();
        let before = Instant::now();
        assert!(FileLock::acquire(&path, soon()).unwrap().is_none());
        assert!(before.elapsed() >= Duration::from_millis(60));

        let (sender, receiver) = mpsc::channel();
        let waiter = thread::spawn({
            let path = path.clone();
            move || {
                sender.send(()).unwrap();
                FileLock::acquire(&path, Deadline::after(Duration::from_secs(60))).unwrap().is_some()
            }
        });
        receiver.recv().unwrap();
        drop(held);
        assert!(waiter.join().unwrap());
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_file_that_is_a_link_or_in_no_directory_is_refused() {
        let (link, target) = (path("link"), path("target"));
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(FileLock::acquire(&link, soon()).is_err());
        assert!(!target.exists());
        assert!(FileLock::acquire(&target.join("below"), soon()).is_err());
        std::fs::remove_file(&link).unwrap();
    }
}
