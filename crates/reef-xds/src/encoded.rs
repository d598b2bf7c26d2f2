//! A resource encoded once, and the version that follows from its bytes.
//!
//! Encoding is deterministic because the generated messages keep maps in order. Nothing here decides
//! which resource a proxy gets.

use std::{fmt, ops::Range, str::FromStr, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use thiserror::Error;
use xds_api::Any;

use crate::warm::{Source, Warm};
use crate::{ResourceType, XdsResource};

/// Length of a printed [`Version`]: 128 bits in hexadecimal.
const VERSION_LEN: usize = 32;

/// The content of a resource, as 128 bits of BLAKE3 over its type URL and encoded message.
///
/// Equal resources have equal versions on every replica and after every restart. BLAKE3 because a
/// tenant chooses part of the content and must not be able to make two resources look equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version([u8; 16]);

/// A text that is not a printed [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not a version: 32 lower-case hexadecimal digits expected")]
pub struct InvalidVersion {
    /// What was given.
    pub text: String,
}

impl Version {
    /// Computes the version of a resource; linear in its size.
    #[must_use]
    pub fn of(type_url: &str, value: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        // A type URL holds no NUL, so no other pair gives the same input.
        hasher
            .update(type_url.as_bytes())
            .update(&[0])
            .update(value);
        let mut bits = [0; 16];
        hasher.finalize_xof().fill(&mut bits);
        Self(bits)
    }

    /// Parses what a proxy reports, for example in `initial_resource_versions`.
    ///
    /// # Errors
    /// [`InvalidVersion`] if another control plane (or another release) chose the version; the proxy
    /// then holds something else than what this one would send.
    pub fn from_wire(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion {
            text: text.to_owned(),
        };
        let Ok(digits) = <&[u8; VERSION_LEN]>::try_from(text.as_bytes()) else {
            return Err(invalid());
        };
        let (pairs, _) = digits.as_chunks::<2>();
        let mut bits = [0; 16];
        for (byte, [high, low]) in bits.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (nibble(*high), nibble(*low)) else {
                return Err(invalid());
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bits))
    }

    /// The raw bits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The printed form as ASCII digits.
    fn digits(self) -> [u8; VERSION_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; VERSION_LEN];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(self.0) {
            *pair = [
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 0xf)],
            ];
        }
        digits
    }
}

/// The value of a lower-case hexadecimal digit.
const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_wire(text)
    }
}

/// A resource in the form every stream sends: encoded once, cheap to clone.
///
/// One buffer holds the body of the `envoy.service.discovery.v3.Resource` of delta streams; the `Any`
/// of state-of-the-world streams and the message itself are ranges of it. A resource that was made
/// [renewable](Self::renewable) holds the buffer while it is asked for, and makes it again later.
///
/// Two encoded resources are equal if type, name and version are.
#[derive(Clone)]
pub struct EncodedResource(Arc<Encoded>);

pub(crate) struct Encoded {
    resource_type: ResourceType,
    name: Arc<str>,
    version: Version,
    layout: Layout,
    /// Locked for a clone, or while the bytes are made again: who else wants them then waits for that.
    wire: Mutex<Wire>,
    renewal: Option<(Arc<dyn Source>, Warm)>,
}

/// Where what stands in the buffer. 32 bits are enough: no protobuf message has more than 2 GiB.
struct Layout {
    any: u32,
    value: u32,
    value_end: u32,
    end: u32,
}

/// The buffer.
struct Wire {
    /// Always there if the resource is not renewable.
    bytes: Option<Bytes>,
    /// Whether somebody asked for it since the last [`Encoded::cool`].
    asked: bool,
}

impl Layout {
    fn value(&self) -> Range<usize> {
        wide(self.value)..wide(self.value_end)
    }

    fn any(&self) -> Range<usize> {
        wide(self.any)..wide(self.value_end)
    }
}

impl Encoded {
    /// Gives the bytes back if nobody asked for them since the last call; whether none are held now.
    pub(crate) fn cool(&self) -> bool {
        let mut wire = self.wire.lock();
        if !std::mem::take(&mut wire.asked) && self.renewal.is_some() {
            wire.bytes = None;
        }
        wire.bytes.is_none()
    }
}

impl EncodedResource {
    /// Encodes `resource` under `name`; one allocation for the bytes, linear in their number.
    pub fn encode<R: XdsResource>(name: impl Into<Arc<str>>, resource: &R) -> Self {
        Self::build(R::TYPE, name.into(), resource.encoded_len(), |buffer| {
            resource.encode_raw(buffer);
        })
    }

    /// Wraps a message that is already encoded. The bytes are copied and not checked to decode.
    pub fn from_parts(
        resource_type: ResourceType,
        name: impl Into<Arc<str>>,
        value: &[u8],
    ) -> Self {
        Self::build(resource_type, name.into(), value.len(), |buffer| {
            buffer.extend_from_slice(value);
        })
    }

    /// Wraps a message that is already encoded, in pieces. The bytes are copied and not checked to decode.
    pub fn from_pieces(
        resource_type: ResourceType,
        name: impl Into<Arc<str>>,
        pieces: &[&[u8]],
    ) -> Self {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        Self::build(resource_type, name.into(), len, |buffer| {
            for piece in pieces {
                buffer.extend_from_slice(piece);
            }
        })
    }

    /// Lays out `Resource { version = 1, resource = 2, name = 3 }`, as prost would.
    fn build(
        resource_type: ResourceType,
        name: Arc<str>,
        value_len: usize,
        write_value: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        let type_url = resource_type.type_url();
        // proto3 omits empty strings and bytes.
        let value_field_len = if value_len == 0 {
            0
        } else {
            field_len(2, value_len)
        };
        let any_len = field_len(1, type_url.len()) + value_field_len;
        let name_field_len = if name.is_empty() {
            0
        } else {
            field_len(3, name.len())
        };
        let mut wire =
            Vec::with_capacity(field_len(1, VERSION_LEN) + field_len(2, any_len) + name_field_len);

        encode_header(1, VERSION_LEN, &mut wire);
        let version_at = wire.len();
        wire.extend_from_slice(&[0; VERSION_LEN]);

        encode_header(2, any_len, &mut wire);
        let any_at = wire.len();
        encode_header(1, type_url.len(), &mut wire);
        wire.extend_from_slice(type_url.as_bytes());
        if value_len > 0 {
            encode_header(2, value_len, &mut wire);
        }
        let value_at = wire.len();
        write_value(&mut wire);
        debug_assert_eq!(
            wire.len(),
            value_at + value_len,
            "encoded_len disagrees with encode_raw"
        );
        let value = value_at..wire.len();

        if !name.is_empty() {
            encode_header(3, name.len(), &mut wire);
            wire.extend_from_slice(name.as_bytes());
        }

        let version = Version::of(type_url, &wire[value.clone()]);
        wire[version_at..version_at + VERSION_LEN].copy_from_slice(&version.digits());
        let layout = Layout {
            any: narrow(any_at),
            value: narrow(value.start),
            value_end: narrow(value.end),
            end: narrow(wire.len()),
        };
        Self(Arc::new(Encoded {
            resource_type,
            name,
            version,
            layout,
            wire: Mutex::new(Wire {
                bytes: Some(wire.into()),
                asked: true,
            }),
            renewal: None,
        }))
    }

    /// Lets a resource that was just made give its bytes back when nobody asks for them ([`Warm::cool`]), as `source`
    /// can make them again. One that is shared already stays as it is.
    #[must_use]
    pub fn renewable(mut self, source: Arc<dyn Source>, warm: &Warm) -> Self {
        if let Some(encoded) = Arc::get_mut(&mut self.0) {
            let wire = encoded.wire.get_mut();
            wire.bytes = wire.bytes.take().map(|bytes| warm.gather(bytes));
            encoded.renewal = Some((source, warm.clone()));
            warm.add(&self.0);
        }
        self
    }

    /// The buffer, made again if it was given back.
    fn wire(&self) -> Bytes {
        let mut wire = self.0.wire.lock();
        wire.asked = true;
        if let Some(bytes) = &wire.bytes {
            return bytes.clone();
        }
        let Some((source, warm)) = &self.0.renewal else {
            return Bytes::new();
        };
        let again = source.make();
        debug_assert_eq!(again, *self, "made again, a resource differs");
        let bytes = warm.gather(again.wire());
        wire.bytes = Some(bytes.clone());
        drop(wire);
        warm.add(&self.0);
        bytes
    }

    /// Whether its bytes are here and need not be made.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.0.wire.lock().bytes.is_some()
    }

    /// What kind of resource it is.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        self.0.resource_type
    }

    /// The name it is subscribed to by.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// The version of its content.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The encoded message.
    #[must_use]
    pub fn value(&self) -> Bytes {
        self.wire().slice(self.0.layout.value())
    }

    /// The `Any` that holds the message; shares its bytes.
    #[must_use]
    pub fn any(&self) -> Any {
        Any {
            type_url: self.0.resource_type.type_url().to_owned(),
            value: self.value(),
        }
    }

    /// The encoded `google.protobuf.Any`: an entry of `DiscoveryResponse.resources`, without field key
    /// and length.
    #[must_use]
    pub fn wire_any(&self) -> Bytes {
        self.wire().slice(self.0.layout.any())
    }

    /// The encoded `envoy.service.discovery.v3.Resource`: an entry of
    /// `DeltaDiscoveryResponse.resources`, without field key and length.
    #[must_use]
    pub fn wire_delta(&self) -> Bytes {
        self.wire()
    }

    /// Length of [`Self::value`], without making it.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.0.layout.value().len()
    }

    /// Length of [`Self::wire_any`], without making it.
    #[must_use]
    pub fn wire_any_len(&self) -> usize {
        self.0.layout.any().len()
    }

    /// Length of [`Self::wire_delta`], without making it.
    #[must_use]
    pub fn wire_delta_len(&self) -> usize {
        wide(self.0.layout.end)
    }

    /// Bytes this resource occupies in memory with its buffer (shared by all clones), without the allocator's share.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        size_of::<Encoded>() + self.0.name.len() + self.wire_delta_len()
    }

    /// Decodes the message.
    ///
    /// # Errors
    /// The bytes given to [`EncodedResource::from_parts`] were no `R`, or `R` is another type.
    pub fn decode<R: XdsResource>(&self) -> Result<R, prost::DecodeError> {
        if R::TYPE != self.0.resource_type {
            return Err(prost::DecodeError::new_unexpected_type_url(
                self.0.resource_type.type_url(),
                R::TYPE.type_url(),
            ));
        }
        R::decode(self.value())
    }
}

impl PartialEq for EncodedResource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.version == other.0.version
                && self.0.resource_type == other.0.resource_type
                && self.0.name == other.0.name)
    }
}

impl Eq for EncodedResource {}

impl fmt::Debug for EncodedResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EncodedResource")
            .field("type", &self.0.resource_type)
            .field("name", &self.0.name)
            .field("version", &self.0.version)
            .field("bytes", &self.value_len())
            .finish()
    }
}

/// Length of a length-delimited field with its key.
fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(wire_len(len)) + len
}

/// Writes key and length of a length-delimited field.
fn encode_header(tag: u32, len: usize, buffer: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(wire_len(len), buffer);
}

fn wire_len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A place in a buffer. One that protobuf forbids would be cut short.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn wide(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
