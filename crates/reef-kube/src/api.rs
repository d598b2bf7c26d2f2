//! Requests to the API server: one way in, and what can come back instead of an answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::Cluster;
use crate::encoding::{Encoding, Raw};
use crate::proto::{self, schema};

/// Largest body of an error that is read.
const ERROR_BYTES: usize = 64 << 10;

/// How long the body of an error may take; it follows its head at once.
const ERROR_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiError {
    /// The server cannot be reached, or the connection broke.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing came for too long.
    #[error("no answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The server refused.
    #[error("{code} {message}")]
    Refused {
        /// HTTP status.
        code: u16,
        /// What the server says, in one line.
        message: String,
        /// When to come again, if the server says.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the API promises.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

impl ApiError {
    /// Whether it is one object that was not found, and not a kind or what belongs to it.
    pub(crate) fn is_of_object(&self) -> bool {
        matches!(self, Self::Refused { code: 404, message, .. } if message.ends_with(" not found"))
    }

    /// The HTTP status, if there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// `Status`, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    /// HTTP status.
    pub(crate) code: u16,
    /// One word.
    pub(crate) reason: String,
    /// A sentence.
    pub(crate) message: String,
}

impl Status {
    /// Reads one out of an answer, or none out of anything else.
    fn of(encoding: Encoding, body: &[u8]) -> Option<Self> {
        let raw = match encoding {
            Encoding::Json => Raw::Json(body),
            Encoding::Protobuf => Raw::Proto(proto::unwrapped(body).ok()?),
        };
        raw.read(&schema::STATUS).ok()
    }

    /// What to tell people.
    pub(crate) fn text(&self) -> String {
        let text = if self.message.is_empty() {
            &self.reason
        } else {
            &self.message
        };
        text.chars().filter(|c| !c.is_control()).take(500).collect()
    }
}

impl Cluster {
    /// Sends a `GET` and returns the answer once its head is there; only a success is one.
    pub(crate) async fn open(
        &self,
        url: &str,
        wanted: Encoding,
        limit: Duration,
    ) -> Result<Response<Body>, ApiError> {
        let request = Request::get(url)
            .header(header::ACCEPT, wanted.accept())
            .body(Body::empty())
            .map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let response = timeout(limit, self.client().send(request))
            .await
            .map_err(|_elapsed| ApiError::Timeout(limit))?
            .map_err(|error| ApiError::Unreachable(chain(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refused(response).await)
    }

    /// Sends a request with a body and returns the whole answer, of at most `most` bytes.
    ///
    /// Whoever gives up on it knows nothing of what came of it.
    pub(crate) async fn send(
        &self,
        (method, content_type): (Method, &str),
        url: &str,
        body: &Value,
        most: usize,
    ) -> Result<Bytes, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body.to_string().into_bytes()))
            .map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let response = self
            .client()
            .send(request)
            .await
            .map_err(|error| ApiError::Unreachable(chain(&error)))?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        collect(response.into_body(), most).await
    }

    /// Sends a `GET` and returns the whole answer, of at most `most` bytes, and what it is written in.
    pub(crate) async fn get(
        &self,
        url: &str,
        wanted: Encoding,
        most: usize,
        limit: Duration,
    ) -> Result<(Encoding, Bytes), ApiError> {
        let response = self.open(url, wanted, limit).await?;
        let came = Encoding::came(response.headers());
        let body = timeout(limit, collect(response.into_body(), most))
            .await
            .map_err(|_elapsed| ApiError::Timeout(limit))??;
        Ok((came, body))
    }
}

async fn collect(mut body: Body, most: usize) -> Result<Bytes, ApiError> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::Unreachable(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            if all.len() + data.len() > most {
                return Err(ApiError::Unreadable(format!("more than {most} bytes")));
            }
            all.extend_from_slice(data);
        }
    }
    Ok(all.freeze())
}

async fn refused(response: Response<Body>) -> ApiError {
    let code = response.status();
    let came = Encoding::came(response.headers());
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = timeout(ERROR_TIMEOUT, collect(response.into_body(), ERROR_BYTES)).await;
    let status = body
        .ok()
        .and_then(Result::ok)
        .and_then(|body| Status::of(came, &body));
    let message = status.map(|status| status.text()).unwrap_or_default();
    let message = if message.is_empty() {
        StatusCode::canonical_reason(&code)
            .unwrap_or_default()
            .to_owned()
    } else {
        message
    };
    ApiError::Refused {
        code: code.as_u16(),
        message,
        retry_after,
    }
}

/// An error and what caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
