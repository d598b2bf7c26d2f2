//! Requests from generated messages, responses to gRPC frames.
//!
//! Responses are not built as generated messages: their resources are encoded once for all streams, so a frame is a
//! few header bytes and shared buffers. Small resources are copied into one chunk (an HTTP/2 frame each would cost
//! more than the copy), large ones are handed on as they are.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use xds_api::envoy::config::core::v3::{Node, node::UserAgentVersionType};
use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use xds_api::google::rpc::Status as RpcStatus;
use xds_api::well_known::{Struct, Value, value::Kind};

use crate::protocol::{Body, Rejection, Request, Response};
use crate::provider::{Locality, NodeInfo};

/// Resources of at least this size are shared, smaller ones are copied into a chunk. One HTTP/2 frame is 16 KiB.
const SHARE_FROM: usize = 8 * 1024;

/// A chunk is closed when it reaches this size.
const CHUNK: usize = 16 * 1024;

/// Length of the gRPC message prefix: one flag byte and the length.
const GRPC_PREFIX: usize = 5;

/// Reads a delta request.
#[must_use]
pub fn from_delta(message: DeltaDiscoveryRequest) -> Request {
    Request {
        node: message.node.map(node_info),
        type_url: message.type_url,
        nonce: message.response_nonce,
        error: message.error_detail.map(rejection),
        subscribe: message.resource_names_subscribe,
        unsubscribe: message.resource_names_unsubscribe,
        initial: message.initial_resource_versions.into_iter().collect(),
        version: String::new(),
    }
}

/// Reads a `SotW` request.
#[must_use]
pub fn from_sotw(message: DiscoveryRequest) -> Request {
    Request {
        node: message.node.map(node_info),
        type_url: message.type_url,
        nonce: message.response_nonce,
        error: message.error_detail.map(rejection),
        subscribe: message.resource_names,
        unsubscribe: Vec::new(),
        initial: Vec::new(),
        version: message.version_info,
    }
}

fn rejection(status: RpcStatus) -> Rejection {
    Rejection::new(status.code, status.message)
}

fn node_info(node: Node) -> NodeInfo {
    let locality = node.locality.unwrap_or_default();
    let version = match node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version,
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build
            .version
            .map(|v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
            .unwrap_or_default(),
        None => String::new(),
    };
    NodeInfo {
        id: node.id,
        cluster: node.cluster,
        user_agent_name: node.user_agent_name,
        user_agent_version: version,
        metadata: node.metadata.map_or(serde_json::Value::Null, json_object),
        locality: Locality {
            region: locality.region,
            zone: locality.zone,
            sub_zone: locality.sub_zone,
        },
        client_features: node.client_features,
    }
}

fn json_object(object: Struct) -> serde_json::Value {
    serde_json::Value::Object(
        object
            .fields
            .into_iter()
            .map(|(key, value)| (key, json(value)))
            .collect(),
    )
}

fn json(value: Value) -> serde_json::Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::NumberValue(number)) => serde_json::Value::from(number),
        Some(Kind::StringValue(text)) => serde_json::Value::String(text),
        Some(Kind::BoolValue(yes)) => serde_json::Value::Bool(yes),
        Some(Kind::StructValue(object)) => json_object(object),
        Some(Kind::ListValue(list)) => {
            serde_json::Value::Array(list.values.into_iter().map(json).collect())
        }
    }
}

/// A response as gRPC frames, made chunk by chunk as the transport asks for them.
#[derive(Debug)]
pub struct Frames {
    head: Option<BytesMut>,
    resources: VecDeque<Bytes>,
    tail: Option<Bytes>,
    /// A large resource whose key and length went out with the chunk before.
    shared: Option<Bytes>,
    message_len: usize,
}

/// Field numbers that differ between the two response messages.
struct Fields {
    removed: u32,
    control_plane: u32,
}

const DELTA: Fields = Fields {
    removed: 6,
    control_plane: 7,
};
const SOTW: Fields = Fields {
    removed: 0,
    control_plane: 6,
};

/// `system_version_info` and `version_info`.
const VERSION: u32 = 1;
/// `resources` of both messages.
const RESOURCES: u32 = 2;
/// `type_url` of both messages.
const TYPE_URL: u32 = 4;
/// `Resource.version`, `.name` and `.aliases`, for the form without body.
const RESOURCE_VERSION: u32 = 1;
const RESOURCE_NAME: u32 = 3;
const RESOURCE_ALIASES: u32 = 4;
/// Version of a resource without body: not one of ours, so a client that reports it is answered again.
const ABSENT: &str = "absent";
/// `nonce` of both messages.
const NONCE: u32 = 5;

impl Frames {
    /// Lays out `response`; `control_plane` is the identifier of this server.
    #[must_use]
    pub fn new(response: &Response, control_plane: &str) -> Self {
        let (fields, resources): (Fields, VecDeque<Bytes>) = match &response.body {
            Body::Delta { resources, .. } => (
                DELTA,
                resources.iter().map(|one| one.wire_delta()).collect(),
            ),
            Body::Sotw { resources } => {
                (SOTW, resources.iter().map(|one| one.wire_any()).collect())
            }
        };
        let mut tail = BytesMut::new();
        for name in response.absent() {
            let mut resource = BytesMut::new();
            text(RESOURCE_VERSION, ABSENT, &mut resource);
            text(RESOURCE_NAME, name, &mut resource);
            text(RESOURCE_ALIASES, name, &mut resource);
            field(RESOURCES, resource.len(), &mut tail);
            tail.extend_from_slice(&resource);
        }
        text(TYPE_URL, response.ty.type_url(), &mut tail);
        text(NONCE, &response.nonce.to_string(), &mut tail);
        for name in response.removed() {
            text(fields.removed, name, &mut tail);
        }
        Self::lay_out(&response.version, resources, tail, &fields, control_plane)
    }

    /// Lays out a state-of-the-world response that no stream state knows of: debug data. Its version is its nonce.
    #[must_use]
    pub fn plain(
        type_url: &str,
        nonce: &str,
        resources: VecDeque<Bytes>,
        control_plane: &str,
    ) -> Self {
        let mut tail = BytesMut::new();
        text(TYPE_URL, type_url, &mut tail);
        text(NONCE, nonce, &mut tail);
        Self::lay_out(nonce, resources, tail, &SOTW, control_plane)
    }

    fn lay_out(
        version: &str,
        resources: VecDeque<Bytes>,
        mut tail: BytesMut,
        fields: &Fields,
        control_plane: &str,
    ) -> Self {
        let mut identifier = BytesMut::new();
        text(1, control_plane, &mut identifier);
        field(fields.control_plane, identifier.len(), &mut tail);
        tail.extend_from_slice(&identifier);

        let mut head_field = BytesMut::new();
        text(VERSION, version, &mut head_field);
        let body: usize = resources
            .iter()
            .map(|one| field_len(RESOURCES, one.len()) + one.len())
            .sum();
        let message_len = head_field.len() + tail.len() + body;
        let mut head = BytesMut::with_capacity(CHUNK.min(message_len + GRPC_PREFIX));
        head.put_u8(0);
        head.put_u32(u32::try_from(message_len).unwrap_or(u32::MAX));
        head.extend_from_slice(&head_field);
        Self {
            head: Some(head),
            resources,
            tail: Some(tail.freeze()),
            shared: None,
            message_len,
        }
    }

    /// Size of the message, without the gRPC prefix.
    #[must_use]
    pub fn message_len(&self) -> usize {
        self.message_len
    }

    /// The next chunk; `None` when the message is complete.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        if let Some(shared) = self.shared.take() {
            return Some(shared);
        }
        if self.head.is_none() && self.resources.is_empty() && self.tail.is_none() {
            return None;
        }
        let mut chunk = self
            .head
            .take()
            .unwrap_or_else(|| BytesMut::with_capacity(CHUNK));
        while chunk.len() < CHUNK {
            let Some(resource) = self.resources.pop_front() else {
                break;
            };
            field(RESOURCES, resource.len(), &mut chunk);
            if resource.len() >= SHARE_FROM {
                self.shared = Some(resource);
                return Some(chunk.freeze());
            }
            chunk.extend_from_slice(&resource);
        }
        if self.resources.is_empty()
            && chunk.len() < CHUNK
            && let Some(tail) = self.tail.take()
        {
            chunk.extend_from_slice(&tail);
        }
        Some(chunk.freeze())
    }
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(wide(len))
}

fn field(tag: u32, len: usize, buffer: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(wide(len), buffer);
}

fn text(tag: u32, value: &str, buffer: &mut BytesMut) {
    if !value.is_empty() {
        field(tag, value.len(), buffer);
        buffer.extend_from_slice(value.as_bytes());
    }
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
