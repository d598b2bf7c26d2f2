//! The body of a response stream: frames of responses, then the trailers with the status.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use reef_xds::ResourceType;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use super::wire::Frames;
use crate::metrics::ServerMetrics;

/// Where a stream's task leaves the status its stream ends with. Not in the queue of responses: that may be full, and
/// a reader that comes back is still told.
pub(super) type Epitaph = Arc<OnceLock<Status>>;

/// A response on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frames: Frames,
    /// Its type; `None` for debug data, which is no push.
    pub(super) ty: Option<ResourceType>,
    /// When it was handed over.
    pub(super) since: Instant,
}

/// The body of one stream.
#[derive(Debug)]
pub(super) struct StreamBody {
    responses: mpsc::Receiver<Box<Outgoing>>,
    epitaph: Epitaph,
    current: Option<Box<Outgoing>>,
    ended: bool,
    metrics: ServerMetrics,
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(ty) = self.current.as_ref().and_then(|cut| cut.ty) {
            self.metrics.send_failed(ty);
        }
    }
}

impl StreamBody {
    pub(super) fn new(
        responses: mpsc::Receiver<Box<Outgoing>>,
        epitaph: Epitaph,
        metrics: ServerMetrics,
    ) -> Self {
        Self {
            responses,
            epitaph,
            current: None,
            ended: false,
            metrics,
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
            if let Some(current) = &mut self.current {
                if let Some(chunk) = current.frames.next_chunk() {
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                let took = current.since.elapsed();
                self.metrics.sent(took);
                self.current = None;
            }
            match self.responses.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(outgoing)) => self.current = Some(outgoing),
                Poll::Ready(None) => {
                    let frame = self.end();
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
        }
    }
}
