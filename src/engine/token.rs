//! What a poll token stands for.

use mio::Token;

use super::exchange::Exchange;
use super::slots::Key;
use super::upstream::Upstream;

/// The sources of events inside a worker's poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The timer descriptor.
    Timer,
    /// A wake-up sent by ourselves.
    Waker,
    /// A connection to a backend.
    Upstream(Key<Upstream>),
    /// A client's socket.
    Client(Key<Exchange>),
}

const KIND_SHIFT: u32 = usize::BITS - 2;

impl From<Source> for Token {
    fn from(source: Source) -> Token {
        let bits = match source {
            Source::Timer => 0,
            Source::Waker => 1,
            Source::Upstream(key) => 1 << KIND_SHIFT | key.to_bits(),
            Source::Client(key) => 2 << KIND_SHIFT | key.to_bits(),
        };
        Token(bits)
    }
}

impl From<Token> for Source {
    fn from(token: Token) -> Source {
        let bits = token.0;
        match bits >> KIND_SHIFT {
            1 => Source::Upstream(Key::from_bits(bits)),
            2 => Source::Client(Key::from_bits(bits)),
            _ if bits == 1 => Source::Waker,
            _ => Source::Timer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_the_way_through_a_token() {
        let bits = usize::MAX >> 2;
        for source in [
            Source::Timer,
            Source::Waker,
            Source::Upstream(Key::from_bits(0)),
            Source::Upstream(Key::from_bits(bits)),
            Source::Client(Key::from_bits(7)),
            Source::Client(Key::from_bits(bits)),
        ] {
            assert_eq!(Source::from(Token::from(source)), source);
        }
    }
}
