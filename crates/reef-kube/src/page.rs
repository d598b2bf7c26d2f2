//! A list, or a page of one, as it came.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decode::ResourceVersion;
use crate::encoding::{Encoding, Raw};
use crate::proto::{self, schema};

/// A page.
#[derive(Debug)]
pub(crate) struct Page<'p> {
    /// The version the list is of.
    pub(crate) version: u64,
    /// The token of the page that follows.
    pub(crate) next: Option<String>,
    items: Items<'p>,
}

#[derive(Debug)]
enum Items<'p> {
    Json(Vec<&'p RawValue>),
    Proto(Vec<&'p [u8]>),
}

#[derive(Deserialize)]
struct List {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct JsonList<'p> {
    metadata: Metadata,
    #[serde(borrow)]
    items: Option<Vec<&'p RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: ResourceVersion,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl<'p> Page<'p> {
    /// Reads an answer.
    ///
    /// # Errors
    /// It is no list.
    pub(crate) fn read(came: Encoding, body: &'p [u8]) -> Result<Self, String> {
        let (metadata, items) = match came {
            Encoding::Json => {
                let list = serde_json::from_slice::<JsonList<'p>>(body);
                let list = list.map_err(|error| error.to_string())?;
                (list.metadata, Items::Json(list.items.unwrap_or_default()))
            }
            Encoding::Protobuf => {
                let unreadable = |error: serde::de::value::Error| error.to_string();
                let message = proto::unwrapped(body).map_err(unreadable)?;
                let list: List = Raw::Proto(message).read(&schema::LIST)?;
                let items = proto::list(message).map_err(unreadable)?;
                (list.metadata, Items::Proto(items))
            }
        };
        Ok(Self {
            version: metadata.resource_version.0,
            next: metadata.next.filter(|next| !next.is_empty()),
            items,
        })
    }

    /// The objects, in order.
    pub(crate) fn items(&self) -> impl Iterator<Item = Raw<'p>> + '_ {
        let (json, proto) = match &self.items {
            Items::Json(items) => (items.as_slice(), &[][..]),
            Items::Proto(items) => (&[][..], items.as_slice()),
        };
        let json = json.iter().map(|item| Raw::Json(item.get().as_bytes()));
        json.chain(proto.iter().map(|item| Raw::Proto(item)))
    }
}
