//! What this process has, counted through /proc.

use std::fmt;
use std::path::Path;
use std::{fs, io, process};

use crate::BoxError;

#[derive(PartialEq, Eq)]
pub struct Footprint {
    threads: usize,
    descriptors: Vec<String>,
    file_locks: usize,
    /// Of the libraries asked about, how many are in memory.
    libraries: usize,
}

impl Footprint {
    pub fn take(libraries: &[&Path]) -> Result<Self, BoxError> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let mapped = |path: &&&Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            maps.lines().any(|line| line.ends_with(&format!("/{name}")))
        };
        let own = process::id().to_string();
        let locks = fs::read_to_string("/proc/locks")?;
        Ok(Self {
            threads: fs::read_dir("/proc/self/task")?.count(),
            descriptors: descriptors()?,
            file_locks: locks.lines().filter(|line| line.split_whitespace().any(|word| word == own)).count(),
            libraries: libraries.iter().filter(mapped).count(),
        })
    }

    pub fn difference(&self, before: &Self) -> String {
        let new: Vec<_> = self.descriptors.iter().filter(|held| !before.descriptors.contains(held)).collect();
        format!("before {before}\nafter  {self}\nnew descriptors {new:?}")
    }
}

/// What each descriptor points to, the one that this listing opens excepted.
fn descriptors() -> io::Result<Vec<String>> {
    let mut found: Vec<String> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| !target.starts_with("/proc/"))
        .collect();
    found.sort();
    Ok(found)
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (descriptors, locks) = (self.descriptors.len(), self.file_locks);
        write!(f, "{} threads, {descriptors} descriptors, {locks} file locks, {} plugins", self.threads, self.libraries)
    }
}
