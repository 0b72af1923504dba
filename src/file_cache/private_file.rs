//! Files that only this user may write, and that a power cut leaves as they were or as they are to be, never in between.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

/// Replaces the file at `path`, mode 0600, through a temporary file beside it. A symbolic link at `path` is replaced, not followed.
///
/// # Errors
/// `InvalidData` for a directory that must not be trusted, as [`read_private`]. Otherwise the system's own error.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_in_steps(path, bytes, &mut |_| {})
}

/// The file's bytes; `None` where there is no file.
///
/// # Errors
/// `InvalidData` for a file that must not be trusted: not a regular file, owned by another user, writable by others, longer than `max`,
/// or in a directory that another user than root owns or that others may write (unless its sticky bit keeps them from replacing files).
/// Otherwise the system's own error.
pub(crate) fn read_private(path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_private(path, OpenOptions::new().read(true))? else { return Ok(None) };
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > max { Err(refused("it is too long")) } else { Ok(Some(bytes)) }
}

/// Opens a file that is there; `None` where there is none. Follows no link, and waits for no other end of a pipe.
///
/// # Errors
/// As [`read_private`].
pub(crate) fn open_private(path: &Path, options: &OpenOptions) -> io::Result<Option<File>> {
    if none_if_absent(check_directory(directory_of(path)))?.is_none() {
        return Ok(None);
    }
    let Some(file) = none_if_absent(open_itself(path, options))? else { return Ok(None) };
    check_private(&file.metadata()?)?;
    Ok(Some(file))
}

/// Options by which a file that is created is for this user alone.
pub(crate) fn creating_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// What [`write_private`] has just done: the moments at which the power may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Created,
    HalfWritten,
    Written,
    Synced,
    Renamed,
    DirectorySynced,
}

fn write_in_steps(path: &Path, bytes: &[u8], done: &mut dyn FnMut(Step)) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let directory = directory_of(path);
    check_directory(directory)?;
    // Before the write, since a full disk may be full of these.
    sweep(directory, name);
    let (temporary, mut file) = create_temporary(directory, name)?;
    done(Step::Created);
    let outcome = write_all(&mut file, bytes, done).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = outcome {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    done(Step::Renamed);
    // The rename itself is in the directory, which has a cache of its own.
    sync_directory(directory)?;
    done(Step::DirectorySynced);
    Ok(())
}

fn write_all(file: &mut File, bytes: &[u8], done: &mut dyn FnMut(Step)) -> io::Result<()> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    done(Step::HalfWritten);
    file.write_all(second)?;
    done(Step::Written);
    file.sync_all()?;
    done(Step::Synced);
    Ok(())
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file that is locked as long as its writer lives, so that no other process sweeps it.
fn create_temporary(directory: &Path, name: &std::ffi::OsStr) -> io::Result<(PathBuf, File)> {
    for _ in 0..CREATE_TRIES {
        let path = directory.join(temporary_name(name)?);
        let file = creating_options().open(&path)?;
        // A sweep between the two steps above takes the file for an abandoned one.
        if claim(&file) {
            return Ok((path, file));
        }
        let _ = fs::remove_file(&path);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A name that no other process can come to, in another container on the same volume neither.
fn temporary_name(name: &std::ffi::OsStr) -> io::Result<OsString> {
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("the system gives no randomness"))?;
    let mut temporary = temporary_prefix(name);
    temporary.push(URL_SAFE_NO_PAD.encode(random));
    temporary.push(TEMPORARY_SUFFIX);
    Ok(temporary)
}

fn temporary_prefix(name: &std::ffi::OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    prefix
}

/// Removes what dead writers left behind. A failure does not matter: the next write tries again.
fn sweep(directory: &Path, name: &std::ffi::OsStr) {
    let prefix = temporary_prefix(name);
    let is_temporary = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        name.starts_with(prefix.as_encoded_bytes()) && name.ends_with(TEMPORARY_SUFFIX.as_bytes())
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(is_temporary) {
        if is_abandoned(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether the file's writer is dead: then its lock is gone. Without locks the file's age decides.
#[cfg(unix)]
fn is_abandoned(path: &Path) -> bool {
    use rustix::fs::{FlockOperation, flock};

    let Ok(file) = open_itself(path, OpenOptions::new().read(true)) else { return false };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => true,
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => false,
        Err(_) => file.metadata().is_ok_and(|found| is_old(&found)),
    }
}

#[cfg(not(unix))]
fn is_abandoned(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| is_old(&found))
}

fn is_old(found: &Metadata) -> bool {
    found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED))
}

/// Locks a file that was created just now; false if another process has taken it for an abandoned one.
#[cfg(unix)]
fn claim(file: &File) -> bool {
    use rustix::fs::{FlockOperation, flock};
    use std::os::unix::fs::MetadataExt;

    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => false,
        // Where there are no locks, nothing is swept by them.
        _ => file.metadata().is_ok_and(|found| found.nlink() > 0),
    }
}

#[cfg(not(unix))]
fn claim(_: &File) -> bool {
    true
}

fn none_if_absent<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn refused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Opens what is at the path itself: not where a link points to, and without waiting for the other end of a pipe.
#[cfg(unix)]
#[expect(clippy::as_conversions, reason = "the same bits")]
fn open_itself(path: &Path, options: &OpenOptions) -> io::Result<File> {
    use rustix::fs::OFlags;
    use std::os::unix::fs::OpenOptionsExt;

    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    options.clone().custom_flags(flags).open(path).map_err(|error| {
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        if is_link { refused("it is a symbolic link") } else { error }
    })
}

#[cfg(not(unix))]
fn open_itself(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let is_link = fs::symlink_metadata(path)?.is_symlink();
    if is_link { Err(refused("it is a symbolic link")) } else { options.open(path) }
}

#[cfg(unix)]
fn check_private(found: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    if !found.is_file() {
        return Err(refused("it is not a regular file"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("it is another user's"));
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 { Err(refused("others may write it")) } else { Ok(()) }
}

/// In a directory that others may write, an old file could be put back, or ours taken away.
#[cfg(unix)]
fn check_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let found = fs::metadata(directory)?;
    if found.uid() != rustix::process::geteuid().as_raw() && found.uid() != ROOT {
        return Err(refused("its directory is another user's"));
    }
    let replaceable = found.mode() & WRITABLE_BY_OTHERS != 0 && found.mode() & STICKY == 0;
    if replaceable { Err(refused("others may write its directory")) } else { Ok(()) }
}

/// Other systems have other ways to say who may write; there the directory must see to it.
#[cfg(not(unix))]
fn check_private(found: &Metadata) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(refused("it is not a regular file")) }
}

#[cfg(not(unix))]
fn check_directory(directory: &Path) -> io::Result<()> {
    fs::metadata(directory).map(drop)
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems have no such thing, and then nothing better either.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        outcome => outcome,
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Write permission of group and others.
#[cfg(unix)]
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Only a file's owner may remove or replace it, whoever else may write the directory.
#[cfg(unix)]
const STICKY: u32 = 0o1000;

#[cfg(unix)]
const ROOT: u32 = 0;

const TEMPORARY_SUFFIX: &str = ".tmp";

/// Without locks a temporary file of that age counts as abandoned: no write takes so long.
const ABANDONED: Duration = Duration::from_secs(60);

/// A temporary file that is swept under our hands so often is no accident.
const CREATE_TRIES: usize = 8;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// An empty directory of this test's own, gone when it is dropped.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("aero2-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<_> =
                fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(path: &Path) -> Option<Vec<u8>> {
        read_private(path, 100).unwrap()
    }

    #[test]
    fn what_was_written_is_read_and_leaves_no_other_file() {
        let directory = Directory::new("written");
        let path = directory.0.join("file");
        assert_eq!(read(&path), None);
        for bytes in [&b"first"[..], b"", b"second and longer"] {
            write_private(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap(), bytes);
        }
        assert_eq!(directory.names(), ["file"]);
    }

    #[test]
    fn a_power_cut_after_any_step_leaves_the_old_file_or_the_new_one() {
        let directory = Directory::new("power-cut");
        let path = directory.0.join("file");
        let steps =
            [Step::Created, Step::HalfWritten, Step::Written, Step::Synced, Step::Renamed, Step::DirectorySynced];
        for before in [None, Some(&b"old"[..])] {
            for last in steps {
                let _ = fs::remove_file(&path);
                if let Some(bytes) = before {
                    write_private(&path, bytes).unwrap();
                }
                let mut seen = Vec::new();
                // A panic runs nothing of what comes after the step, as a power cut would.
                let cut = catch_unwind(AssertUnwindSafe(|| {
                    write_in_steps(&path, b"the new one", &mut |step| {
                        seen.push(step);
                        assert_ne!(step, last, "the power goes");
                    })
                }));
                assert!(cut.is_err());
                assert!(steps.starts_with(&seen), "{seen:?}");
                let renamed = seen.contains(&Step::Renamed);
                assert_eq!(
                    read(&path).as_deref(),
                    if renamed { Some(&b"the new one"[..]) } else { before },
                    "{last:?}"
                );
                write_private(&path, b"and it can be written again").unwrap();
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_a_dead_writer_left_behind_is_gone_before_the_next_write_begins_and_a_live_ones_file_stays() {
        let directory = Directory::new("sweep");
        let path = directory.0.join("file");
        for name in [".file.abandoned.tmp", ".other.old.tmp", "file.tmp"] {
            File::create(directory.0.join(name)).unwrap();
        }
        let (in_use, _writer) = create_temporary(&directory.0, path.file_name().unwrap()).unwrap();
        write_in_steps(&path, b"x", &mut |step| {
            if step == Step::Created {
                assert!(!directory.names().contains(&".file.abandoned.tmp".to_owned()));
            }
        })
        .unwrap();
        let in_use = in_use.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(directory.names(), [&in_use, ".other.old.tmp", "file", "file.tmp"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = Directory::new("failed");
        let path = directory.0.join("file");
        fs::create_dir(&path).unwrap();
        assert!(write_private(&path, b"x").is_err());
        assert!(write_private(&directory.0.join("absent").join("file"), b"x").is_err());
        assert!(write_private(Path::new("/"), b"x").is_err());
        assert_eq!(directory.names(), ["file"]);
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let directory = Directory::new("long");
        let path = directory.0.join("file");
        write_private(&path, &[b'x'; 100]).unwrap();
        assert_eq!(read_private(&path, 100).unwrap().unwrap().len(), 100);
        assert_eq!(read_private(&path, 99).unwrap_err().to_string(), "it is too long");
    }

    #[cfg(unix)]
    #[test]
    fn what_others_may_have_written_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};

        let directory = Directory::new("others");
        let path = directory.0.join("file");
        write_private(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (mode, outcome) in [
            (0o600, Ok(())),
            (0o400, Ok(())),
            (0o644, Ok(())),
            (0o620, Err("others may write it")),
            (0o602, Err("others may write it")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = read_private(&path, 100).map(drop).map_err(|error| (error.kind(), error.to_string()));
            assert_eq!(read, outcome.map_err(|text| (io::ErrorKind::InvalidData, text.to_owned())), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let link = directory.0.join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(read_private(&link, 100).unwrap_err().to_string(), "it is a symbolic link");
        assert_eq!(read_private(&directory.0, 100).unwrap_err().to_string(), "it is not a regular file");
        assert_eq!(read_private(Path::new("/dev/null"), 100).unwrap_err().to_string(), "it is not a regular file");

        write_private(&link, b"y").unwrap();
        assert_eq!((read(&link).unwrap(), read(&path).unwrap()), (b"y".to_vec(), b"x".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn a_named_pipe_makes_nobody_wait() {
        let directory = Directory::new("pipe");
        let path = directory.0.join("file");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read_private(&path, 100).unwrap_err().to_string(), "it is not a regular file");
        assert!(open_private(&path, OpenOptions::new().write(true)).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_in_which_others_can_replace_files_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let directory = Directory::new("open");
        let path = directory.0.join("file");
        write_private(&path, b"x").unwrap();
        for (mode, trusted) in [(0o777, false), (0o770, false), (0o702, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(&directory.0, fs::Permissions::from_mode(mode)).unwrap();
            let outcomes = [read_private(&path, 100).map(drop), write_private(&path, b"x")];
            for outcome in outcomes {
                let outcome = outcome.map_err(|error| error.to_string());
                let refused = Err("others may write its directory".to_owned());
                assert_eq!(outcome, if trusted { Ok(()) } else { refused }, "{mode:o}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn another_users_file_is_refused() {
        let foreign = Path::new("/etc/hostname");
        let Ok(found) = fs::symlink_metadata(foreign) else { return };
        let ours = std::os::unix::fs::MetadataExt::uid(&found) == rustix::process::geteuid().as_raw();
        assert_eq!(read_private(foreign, 1000).is_err(), !ours);
    }
}
