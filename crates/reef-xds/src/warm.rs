//! Which resources hold bytes that could be made again, and when these are given back.
//!
//! A proxy that took a resource does not need its bytes any more; the next who does is one that connects later. What a
//! resource is made from is held anyway, so its bytes need not be. When to look is the caller's to say.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::EncodedResource;
use crate::encoded::Encoded;

/// One call of [`Warm::cool`] looks at one part in this many of what is warm, so that a large mesh does not hold up its
/// caller, …
const SHARE: usize = 8;

/// … and at this many besides, so that the last ones are not long in coming.
const LEAST: usize = 64;

/// Bytes of resources that are made together lie together in pieces of this size, so that whole pages come free when they are
/// given back; between keys, which stay, they would leave holes …
const PIECE_BYTES: usize = 32 * 1024;

/// … but not those of a resource of this size, which are pages by themselves.
const APART_BYTES: usize = 8 * 1024;

/// What a resource was made from: makes it again, with the same bytes each time.
pub trait Source: Send + Sync {
    /// Makes and encodes the resource.
    fn make(&self) -> EncodedResource;
}

/// The resources that hold bytes they could make again. Clones are one.
#[derive(Clone, Default)]
pub struct Warm(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Those not looked at for longest first.
    resources: Mutex<VecDeque<Weak<Encoded>>>,
    /// What is free of the last piece.
    piece: Mutex<BytesMut>,
}

impl Warm {
    /// Looks at some of the resources, those not looked at for longest first: bytes nobody asked for since the look before are
    /// given back. Returns how many resources are warm still.
    ///
    /// Every resource is looked at once in about eight calls, of few more often.
    pub fn cool(&self) -> usize {
        let due = {
            let mut all = self.0.resources.lock();
            let due = all.len().min(all.len() / SHARE + LEAST);
            all.drain(..due).collect::<Vec<_>>()
        };
        // Not under the lock: streams that make bytes again do not wait for this.
        let stays = |one: &Weak<Encoded>| one.upgrade().is_some_and(|found| !found.cool());
        let stay = due.into_iter().filter(stays).collect::<Vec<_>>();
        let mut all = self.0.resources.lock();
        all.extend(stay);
        if all.capacity() > 4 * all.len().max(LEAST) {
            all.shrink_to_fit();
        }
        all.len()
    }

    /// How many resources hold bytes they could make again, or did when they were last looked at.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.resources.lock().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same bytes, beside those that were gathered before.
    pub(crate) fn gather(&self, bytes: Bytes) -> Bytes {
        if bytes.len() >= APART_BYTES {
            return bytes;
        }
        let mut piece = self.0.piece.lock();
        if piece.capacity() < bytes.len() {
            *piece = BytesMut::with_capacity(PIECE_BYTES);
        }
        piece.extend_from_slice(&bytes);
        piece.split().freeze()
    }

    /// Notes a resource that holds bytes from now on.
    pub(crate) fn add(&self, resource: &Arc<Encoded>) {
        self.0.resources.lock().push_back(Arc::downgrade(resource));
    }
}

impl fmt::Debug for Warm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Warm").field(&self.len()).finish()
    }
}
