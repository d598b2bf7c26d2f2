//! How HTTP listeners of one proxy treat connections, where its settings say.

use std::time::Duration;

use reef_config::connection_settings::{
    ConnectionSettings, EscapedSlashesAction, UnderscoresAction,
};

/// What `ProxyConfig.connectionSettings` says about HTTP listeners; the default leaves all as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpConnections {
    /// A connection without requests is closed after this.
    pub idle: Option<Duration>,
    /// A connection is ended at this age.
    pub longest: Option<Duration>,
    /// Time between the notice that it ends and its end.
    pub drain: Option<Duration>,
    /// A request has to arrive within this.
    pub request: Option<Duration>,
    /// Its headers have to arrive within this.
    pub request_headers: Option<Duration>,
    /// A stream on which nothing happens is reset after this.
    pub stream_idle: Option<Duration>,
    /// A stream is reset at this age.
    pub longest_stream: Option<Duration>,
    /// HTTP/2 streams of a connection at a time.
    pub streams: Option<u32>,
    /// Flow-control window of an HTTP/2 stream.
    pub stream_window: Option<u32>,
    /// Flow-control window of an HTTP/2 connection.
    pub connection_window: Option<u32>,
    /// What happens to headers with underscores; `Unspecified` means that they pass.
    pub underscores: UnderscoresAction,
    /// Slashes in a row are one, whatever the mesh says.
    pub merge_slashes: Option<bool>,
    /// What happens to escaped slashes; `Unspecified` means as the mesh says.
    pub escaped_slashes: EscapedSlashesAction,
}

impl HttpConnections {
    pub(super) fn new(settings: &ConnectionSettings) -> Self {
        let number = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
        Self {
            idle: settings.http_idle_timeout.map(Duration::from),
            longest: settings.http_max_connection_duration.map(Duration::from),
            drain: settings.http_drain_timeout.map(Duration::from),
            request: settings.http_request_timeout.map(Duration::from),
            request_headers: settings.http_request_headers_timeout.map(Duration::from),
            stream_idle: settings.http_stream_idle_timeout.map(Duration::from),
            longest_stream: settings.http_max_stream_duration.map(Duration::from),
            streams: number(settings.http_max_concurrent_streams),
            stream_window: number(settings.http2_initial_stream_window_size),
            connection_window: number(settings.http2_initial_connection_window_size),
            underscores: settings
                .http_headers_with_underscores_action
                .unwrap_or_default(),
            merge_slashes: settings.http_merge_slashes,
            escaped_slashes: settings
                .http_path_with_escaped_slashes_action
                .unwrap_or_default(),
        }
    }
}
