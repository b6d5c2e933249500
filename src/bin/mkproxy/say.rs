//! Writing for people and programs: colours where they are wanted, and no fuss about a reader
//! that has seen enough.

use std::fmt::Display;
use std::io::Write;

/// One line, or several, to standard output.
pub fn line(text: impl Display) {
    // `mkproxy keys | head` closes the pipe; nobody is left who could be told.
    let _ = writeln!(anstream::stdout().lock(), "{text}");
}

/// One line to standard error.
pub fn complain(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
