//! The body of a response stream: frames of responses, then the trailers with the status.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tonic::Status;

use super::wire::Frames;

/// Where a stream's task leaves the status its stream ends with. Not in the queue of responses: that may be full, and
/// a reader that comes back is still told.
pub(super) type Epitaph = Arc<OnceLock<Status>>;

/// The body of one stream.
#[derive(Debug)]
pub(super) struct StreamBody {
    responses: mpsc::Receiver<Box<Frames>>,
    epitaph: Epitaph,
    current: Option<Box<Frames>>,
    ended: bool,
}

impl StreamBody {
    pub(super) fn new(responses: mpsc::Receiver<Box<Frames>>, epitaph: Epitaph) -> Self {
        Self {
            responses,
            epitaph,
            current: None,
            ended: false,
        }
    }

    fn end(&mut self) -> Frame<Bytes> {
        self.ended = true;
        let status = match self.epitaph.get() {
            Some(status) => status.clone(),
            // The task is gone without a word: it panicked.
            None => crate::status::status(&crate::status::StreamEnd::Panicked),
        };
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
            if let Some(chunk) = self.current.as_mut().and_then(|frames| frames.next_chunk()) {
                return Poll::Ready(Some(Ok(Frame::data(chunk))));
            }
            self.current = None;
            match self.responses.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(frames)) => self.current = Some(frames),
                Poll::Ready(None) => {
                    let frame = self.end();
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
        }
    }
}
