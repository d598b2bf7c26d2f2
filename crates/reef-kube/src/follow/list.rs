//! A list in pages, for servers that do not stream it, and the question whether history went back.

use bytes::Bytes;

use super::{BATCH, End, Follower, HEAD_TIMEOUT, LIST_TIMEOUT};
use crate::api::ApiError;
use crate::encoding::Encoding;
use crate::page::Page;

/// Objects of a page; of pods some 2.5 MiB.
const PAGE: usize = 500;

/// Largest page: as many of the largest objects as anyone has.
const PAGE_BYTES: usize = 256 << 20;

/// Largest answer to a question for one object.
const ONE_BYTES: usize = 16 << 20;

impl Follower {
    /// Lists what is read now and was not: the objects of some namespaces. Their watch goes on where it was; what it
    /// tells a second time is known then.
    pub(super) async fn read_more(&mut self, api: &str) -> Result<(), End> {
        for namespace in self.known.wanted() {
            let mut next = None;
            loop {
                let url = self.resource.url_in(&namespace, api, &query(next));
                let (came, body) = self.page(&url).await?;
                let page = Page::read(came, &body).map_err(unreadable)?;
                for item in page.items() {
                    let read = self.known.read_now(item, &mut self.changes);
                    read.map_err(unreadable)?;
                    if self.changes.len() >= BATCH {
                        self.flush().await?;
                    }
                }
                next = page.next;
                if next.is_none() {
                    break;
                }
            }
            self.known.settle(&namespace);
            self.flush().await?;
        }
        Ok(())
    }

    /// Lists everything.
    pub(super) async fn pages(&mut self, api: &str) -> Result<(), End> {
        self.known.begin();
        let mut next = None;
        loop {
            let url = self.resource.url(api, &query(next));
            let (came, body) = self.page(&url).await?;
            let page = Page::read(came, &body).map_err(unreadable)?;
            for item in page.items() {
                let told = self.known.apply(item, &mut self.changes);
                told.map_err(unreadable)?;
                if self.changes.len() >= BATCH {
                    self.flush().await?;
                }
            }
            next = page.next;
            if next.is_none() {
                return self.complete(page.version).await;
            }
        }
    }

    async fn page(&mut self, url: &str) -> Result<(Encoding, Bytes), End> {
        let cluster = &self.common.cluster;
        let answer = cluster.get(url, self.encoding(), PAGE_BYTES, LIST_TIMEOUT);
        let body = answer.await.map_err(refused)?;
        self.heard();
        Ok(body)
    }

    /// Whether the server's newest version is older than what was told: its store was wiped or restored. A watch
    /// would then wait for a version that may never come.
    pub(super) async fn went_back(&mut self, api: &str) -> Result<bool, ApiError> {
        let url = self.resource.url(api, &"limit=1");
        let cluster = &self.common.cluster;
        let answer = cluster.get(&url, self.encoding(), ONE_BYTES, HEAD_TIMEOUT);
        let (came, body) = answer.await?;
        let newest = Page::read(came, &body)
            .map_err(ApiError::Unreadable)?
            .version;
        Ok(self
            .version
            .is_some_and(|version| newest != 0 && newest < version))
    }
}

/// How a list ends that was refused. A token of a page that is too old is no reason to wait long.
fn refused(error: ApiError) -> End {
    match error.code() {
        Some(404) => End::NotServed,
        Some(410) => End::Gone,
        _ => End::Failed(error, "list"),
    }
}

fn unreadable(reason: String) -> End {
    End::Failed(ApiError::Unreadable(reason), "list")
}

/// The query of a page: the first, or the one of a token.
fn query(token: Option<String>) -> String {
    let next = token.map(|token| format!("&continue={}", encoded(&token)));
    format!("limit={PAGE}{}", next.unwrap_or_default())
}

/// A query value: tokens of pages are base64 with signs of their own.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}
