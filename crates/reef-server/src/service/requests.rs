//! The requests of a stream: gRPC messages out of the frames of an HTTP/2 body.
//!
//! A request that came in one frame, as almost all do, is decoded where the transport read it; only one in parts is
//! put together, and nothing of it is held after. A stream spends its life between requests, so a buffer kept for the
//! next one would be part of what every idle proxy costs.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::Body as _;
use prost::Message;
use tonic::Status;
use tonic::body::Body;

use super::MAX_REQUEST_BYTES;

/// Length of the gRPC message prefix: one flag byte and the length.
const PREFIX: usize = 5;

/// The requests of one stream, of type `M`.
pub(super) struct Requests<M> {
    body: Body,
    /// Read and not decoded yet: whole messages, and perhaps the beginning of another.
    read: Bytes,
    /// The beginning of a message that came in more than one frame.
    partial: BytesMut,
    message: PhantomData<fn() -> M>,
}

impl<M> std::fmt::Debug for Requests<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests")
            .field("waiting", &(self.read.len() + self.partial.len()))
            .finish_non_exhaustive()
    }
}

impl<M: Message + Default> Requests<M> {
    /// The requests in a body.
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            read: Bytes::new(),
            partial: BytesMut::new(),
            message: PhantomData,
        }
    }

    /// The next request; `None` when the client ended the stream. A dropped future loses nothing.
    ///
    /// # Errors
    /// When the stream is broken, or a message is too large or not what it should be.
    pub(super) async fn message(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let Some(data) = self.frame().await? else {
                return Ok(None);
            };
            if self.partial.is_empty() {
                self.read = data;
            } else {
                self.partial.extend_from_slice(&data);
            }
        }
    }

    /// A message that is here completely.
    fn take(&mut self) -> Result<Option<M>, Status> {
        if self.partial.is_empty() {
            if let Some(end) = whole(&self.read)? {
                let mut message = self.read.split_to(end);
                message.advance(PREFIX);
                let last = self.read.is_empty();
                if last {
                    // An empty rest would still hold what the transport read into.
                    self.read = Bytes::new();
                }
                return decode(message).map(Some);
            }
            // The transport's memory is not ours to keep while we wait for the rest.
            let begun = std::mem::take(&mut self.read);
            self.partial.extend_from_slice(&begun);
            return Ok(None);
        }
        let Some(end) = whole(&self.partial)? else {
            return Ok(None);
        };
        let mut all = std::mem::take(&mut self.partial).freeze();
        let mut message = all.split_to(end);
        message.advance(PREFIX);
        self.read = all;
        if self.read.is_empty() {
            self.read = Bytes::new();
        }
        decode(message).map(Some)
    }

    /// The next piece of the body; `None` at its end.
    async fn frame(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame.transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    // Trailers of a request mean nothing in gRPC.
                    Err(_) => continue,
                },
                None if self.partial.is_empty() => return Ok(None),
                None => return Err(Status::internal("the stream ended within a request")),
            }
        }
    }
}

/// Where the first message ends, if all of it is here.
fn whole(read: &[u8]) -> Result<Option<usize>, Status> {
    let Some(([flag, length @ ..], _)) = read.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    if *flag != 0 {
        return Err(Status::unimplemented(
            "compressed requests are not accepted",
        ));
    }
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_REQUEST_BYTES {
        return Err(Status::out_of_range(format!(
            "a request of {length} bytes; the limit is {MAX_REQUEST_BYTES} bytes"
        )));
    }
    let end = PREFIX + length;
    Ok((read.len() >= end).then_some(end))
}

fn decode<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    M::decode(message)
        .map_err(|error| Status::internal(format!("a request that cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
