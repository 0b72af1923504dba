//! Files that only this user may write, and that a power cut leaves as they were or as they are to be, never in between.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

/// Replaces the file at `path`, mode 0600, through a temporary file beside it. A symbolic link at `path` is replaced, not followed.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_in_steps(path, bytes, &mut |_| {})
}

/// The file's bytes; `None` where there is no file.
///
/// # Errors
/// `InvalidData` for a file that must not be trusted: not a regular file (a symbolic link is not one), owned by another user,
/// writable by others, or longer than `max`. Otherwise the system's own error.
pub(crate) fn read_private(path: &Path, max: usize) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open_private(path, OpenOptions::new().read(true))? else { return Ok(None) };
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > max { Err(refused("it is too long")) } else { Ok(Some(bytes)) }
}

/// Opens a file that is there; `None` where there is none.
///
/// # Errors
/// As [`read_private`].
pub(crate) fn open_private(path: &Path, options: &OpenOptions) -> io::Result<Option<File>> {
    let Some(found) = none_if_absent(fs::symlink_metadata(path))? else { return Ok(None) };
    // Looked at before it is opened, since opening a named pipe waits for its other end.
    check_private(&found)?;
    let Some(file) = none_if_absent(options.open(path))? else { return Ok(None) };
    if is_same_file(&found, &file.metadata()?) { Ok(Some(file)) } else { Err(refused("another file took its place")) }
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
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = directory.join(temporary_name(name)?);
    let outcome = write_new(&temporary, bytes, done).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = outcome {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    done(Step::Renamed);
    // The rename itself is in the directory, which has a cache of its own.
    sync_directory(directory)?;
    done(Step::DirectorySynced);
    sweep(directory, name);
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8], done: &mut dyn FnMut(Step)) -> io::Result<()> {
    let mut file = creating_options().open(path)?;
    done(Step::Created);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    done(Step::HalfWritten);
    file.write_all(second)?;
    done(Step::Written);
    file.sync_all()?;
    done(Step::Synced);
    Ok(())
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

/// Removes what writers left behind that the power was cut from. A failure is no matter: the next write tries again.
fn sweep(directory: &Path, name: &std::ffi::OsStr) {
    let prefix = temporary_prefix(name);
    let is_abandoned = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        name.starts_with(prefix.as_encoded_bytes())
            && name.ends_with(TEMPORARY_SUFFIX.as_bytes())
            && entry
                .metadata()
                .and_then(|found| found.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED))
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(is_abandoned) {
        let _ = fs::remove_file(entry.path());
    }
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

/// Other systems have other ways to say who may write; there the directory must see to it.
#[cfg(not(unix))]
fn check_private(found: &Metadata) -> io::Result<()> {
    if found.is_file() { Ok(()) } else { Err(refused("it is not a regular file")) }
}

#[cfg(unix)]
fn is_same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn is_same_file(_: &Metadata, _: &Metadata) -> bool {
    true
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

const TEMPORARY_SUFFIX: &str = ".tmp";

/// No write takes this long, so a temporary file of that age has no writer any more.
const ABANDONED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::PathBuf;
    use std::time::SystemTime;

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

    #[test]
    fn what_a_power_cut_left_behind_is_swept_when_it_is_old() {
        let directory = Directory::new("sweep");
        let path = directory.0.join("file");
        for (name, age) in
            [(".file.abandoned.tmp", 3601), (".file.in-use.tmp", 60), (".other.old.tmp", 9999), ("file.tmp", 9999)]
        {
            let file = File::create(directory.0.join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        write_private(&path, b"x").unwrap();
        assert_eq!(directory.names(), [".file.in-use.tmp", ".other.old.tmp", "file", "file.tmp"]);
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
        assert_eq!(read_private(&link, 100).unwrap_err().to_string(), "it is not a regular file");
        assert_eq!(read_private(&directory.0, 100).unwrap_err().to_string(), "it is not a regular file");
        assert_eq!(read_private(Path::new("/dev/null"), 100).unwrap_err().to_string(), "it is not a regular file");

        write_private(&link, b"y").unwrap();
        assert_eq!((read(&link).unwrap(), read(&path).unwrap()), (b"y".to_vec(), b"x".to_vec()));
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
