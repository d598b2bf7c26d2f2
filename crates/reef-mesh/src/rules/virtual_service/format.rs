//! Commands in values of headers: `%NAME%`, `%NAME(ARGUMENTS)%`, `%NAME(ARGUMENTS):LENGTH%`.

/// Commands that need no argument and that a proxy can evaluate for every request.
const PLAIN: [&str; 52] = [
    "ACCESS_LOG_TYPE",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DURATION",
    "FILTER_CHAIN_NAME",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "PROTOCOL",
    "REQUEST_DURATION",
    "REQUESTED_SERVER_NAME",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "RESPONSE_TX_DURATION",
    "ROUTE_NAME",
    "STREAM_ID",
    "TRACE_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_HOST",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "VIRTUAL_CLUSTER_NAME",
];

/// Commands that need an argument.
const WITH_ARGUMENT: [&str; 7] = [
    "DYNAMIC_METADATA",
    "ENVIRONMENT",
    "FILTER_STATE",
    "REQ",
    "RESP",
    "TRAILER",
    "UPSTREAM_METADATA",
];

/// Commands with or without.
const EITHER: [&str; 1] = ["START_TIME"];

/// The first command of a value that Envoy would refuse, as written; `None` if there is none.
pub(super) fn unknown_command(value: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(literal) = after.strip_prefix('%') {
            rest = literal;
            continue;
        }
        let name_end = after.find(['(', ':', '%']).unwrap_or(after.len());
        let (name, mut tail) = after.split_at(name_end);
        let argument = tail.strip_prefix('(').and_then(|inside| {
            // As Envoy reads it: up to the last parenthesis before the command ends.
            let end = inside.find(")%").or_else(|| inside.find("):"))?;
            let (argument, after) = inside.split_at(end);
            tail = after.strip_prefix(')')?;
            Some(argument)
        });
        if let Some(length) = tail.strip_prefix(':') {
            let end = length.find('%').unwrap_or(length.len());
            let (digits, after) = length.split_at(end);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Some(format!("%{name}:{digits}%"));
            }
            tail = after;
        }
        let known = match argument {
            None => PLAIN.contains(&name) || EITHER.contains(&name),
            Some(argument) => {
                !argument.is_empty() && (WITH_ARGUMENT.contains(&name) || EITHER.contains(&name))
            }
        };
        match tail.strip_prefix('%') {
            Some(next) if known => rest = next,
            _ => return Some(format!("%{name}%")),
        }
    }
    None
}
