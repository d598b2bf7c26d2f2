//! One watch request: the rest of history from a version on or, without one, first everything there is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::time::{Instant, timeout_at};

use super::{BATCH, End, Follower, HEAD_TIMEOUT, STREAM_FAILURES, or_end};
use crate::api::{ApiError, Status};
use crate::encoding::{Encoding, Raw};
use crate::event::{self, Feed, Type};
use crate::metrics::Relist;
use crate::pace;
use crate::proto::schema;

/// A stream that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// A list whose stream is silent for so long is given up.
const SILENT: Duration = Duration::from_secs(30);

/// An event that began may go on beyond the end of its watch, as long as something comes this often.
const DRIP: Duration = Duration::from_secs(5);

/// After so many lines or frames in a row that are no events there is a list.
const UNREADABLE: u32 = 3;

impl Follower {
    /// Watches from the version, or streams the list and then watches.
    pub(super) async fn stream(&mut self, api: &str) -> End {
        let times = self.common.times;
        // A list that failed once may have been cut by the time the server was given.
        let limit = if self.version.is_none() && self.stream_failures > 0 {
            times.watch * 10
        } else {
            pace::spread(times.watch)
        };
        let query = format!(
            "watch=true&allowWatchBookmarks=true&timeoutSeconds={}{}",
            limit.as_secs().max(1),
            match self.version {
                Some(version) => format!("&resourceVersion={version}"),
                None => "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan".to_owned(),
            }
        );
        let url = self.resource.url(api, &query);
        let began = Instant::now();
        let end = match self
            .common
            .cluster
            .open(&url, self.encoding(), HEAD_TIMEOUT)
            .await
        {
            Ok(response) => {
                self.heard();
                if self.version.is_some() {
                    self.live();
                    or_end!(self.found().await);
                } else {
                    self.known.begin();
                }
                let deadline = began + limit + times.silence;
                let feed = Feed::new(Encoding::came(response.headers()));
                let body = response.into_body();
                self.read(body, feed, deadline, began).await
            }
            Err(error) => self.refused(error),
        };
        match &end {
            End::Good | End::Rewound => self.pace.ended(began),
            End::Failed(..) if self.version.is_none() => self.stream_failures += 1,
            _ => {}
        }
        end
    }

    fn refused(&mut self, error: ApiError) -> End {
        match error.code() {
            Some(404) => End::NotServed,
            Some(410) => End::Gone,
            // The server does not know the parameters of a streamed list.
            Some(400 | 422) if self.version.is_none() => {
                self.common.streams.store(false, Ordering::Release);
                self.stream_failures = STREAM_FAILURES;
                End::Good
            }
            _ => End::Failed(error, "watch"),
        }
    }

    async fn read(
        &mut self,
        mut body: Body,
        mut feed: Feed,
        deadline: Instant,
        began: Instant,
    ) -> End {
        loop {
            let until = if self.version.is_none() {
                deadline.min(Instant::now() + SILENT)
            } else if feed.has_partial() && Instant::now() + DRIP > deadline {
                Instant::now() + DRIP
            } else {
                deadline
            };
            let frame = tokio::select! {
                frame = timeout_at(until, body.frame()) => frame,
                Ok(()) = self.histories.changed() => return End::Rewound,
                Ok(()) = self.common.reading.changed() => {
                    let reading = self.common.reading.borrow().clone().unwrap_or_default();
                    // A list that began with another reading is taken to its end.
                    if self.version.is_some() && self.known.concerns(&reading) {
                        return End::Good;
                    }
                    self.known.read(reading, &mut self.changes);
                    continue;
                }
                () = self.common.out.closed() => return End::Closed,
            };
            let frame = match frame {
                Err(_elapsed) => {
                    let waited = self.heard.elapsed();
                    return End::Failed(ApiError::Timeout(waited), "watch");
                }
                Ok(None) if self.version.is_none() => {
                    let reason = "the stream ended within the list".to_owned();
                    return End::Failed(ApiError::Unreachable(reason), "watch");
                }
                Ok(None) => return End::Good,
                Ok(Some(Err(error))) => {
                    return End::Failed(ApiError::Unreachable(error.to_string()), "watch");
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.heard();
            or_end!(self.take(&mut feed, data).await);
            if began.elapsed() > GOOD && self.version.is_some() {
                self.pace.succeeded();
            }
        }
    }

    async fn take(&mut self, feed: &mut Feed, data: Bytes) -> Result<(), End> {
        let unreadable = |reason| End::Failed(ApiError::Unreadable(reason), "watch");
        feed.push(data);
        while let Some(said) = feed.next().map_err(unreadable)? {
            match self.event(feed.event(&said)).await? {
                Ok(()) => self.unreadable = 0,
                Err(reason) => {
                    self.unreadable += 1;
                    if self.unreadable >= UNREADABLE {
                        self.unreadable = 0;
                        self.relist(Relist::Unreadable);
                    }
                    return Err(unreadable(reason));
                }
            }
            if self.changes.len() >= BATCH {
                self.flush().await?;
            }
        }
        if self.version.is_some() {
            self.flush().await?;
        }
        Ok(())
    }

    /// One event; the inner error is something that is none.
    async fn event(
        &mut self,
        event: Result<(Type, Raw<'_>), String>,
    ) -> Result<Result<(), String>, End> {
        let (happened, object) = match event {
            Ok(event) => event,
            Err(reason) => return Ok(Err(reason)),
        };
        match happened {
            Type::Applied => {
                self.common.metrics.event(self.kind());
                Ok(self
                    .known
                    .apply(object, &mut self.changes)
                    .map(|()| self.advance()))
            }
            Type::Deleted => {
                self.common.metrics.event(self.kind());
                Ok(self
                    .known
                    .remove(object, &mut self.changes)
                    .map(|()| self.advance()))
            }
            Type::Bookmark => match event::bookmark(object) {
                Ok(bookmark) => {
                    if self.version.is_none() {
                        if bookmark.list_end {
                            self.complete(bookmark.version).await?;
                            if !self.known.wanted().is_empty() {
                                // They became read while this list was told.
                                return Err(End::Good);
                            }
                        }
                    } else if bookmark.version != 0 && self.version > Some(bookmark.version) {
                        // The next attempt asks what that means.
                        return Ok(Err("a bookmark of an older version".to_owned()));
                    } else {
                        self.known.passed(bookmark.version);
                        self.advance();
                        self.pace.succeeded();
                    }
                    Ok(Ok(()))
                }
                Err(reason) => Ok(Err(reason)),
            },
            Type::Error => {
                let status: Status = object.read(&schema::STATUS).unwrap_or_default();
                if status.code == 410 || status.reason == "Expired" || status.reason == "Gone" {
                    return Err(End::Gone);
                }
                let error = ApiError::Refused {
                    code: status.code,
                    message: status.text(),
                    retry_after: None,
                };
                Err(End::Failed(error, "watch"))
            }
        }
    }

    /// The next watch begins behind what was seen.
    fn advance(&mut self) {
        if let Some(version) = &mut self.version {
            *version = (*version).max(self.known.newest());
            self.pace.succeeded();
        }
    }
}
