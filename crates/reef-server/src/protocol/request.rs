//! What a client asked, in the form the state machine reads; made from the generated messages by the shell.

use crate::provider::NodeInfo;

/// The client's rejection of a response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rejection {
    /// gRPC code the client gave.
    pub code: i32,
    /// Its text, truncated to [`Rejection::MAX_TEXT`] bytes (N-7).
    pub text: String,
}

impl Rejection {
    /// Longest text kept; Envoy's own limit is 4 KiB, and it may contain a whole resource.
    pub const MAX_TEXT: usize = 4096;

    /// Truncates `text` at a character boundary.
    #[must_use]
    pub fn new(code: i32, mut text: String) -> Self {
        if text.len() > Self::MAX_TEXT {
            let end = (0..=Self::MAX_TEXT)
                .rev()
                .find(|at| text.is_char_boundary(*at))
                .unwrap_or(0);
            text.truncate(end);
        }
        Self { code, text }
    }
}

/// One request of either variant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The node, if this request carries it (S-1).
    pub node: Option<NodeInfo>,
    /// Type URL; empty means the implied type on single-type services.
    pub type_url: String,
    /// Nonce of the response this request answers; empty if it answers none.
    pub nonce: String,
    /// Present on a NACK (N-1).
    pub error: Option<Rejection>,
    /// Delta: names subscribed. `SotW`: the complete list (W-1).
    pub subscribe: Vec<String>,
    /// Delta: names unsubscribed.
    pub unsubscribe: Vec<String>,
    /// Delta: what the client holds, name and version.
    pub initial: Vec<(String, String)>,
    /// `SotW`: version of the last accepted response of the type.
    pub version: String,
}
