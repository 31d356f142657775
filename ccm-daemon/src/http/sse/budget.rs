//! How much of a stream may be on its way: what was handed to the connection and is not in its socket yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::segment::SEGMENT_BYTES;

/// The most bytes on their way to one reader. One event alone may be more.
///
/// The connection would take more before it waits for the socket, and what a thousand of them hold for readers who do
/// not read adds up.
const ON_THE_WAY: usize = SEGMENT_BYTES;

#[derive(Debug, Default)]
struct Out {
    bytes: AtomicUsize,
    waiting: AtomicWaker,
}

/// A stream's account of what is on its way.
#[derive(Debug, Default)]
pub(super) struct Budget(Arc<Out>);

impl Budget {
    /// How many bytes may be sent, once that is more than none.
    pub(super) async fn room(&self) -> usize {
        std::future::poll_fn(|cx| {
            self.0.waiting.register(cx.waker());
            match ON_THE_WAY.saturating_sub(self.0.bytes.load(Ordering::Acquire)) {
                0 => Poll::Pending,
                room => Poll::Ready(room),
            }
        })
        .await
    }

    /// The same text, counted until the connection drops it.
    pub(super) fn send(&self, text: Bytes) -> Bytes {
        self.0.bytes.fetch_add(text.len(), Ordering::AcqRel);
        Bytes::from_owner(Counted {
            text,
            out: Arc::clone(&self.0),
        })
    }
}

struct Counted {
    text: Bytes,
    out: Arc<Out>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.out.bytes.fetch_sub(self.text.len(), Ordering::AcqRel);
        self.out.waiting.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn room(budget: &Budget) -> Option<usize> {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(budget.room()).poll(&mut context) {
            Poll::Ready(room) => Some(room),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_was_not_written_yet_counts() {
        let budget = Budget::default();
        assert_eq!(room(&budget), Some(ON_THE_WAY));
        let first = budget.send(Bytes::from(vec![b'x'; 1000]));
        assert_eq!(room(&budget), Some(ON_THE_WAY - 1000));
        let rest = budget.send(Bytes::from(vec![b'x'; ON_THE_WAY]));
        assert_eq!(room(&budget), None);
        drop(first);
        assert_eq!(room(&budget), None);
        let slice = rest.slice(1..2);
        drop(rest);
        assert_eq!(room(&budget), None, "a part of it is still there");
        drop(slice);
        assert_eq!(room(&budget), Some(ON_THE_WAY));
    }
}
