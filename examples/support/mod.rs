//! What all examples share: `-h` prints what the program is for, and output that nothing reads any more is no panic.

use std::fmt;
use std::io::{self, Write};
use std::process;

/// In place of the standard one, which panics where the reader of a pipe is gone, as with `| head`.
macro_rules! println {
    () => { crate::support::print_line(format_args!("")) };
    ($($text:tt)*) => { crate::support::print_line(format_args!($($text)*)) };
}

pub(crate) fn print_line(line: fmt::Arguments<'_>) {
    if writeln!(io::stdout(), "{line}").is_err() {
        process::exit(0);
    }
}

/// For `-h` and `--help`: prints the usage and the head of the example's own source, and ends.
pub(crate) fn help(usage: &str, source: &str) {
    if std::env::args().nth(1).is_some_and(|first| first == "-h" || first == "--help") {
        println!("usage: cargo run --example {usage}\n");
        for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
            println!("{}", line.strip_prefix(' ').unwrap_or(line));
        }
        process::exit(0);
    }
}
