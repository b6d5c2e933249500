//! Buffers that exchanges are done with, for those that come. What is kept is bounded in bytes:
//! many small ones serve many clients at once, and one peak does not hold memory for ever.

/// A buffer that has grown beyond this is given back to the system.
const LARGEST: usize = 64 * 1024;
/// Bytes that are kept in all.
const KEPT_BYTES: usize = 2 * 1024 * 1024;
/// Buffers that are kept.
const KEPT: usize = 4096;

/// The buffers of one worker that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    /// An empty buffer.
    pub fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Keeps a buffer for later, if there is something to keep and room for it.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        let size = buffer.capacity();
        let has_room = self.bytes + size <= KEPT_BYTES && self.buffers.len() < KEPT;
        if (1..=LARGEST).contains(&size) && has_room {
            buffer.clear();
            self.bytes += size;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(size: usize) -> Vec<u8> {
        let mut buffer = vec![b'x'; size];
        buffer.shrink_to_fit();
        buffer
    }

    #[test]
    fn a_buffer_comes_back_empty() {
        let mut spare = Spare::default();
        spare.put(buffer(100));
        let again = spare.take();
        assert_eq!((again.len(), again.capacity()), (0, 100));
        assert_eq!((spare.take().capacity(), spare.bytes), (0, 0));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut spare = Spare::default();
        spare.put(buffer(LARGEST + 1));
        spare.put(Vec::new());
        assert_eq!((spare.buffers.len(), spare.bytes), (0, 0));
        (0..KEPT_BYTES / LARGEST + 5).for_each(|_| spare.put(buffer(LARGEST)));
        assert_eq!(spare.bytes, KEPT_BYTES);
        let mut spare = Spare::default();
        (0..KEPT + 5).for_each(|_| spare.put(buffer(10)));
        assert_eq!(spare.buffers.len(), KEPT);
    }
}
