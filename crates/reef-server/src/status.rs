//! The one place where a gRPC status is chosen.
//!
//! Clients keep their configuration whatever the status says (S-8); the code only decides whether a failure looks
//! permanent to the person who reads the client's log.

#[cfg(feature = "shell")]
use tonic::{Code, Status};

use crate::provider::Refusal;

/// Why a stream ends before its client wants it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    /// The first request carries no node (S-2).
    #[error("the first request of a stream must carry a node with an id")]
    MissingNode,
    /// A request of an aggregated stream without type (T-2).
    #[error("a request of an aggregated stream must carry a type URL")]
    MissingType,
    /// A single-type service was asked for another type (T-2).
    #[error("this service does not serve type `{type_url}`")]
    WrongType {
        /// What was asked for.
        type_url: String,
    },
    /// The provider does not serve this proxy.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The server drains.
    #[error("the server is shutting down")]
    Draining,
    /// The connection is old enough.
    #[error("the connection has reached its maximum age; open another")]
    Aged,
    /// The credential the stream was opened with is not valid any more.
    #[error("the credential has expired; open the stream again with another")]
    Expired,
    /// The provider went away without saying why.
    #[error("the source of this proxy's configuration ended")]
    ProviderGone,
    /// The client does not read what it is sent.
    #[error("the client has not read for too long")]
    Stuck,
    /// A defect in the server; counted and logged.
    #[error("internal error")]
    Panicked,
}

/// Chooses the gRPC status for the end of a stream.
#[cfg(feature = "shell")]
#[must_use]
pub fn status(end: &StreamEnd) -> Status {
    let code = match end {
        StreamEnd::MissingNode
        | StreamEnd::MissingType
        | StreamEnd::WrongType { .. }
        | StreamEnd::Refused(Refusal::BadNode { .. } | Refusal::BadQuestion { .. }) => {
            Code::InvalidArgument
        }
        StreamEnd::Refused(Refusal::NotReady { .. })
        | StreamEnd::Draining
        | StreamEnd::Aged
        | StreamEnd::ProviderGone
        | StreamEnd::Stuck => Code::Unavailable,
        StreamEnd::Expired | StreamEnd::Refused(Refusal::Unauthenticated { .. }) => {
            Code::Unauthenticated
        }
        StreamEnd::Refused(Refusal::NotPermitted { .. }) => Code::PermissionDenied,
        StreamEnd::Panicked => Code::Internal,
    };
    Status::new(code, end.to_string())
}
