//! `google.protobuf.Any` with a shared value.

use bytes::Bytes;
use prost::{Message, Name};

/// A message of any type, as its type URL and its encoded bytes.
///
/// Unlike `prost_types::Any` the value is [`Bytes`]: cloning shares it.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
pub struct Any {
    /// `type.googleapis.com/` and the full name of the message.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Any {
    /// Encodes `message` under its own type URL.
    pub fn pack<M: Message + Name>(message: &M) -> Self {
        Self {
            type_url: M::type_url(),
            value: message.encode_to_vec().into(),
        }
    }

    /// Decodes the value if the type URL is the one of `M`; `None` if it names another type.
    ///
    /// # Errors
    /// The value is not an encoded `M`.
    pub fn unpack<M: Message + Name + Default>(&self) -> Option<Result<M, prost::DecodeError>> {
        (self.type_url == M::type_url()).then(|| M::decode(self.value.clone()))
    }
}

impl Name for Any {
    const NAME: &'static str = "Any";
    const PACKAGE: &'static str = "google.protobuf";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}
