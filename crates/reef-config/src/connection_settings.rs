//! `istio.mesh.v1alpha1.ProxyConfig.ConnectionSettings`: how a proxy treats connections of its clients.
//!
//! What is absent is left to the profile, and profile `EDGE` is for gateways alone: a sidecar has what is written and
//! nothing else. The limits of buffers and of numbers of connections are not for listeners of sidecars either, see
//! [`ConnectionSettings::without_effect`].

use crate::scalar::ApiDuration;

/// Least size of a flow-control window, which HTTP/2 begins with.
pub const LEAST_WINDOW: i32 = 65_535;

api_structs! {
    /// `istio.mesh.v1alpha1.ProxyConfig.ConnectionSettings`: settings of connections.
    pub struct ConnectionSettings {
        /// Which defaults gateways have.
        pub profile: Option<ConnectionProfile>,
        /// Buffer of a connection of a listener; for gateways.
        pub listener_per_connection_buffer_limit_bytes: Option<i32>,
        /// Buffer of a connection of a cluster; for gateways.
        pub cluster_per_connection_buffer_limit_bytes: Option<i32>,
        /// How long an HTTP connection may have no request.
        pub http_idle_timeout: Option<ApiDuration>,
        /// How old an HTTP connection may get.
        pub http_max_connection_duration: Option<ApiDuration>,
        /// Time between the notice that a connection ends and its end.
        pub http_drain_timeout: Option<ApiDuration>,
        /// How long a whole request may take to arrive.
        pub http_request_timeout: Option<ApiDuration>,
        /// How long the headers of a request may take to arrive.
        pub http_request_headers_timeout: Option<ApiDuration>,
        /// How long nothing may happen on a stream.
        pub http_stream_idle_timeout: Option<ApiDuration>,
        /// How long a stream may last.
        pub http_max_stream_duration: Option<ApiDuration>,
        /// Streams of one HTTP/2 connection at a time.
        pub http_max_concurrent_streams: Option<i32>,
        /// Flow-control window of a stream.
        pub http2_initial_stream_window_size: Option<i32>,
        /// Flow-control window of a connection.
        pub http2_initial_connection_window_size: Option<i32>,
        /// What happens to headers with underscores in their names.
        pub http_headers_with_underscores_action: Option<UnderscoresAction>,
        /// Whether slashes in a row are one; else as the mesh says.
        pub http_merge_slashes: Option<bool>,
        /// What happens to escaped slashes; else as the mesh says.
        pub http_path_with_escaped_slashes_action: Option<EscapedSlashesAction>,
        /// Connections of one listener; an option of the bootstrap.
        pub listener_connection_limit: Option<i32>,
        /// Connections of all listeners; an option of the bootstrap.
        pub global_downstream_connection_limit: Option<i32>,
    }
}

api_enum! {
    /// `ConnectionSettings.Profile`.
    pub enum ConnectionProfile {
        /// Nothing but what is written.
        Sidecar = "SIDECAR",
        /// Envoy's advice for the edge of a network; gateways only.
        Edge = "EDGE",
    } default Sidecar
}

api_enum! {
    /// `ConnectionSettings.HeadersWithUnderscoresAction`.
    pub enum UnderscoresAction {
        /// As the profile has it.
        Unspecified = "HEADERS_WITH_UNDERSCORES_UNSPECIFIED",
        /// They pass.
        Allow = "HEADERS_WITH_UNDERSCORES_ALLOW",
        /// The request is refused.
        RejectRequest = "HEADERS_WITH_UNDERSCORES_REJECT_REQUEST",
        /// The header is dropped.
        DropHeader = "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
    } default Unspecified
}

api_enum! {
    /// `ConnectionSettings.PathWithEscapedSlashesAction`.
    pub enum EscapedSlashesAction {
        /// As the profile has it.
        Unspecified = "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED",
        /// They stay.
        KeepUnchanged = "KEEP_UNCHANGED",
        /// The request is refused.
        RejectRequest = "REJECT_REQUEST",
        /// They are decoded, and the client is sent to the new path.
        UnescapeAndRedirect = "UNESCAPE_AND_REDIRECT",
        /// They are decoded.
        UnescapeAndForward = "UNESCAPE_AND_FORWARD",
    } default Unspecified
}

impl ConnectionSettings {
    /// Lays `over` over this: what it sets wins.
    pub fn overlay(&mut self, over: &Self) {
        macro_rules! set {
            ($($field:ident)*) => {$(
                if over.$field.is_some() {
                    self.$field = over.$field;
                }
            )*};
        }
        set!(profile listener_per_connection_buffer_limit_bytes
            cluster_per_connection_buffer_limit_bytes http_idle_timeout
            http_max_connection_duration http_drain_timeout http_request_timeout
            http_request_headers_timeout http_stream_idle_timeout http_max_stream_duration
            http_max_concurrent_streams http2_initial_stream_window_size
            http2_initial_connection_window_size http_headers_with_underscores_action
            http_merge_slashes http_path_with_escaped_slashes_action
            listener_connection_limit global_downstream_connection_limit);
    }

    /// The fields that are set, by their API names, and have no effect on a sidecar.
    #[must_use]
    pub fn without_effect(&self) -> Vec<&'static str> {
        let edge = self.profile == Some(ConnectionProfile::Edge);
        let limits = [
            (
                "clusterPerConnectionBufferLimitBytes",
                self.cluster_per_connection_buffer_limit_bytes.is_some(),
            ),
            (
                "globalDownstreamConnectionLimit",
                self.global_downstream_connection_limit.is_some(),
            ),
            (
                "listenerConnectionLimit",
                self.listener_connection_limit.is_some(),
            ),
            (
                "listenerPerConnectionBufferLimitBytes",
                self.listener_per_connection_buffer_limit_bytes.is_some(),
            ),
            ("profile", edge),
        ];
        let set = limits.into_iter().filter(|(_, set)| *set);
        set.map(|(field, _)| field).collect()
    }

    /// The numbers Envoy would reject a listener for, by the field's API name, with the reason.
    #[must_use]
    pub fn refused(&self) -> Option<(&'static str, &'static str)> {
        let window = |size: Option<i32>| size.is_some_and(|size| size < LEAST_WINDOW);
        if self
            .http_max_concurrent_streams
            .is_some_and(|most| most < 1)
        {
            return Some(("httpMaxConcurrentStreams", "must be at least 1"));
        }
        let least = "must be at least 65535";
        if window(self.http2_initial_stream_window_size) {
            return Some(("http2InitialStreamWindowSize", least));
        }
        window(self.http2_initial_connection_window_size)
            .then_some(("http2InitialConnectionWindowSize", least))
    }
}
