//! Files that only their owner can read or write, and a lock between processes. Feature `file-cache`.

pub(crate) mod file_lock;
pub(crate) mod private_file;
