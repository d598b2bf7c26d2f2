//! Encoding a route configuration from the parts of the last one that did not change.
//!
//! A repeated field is encoded as its elements one after the other, so a virtual host is a range of
//! the encoded route configuration, and can be taken from where it stands already.

use std::cmp::Ordering;
use std::ops::Range;

use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint, message};
use reef_xds::{EncodedResource, ResourceType};

use super::build::{Tables, virtual_host};
use super::{RouteKey, build_route};

/// Number of the field that holds the virtual hosts.
const VIRTUAL_HOSTS: u32 = 2;

/// Encodes a route configuration; `last` is a former one, of any content.
///
/// The result is that of encoding what [`build_route`] makes.
#[must_use]
pub fn encode_route(
    key: &RouteKey,
    last: Option<(&RouteKey, &EncodedResource)>,
) -> EncodedResource {
    let name = || key.name();
    if let Some((before, encoded)) = last
        && key.name == before.name
        && key.frame == before.frame
    {
        let bytes = encoded.value();
        if let Some(pieces) = pieces(key, before, &bytes) {
            let parts: Vec<&[u8]> = pieces.iter().map(|piece| piece.bytes(&bytes)).collect();
            return EncodedResource::from_pieces(ResourceType::Route, name(), &parts);
        }
    }
    EncodedResource::encode(name(), &build_route(key).0)
}

/// A part of the new encoding.
enum Piece {
    /// A range of the last one.
    Old(Range<usize>),
    /// Made.
    New(Vec<u8>),
}

impl Piece {
    fn bytes<'a>(&'a self, last: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Old(range) => last.get(range.clone()).unwrap_or_default(),
            Self::New(bytes) => bytes,
        }
    }
}

/// The parts of the new encoding; `None` if the last one is not what it is taken for.
fn pieces(key: &RouteKey, before: &RouteKey, last: &[u8]) -> Option<Vec<Piece>> {
    let ranges = virtual_hosts(last)?;
    let rest = usize::from(before.frame.rest.is_some());
    if ranges.len() != before.hosts.len() + rest {
        return None;
    }
    let mut pieces = Pieces(Vec::new());
    pieces.add_old(0..ranges.first()?.start);
    let mut tables = Tables::default();
    let mut olds = before.hosts.iter().zip(&ranges).peekable();
    for routes in &*key.hosts {
        // Both are in the order of names.
        let mut found = None;
        while let Some((old, range)) = olds.peek() {
            // Mostly they are one value.
            if *old == routes {
                found = Some((*range).clone());
                olds.next();
                break;
            }
            let order = if old.host.name() == routes.host.name() && old.number == routes.number {
                Ordering::Equal
            } else {
                old.name().cmp(&routes.name())
            };
            match order {
                Ordering::Less => {
                    olds.next();
                }
                Ordering::Equal => {
                    olds.next();
                    break;
                }
                Ordering::Greater => break,
            }
        }
        if let Some(range) = found {
            pieces.add_old(range);
            continue;
        }
        let host = virtual_host(routes, &key.frame, &mut tables);
        let mut bytes = Vec::with_capacity(host.encoded_len() + 8);
        message::encode(VIRTUAL_HOSTS, &host, &mut bytes);
        pieces.0.push(Piece::New(bytes));
    }
    let after = ranges.last()?.end;
    let rest = ranges.iter().rev().take(rest);
    let from = rest.map(|range| range.start).next().unwrap_or(after);
    pieces.add_old(from..last.len());
    Some(pieces.0)
}

struct Pieces(Vec<Piece>);

impl Pieces {
    /// Adds a range; those that follow each other are one.
    fn add_old(&mut self, range: Range<usize>) {
        if let Some(Piece::Old(last)) = self.0.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
        } else {
            self.0.push(Piece::Old(range));
        }
    }
}

/// Where the virtual hosts of an encoded route configuration are, keys and lengths included.
fn virtual_hosts(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let start = bytes.len() - rest.len();
        let (tag, wire) = decode_key(&mut rest).ok()?;
        if tag > VIRTUAL_HOSTS {
            break;
        }
        if wire != WireType::LengthDelimited {
            return None;
        }
        let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        rest = rest.get(len..)?;
        if tag == VIRTUAL_HOSTS {
            found.push(start..bytes.len() - rest.len());
        }
    }
    Some(found)
}
