//! The body of a response stream: frames of responses, then the trailers with the status.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tonic::Status;

use super::wire::Frames;

/// What a stream's task hands to its body.
#[derive(Debug)]
pub(super) enum Item {
    /// One response.
    Response(Frames),
    /// The end of the stream.
    End(Status),
}

/// The body of one stream.
#[derive(Debug)]
pub(super) struct StreamBody {
    items: mpsc::Receiver<Item>,
    current: Option<Frames>,
    ended: bool,
}

impl StreamBody {
    pub(super) fn new(items: mpsc::Receiver<Item>) -> Self {
        Self {
            items,
            current: None,
            ended: false,
        }
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        self.ended = true;
        self.items.close();
        let mut trailers = HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            // The message cannot be put into a header; the code can.
            trailers.clear();
            trailers.insert(
                "grpc-status",
                http::HeaderValue::from(i32::from(status.code())),
            );
        }
        Frame::trailers(trailers)
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(chunk) = self.current.as_mut().and_then(Frames::next_chunk) {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            self.current = None;
            match self.items.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Item::Response(frames))) => self.current = Some(frames),
                Poll::Ready(Some(Item::End(status))) => {
                    let frame = self.end(&status);
                    return Poll::Ready(Some(Ok(frame)));
                }
                // The task is gone without a word: it panicked.
                Poll::Ready(None) => {
                    let frame =
                        self.end(&crate::status::status(&crate::status::StreamEnd::Panicked));
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
        }
    }
}
