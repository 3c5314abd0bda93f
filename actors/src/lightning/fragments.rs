//! Messages that come in several frames. Phoenix's own servers send none, proxies may. No socket.

use actix_http::ws::Item;
use bytes::{Bytes, BytesMut};

use super::socket::MAX_MESSAGE_BYTES;

/// A message over the limit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Lightning sent a message of more than {MAX_MESSAGE_BYTES} bytes")]
pub(super) struct TooLong;

/// Joins the fragments of one message.
#[derive(Default)]
pub(super) struct Fragments {
    text: bool,
    compressed: bool,
    data: BytesMut,
}

/// A message that arrived in one piece or several.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) text: bool,
    pub(super) compressed: bool,
    pub(super) data: Bytes,
}

impl Fragments {
    /// Takes in a fragment; `compressed` is what its frame says. The message is there with the last one.
    ///
    /// # Errors
    /// When the message is too long.
    pub(super) fn add(&mut self, item: Item, compressed: bool) -> Result<Option<Message>, TooLong> {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                (self.text, self.compressed) = (true, compressed);
                self.data.clear();
                (bytes, false)
            }
            Item::FirstBinary(bytes) => {
                (self.text, self.compressed) = (false, compressed);
                self.data.clear();
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        if self.data.len() + bytes.len() > MAX_MESSAGE_BYTES {
            return Err(TooLong);
        }
        self.data.extend_from_slice(&bytes);
        if !last {
            return Ok(None);
        }
        Ok(Some(Message {
            text: self.text,
            compressed: self.compressed,
            // Taken whole: what is split off keeps its buffer alive here, however large it has grown.
            data: std::mem::take(&mut self.data).freeze(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_joined_in_order_and_are_what_the_first_one_is() {
        let mut fragments = Fragments::default();
        for compressed in [false, true] {
            let first = Item::FirstText("[1,".into());
            assert_eq!(fragments.add(first, compressed), Ok(None));
            assert_eq!(fragments.add(Item::Continue("2".into()), false), Ok(None));
            let whole = Message {
                text: true,
                compressed,
                data: "[1,2]".into(),
            };
            let last = Item::Last("]".into());
            assert_eq!(fragments.add(last, false), Ok(Some(whole)));
        }
    }
}
