//! Limits the memory of unfinished messages, for each address and in total, so that nobody can fill the memory by
//! beginning long messages. It knows how gRPC encodes the length of a message, but not its content.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::StreamExt as _;
use http_body_util::{BodyStream, StreamBody};
use tonic::{Status, body::Body, codegen::http};
use tower::{Layer, Service};
use tracing::debug;

use crate::connections::peer;

/// Bytes of each message that are not counted, so that short messages are always accepted.
const SMALL: usize = 64 << 10;

/// The limit in bytes for one address: several messages of maximum length, or a chunk each of many workers.
const FROM_ONE_ADDRESS: usize = 64 << 20;

/// The total limit in bytes.
const IN_ALL: usize = 256 << 20;

/// Bytes before a message: the compression flag and the length.
const HEAD: usize = 5;

/// Counts the bytes of unfinished messages, and refuses those over the limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnfinishedLayer(Kept);

impl<S> Layer<S> for UnfinishedLayer {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Counting<S> {
        Counting { kept: self.0.clone(), inner }
    }
}

/// Services whose incoming messages are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counting<S> {
    kept: Kept,
    inner: S,
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Counting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let address = peer(request.extensions()).map(|peer| peer.ip());
        let mut message = Message::new(self.kept.clone(), address);
        self.inner.call(request.map(|body| {
            let frames = BodyStream::new(body).map(move |frame| {
                let frame = frame?;
                frame.data_ref().map_or(Ok(()), |data| message.take(data))?;
                Ok::<_, Status>(frame)
            });
            Body::new(StreamBody::new(frames))
        }))
    }
}

/// Bytes of unfinished messages, by address.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Bytes>>);

#[derive(Debug, Default)]
struct Bytes {
    in_all: usize,
    from: HashMap<Option<IpAddr>, usize>,
}

impl Kept {
    /// Counts `now` bytes instead of `before`. Fails without a change if a limit is exceeded.
    fn change(&self, address: Option<IpAddr>, before: usize, now: usize) -> Result<(), Status> {
        if before == now {
            return Ok(());
        }
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_all = bytes.in_all - before + now;
        let own = bytes.from.get(&address).copied().unwrap_or_default() - before + now;
        if now > before && (own > FROM_ONE_ADDRESS || in_all > IN_ALL) {
            debug!(?address, own, in_all, "too many bytes of unfinished messages; the newest is refused");
            // Not RESOURCE_EXHAUSTED, which a worker takes for a full disk: a retry helps.
            return Err(Status::unavailable(
                "too many long messages have begun and not ended: let them end, and say this again",
            ));
        }
        bytes.in_all = in_all;
        if own == 0 {
            bytes.from.remove(&address);
        } else {
            bytes.from.insert(address, own);
        }
        Ok(())
    }
}

/// The messages of an incoming call, one after the other.
#[derive(Debug)]
struct Message {
    kept: Kept,
    address: Option<IpAddr>,
    head: Vec<u8>,
    /// Bytes received so far.
    begun: usize,
    /// Bytes that are missing.
    left: usize,
    counted: usize,
}

impl Message {
    const fn new(kept: Kept, address: Option<IpAddr>) -> Self {
        Self { kept, address, head: vec![], begun: 0, left: 0, counted: 0 }
    }

    /// Counts the next bytes.
    fn take(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            if self.head.len() < HEAD {
                let (head, rest) = data.split_at(data.len().min(HEAD - self.head.len()));
                self.head.extend(head);
                data = rest;
                if let [_, a, b, c, d] = self.head[..] {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                }
            } else {
                let here = data.len().min(self.left);
                (self.begun, self.left) = (self.begun + here, self.left - here);
                data = &data[here..];
            }
            if self.head.len() == HEAD && self.left == 0 {
                self.head.clear();
                self.begun = 0;
            }
        }
        let now = self.begun.saturating_sub(SMALL);
        self.kept.change(self.address, self.counted, now)?;
        self.counted = now;
        Ok(())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // Reducing the count never fails.
        let _ = self.kept.change(self.address, self.counted, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some([127, 0, 0, last].into())
    }

    /// A message of `length` bytes, with its head.
    fn message(length: usize) -> Vec<u8> {
        [&[0][..], &u32::try_from(length).expect("is short").to_be_bytes(), &vec![7; length]].concat()
    }

    fn counts(kept: &Kept) -> (usize, Vec<usize>) {
        let bytes = kept.0.lock().expect("nobody has panicked");
        (bytes.in_all, bytes.from.values().copied().collect())
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_has_come_of_the_last_message_whatever_it_comes_in(
            lengths in prop::collection::vec(prop_oneof![0_usize..20, SMALL - 2..SMALL + 200], 1..5),
            pieces in prop::collection::vec(1_usize..SMALL, 1..40),
        ) {
            let kept = Kept::default();
            let mut taken = Message::new(kept.clone(), address(1));
            let all: Vec<u8> = lengths.iter().flat_map(|length| message(*length)).collect();
            let mut place = 0;
            for piece in pieces.iter().cycle() {
                let end = all.len().min(place + piece);
                taken.take(&all[place..end]).expect("is not too much");
                place = end;
                // The message that contains `place`.
                let mut begin = 0;
                let mut expected = 0;
                for length in &lengths {
                    if (begin..begin + HEAD + length).contains(&place) {
                        expected = (place - begin).saturating_sub(HEAD + SMALL);
                    }
                    begin += HEAD + length;
                }
                prop_assert_eq!(counts(&kept).0, expected);
                if place == all.len() {
                    break;
                }
            }
            prop_assert_eq!(counts(&kept), (0, vec![]));
        }
    }

    #[test]
    fn one_address_has_its_part_and_all_have_theirs_and_what_is_dropped_is_free() {
        let kept = Kept::default();
        let long = message(FROM_ONE_ADDRESS / 2 + SMALL);
        let unfinished = &long[..long.len() - 1];
        let begin = |from: u8| {
            let mut message = Message::new(kept.clone(), address(from));
            let taken = message.take(unfinished);
            taken.map(|()| message)
        };
        let mut held: Vec<Message> = (0..2).map(|_| begin(1).expect("has room")).collect();
        assert_eq!(begin(1).expect_err("is too much").code(), tonic::Code::Unavailable);
        // Other addresses are still served, and so are short messages of the same address.
        held.push(begin(2).expect("has room"));
        let mut short = Message::new(kept.clone(), address(1));
        short.take(&message(SMALL)[..SMALL]).expect("is small");
        held.extend([2, 3, 3, 4, 4].map(|from| begin(from).expect("has room")));
        assert_eq!(begin(5).expect_err("all together are too much").code(), tonic::Code::Unavailable);
        // Finished messages are not counted.
        held[0].take(&[7]).expect("ends");
        held.push(begin(5).expect("has room"));
        held.clear();
        drop(short);
        assert_eq!(counts(&kept), (0, vec![]));
    }
}
