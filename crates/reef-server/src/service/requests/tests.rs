//! Requests come out whole, however their bytes were cut.

use bytes::Bytes;
use http_body_util::StreamBody;
use prost::Message as _;
use tonic::Code;
use tonic::body::Body;
use xds_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::{MAX_REQUEST_BYTES, Requests};

fn request(number: usize) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: format!("type-{number}"),
        resource_names_subscribe: vec!["name".repeat(number); number],
        ..DeltaDiscoveryRequest::default()
    }
}

fn framed(message: &DeltaDiscoveryRequest) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend(body);
    frame
}

fn of(pieces: impl IntoIterator<Item = Vec<u8>>) -> Requests<DeltaDiscoveryRequest> {
    let frames: Vec<_> = pieces
        .into_iter()
        .map(|piece| Ok::<_, tonic::Status>(http_body::Frame::data(Bytes::from(piece))))
        .collect();
    Requests::new(Body::new(StreamBody::new(tokio_stream::iter(frames))))
}

#[tokio::test]
async fn a_cut_at_any_place_changes_nothing() {
    let wanted: Vec<_> = (0..4).map(request).collect();
    let all: Vec<u8> = wanted.iter().flat_map(framed).collect();
    for size in 1..=all.len() {
        let mut requests = of(all.chunks(size).map(<[u8]>::to_vec));
        for one in &wanted {
            assert_eq!(
                requests.message().await.unwrap().as_ref(),
                Some(one),
                "{size}"
            );
        }
        assert_eq!(requests.message().await.unwrap(), None, "{size}");
        assert!(requests.read.is_empty() && requests.partial.capacity() == 0);
    }
}

#[tokio::test]
async fn an_end_within_a_request_is_an_error() {
    let mut cut = framed(&request(2));
    cut.pop();
    for end in [1, 4, 5, cut.len()] {
        let error = of([cut[..end].to_vec()]).message().await.unwrap_err();
        assert_eq!(error.code(), Code::Internal, "{end}");
    }
}

#[tokio::test]
async fn what_cannot_be_a_request_is_refused_before_it_is_read() {
    let too_long = u32::try_from(MAX_REQUEST_BYTES + 1).unwrap().to_be_bytes();
    let [a, b, c, d] = too_long;
    for (bytes, code) in [
        (vec![0, a, b, c, d], Code::OutOfRange),
        (vec![1, 0, 0, 0, 0], Code::Unimplemented),
        (vec![0, 0, 0, 0, 1, 0xff], Code::Internal),
    ] {
        let error = of([bytes]).message().await.unwrap_err();
        assert_eq!(error.code(), code);
    }
}
