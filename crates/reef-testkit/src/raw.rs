//! A client without manners: sends whatever it is given on a delta stream, bytes that are no message included.

use std::net::SocketAddr;
use std::time::Duration;

use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status, Streaming};
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

const METHOD: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// The stream.
#[derive(Debug)]
pub struct RawStream {
    requests: mpsc::Sender<Bytes>,
    responses: Streaming<Bytes>,
}

impl RawStream {
    /// Opens a stream; nothing is sent yet.
    ///
    /// # Errors
    /// The status with which the server refuses the stream.
    pub async fn open(server: SocketAddr) -> Result<Self, Status> {
        let channel = Endpoint::from_shared(format!("http://{server}"))
            .map_err(|error| Status::invalid_argument(error.to_string()))?
            .connect()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let (requests, outgoing) = mpsc::channel(1024);
        let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let responses = client
            .streaming(
                Request::new(ReceiverStream::new(outgoing)),
                PathAndQuery::from_static(METHOD),
                RawCodec,
            )
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
        })
    }

    /// Sends bytes as one message; `false` if the stream has ended.
    pub async fn send_bytes(&self, bytes: Vec<u8>) -> bool {
        self.requests.send(bytes.into()).await.is_ok()
    }

    /// Sends a request; `false` if the stream has ended.
    pub async fn send(&self, request: &DeltaDiscoveryRequest) -> bool {
        self.send_bytes(request.encode_to_vec()).await
    }

    /// The next response; `None` if nothing came within `patience`. Nothing is acknowledged.
    ///
    /// # Errors
    /// The status with which the stream ended.
    pub async fn next(
        &mut self,
        patience: Duration,
    ) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        let Ok(message) = tokio::time::timeout(patience, self.responses.message()).await else {
            return Ok(None);
        };
        let bytes = message?.ok_or_else(|| Status::unavailable("the stream ended"))?;
        DeltaDiscoveryResponse::decode(bytes)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

/// Messages are bytes.
#[derive(Debug, Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let len = from.remaining();
        Ok(Some(from.copy_to_bytes(len)))
    }
}
