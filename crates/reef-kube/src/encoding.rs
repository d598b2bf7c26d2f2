//! JSON or protobuf: what is asked for, what came, and one object in either.

use http::{HeaderMap, header};
use reef_config::Kind;
use serde::de::DeserializeOwned;

use crate::proto;
use crate::proto::schema::{self, Message};

/// The media type of Kubernetes' protobuf.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What answers of the API server are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// As every server writes every kind.
    Json,
    /// As an API server writes Kubernetes' own kinds if asked to: a third of the bytes, made and read at a fraction of
    /// the cost. Whoever cannot write it answers in JSON, which is understood all the same.
    #[default]
    Protobuf,
}

impl Encoding {
    /// What to ask for a kind in: definitions of users are in JSON only.
    pub(crate) fn of(self, kind: Kind) -> Self {
        if kind.is_istio() { Self::Json } else { self }
    }

    /// The `Accept` of a request.
    pub(crate) const fn accept(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf, application/json",
        }
    }

    /// What an answer is written in.
    pub(crate) fn came(headers: &HeaderMap) -> Self {
        let said = headers.get(header::CONTENT_TYPE);
        if said.is_some_and(|said| said.as_bytes().starts_with(PROTOBUF.as_bytes())) {
            Self::Protobuf
        } else {
            Self::Json
        }
    }
}

/// One object as it came, or one of the other things an API server says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'b> {
    /// Its text.
    Json(&'b [u8]),
    /// Its message, without envelope.
    Proto(&'b [u8]),
}

impl Raw<'_> {
    /// Reads it; `message` says what a message is.
    ///
    /// # Errors
    /// It does not fit.
    pub(crate) fn read<T: DeserializeOwned>(self, message: &'static Message) -> Result<T, String> {
        match self {
            Self::Json(text) => serde_json::from_slice(text).map_err(|error| error.to_string()),
            Self::Proto(bytes) => {
                proto::from_slice(message, bytes).map_err(|error| error.to_string())
            }
        }
    }
}

/// The message of a kind. Of a kind that is never told in protobuf it is what all objects have in common.
pub(crate) fn message(kind: Kind) -> &'static Message {
    match kind {
        Kind::Pod => &schema::POD,
        Kind::Service => &schema::SERVICE,
        Kind::EndpointSlice => &schema::ENDPOINT_SLICE,
        Kind::ConfigMap => &schema::CONFIG_MAP,
        _ => &schema::OBJECT,
    }
}
