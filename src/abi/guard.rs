//! The panic barrier. A panic that reached C would end the whole server.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a guarded call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded<R> {
    /// The body returned.
    Done(R),
    /// The body panicked. The worker's state is not to be trusted any more.
    Panicked,
}

/// Runs `body`; a panic becomes [`Guarded::Panicked`] instead of unwinding
/// into the host. The panic hook has logged the reason by then.
pub fn guard<R>(body: impl FnOnce() -> R) -> Guarded<R> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Guarded::Done(result),
        Err(payload) => {
            // Its destructor is foreign code and might panic as well.
            std::mem::forget(payload);
            Guarded::Panicked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_value() {
        assert_eq!(guard(|| 7), Guarded::Done(7));
        assert_eq!(guard(|| -> i32 { panic!("on purpose, in a test") }), Guarded::Panicked);
    }
}
