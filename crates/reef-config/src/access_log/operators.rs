//! Envoy's command operators: what may stand between two `%` of an access log format.
//!
//! Envoy rejects a whole listener for one operator it does not know, so a format is checked before it is sent. The lists
//! are those of Envoy 1.40, found by asking it (`reef-gen/tests/envoy` asks it again). What cannot be judged here, such as
//! some CEL expressions, counts as wrong: a default format is better than a listener that is missing.

use crate::cel;

/// Operators that take neither parameters nor a length; sorted.
const PLAIN: [&str; 126] = [
    "ACCESS_LOG_TYPE",
    "BYTES_RECEIVED",
    "BYTES_RETRANSMITTED",
    "BYTES_SENT",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "CUSTOM_FLAGS",
    "DOWNSTREAM_CX_RTT",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_DIRECT_LOCAL_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_LOCAL_CLOSE_REASON",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
    "DOWNSTREAM_PEER_CHAIN_SERIALS",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER_SERIAL",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_GROUP",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "DURATION",
    "FILTER_CHAIN_NAME",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "LISTENER_NAME",
    "LOCAL_REPLY_BODY",
    "PACKETS_RETRANSMITTED",
    "PROTOCOL",
    "REQUESTED_SERVER_NAME",
    "REQUEST_DURATION",
    "REQUEST_HEADERS_BYTES",
    "REQUEST_TX_DURATION",
    "RESPONSE_CODE",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES",
    "RESPONSE_TX_DURATION",
    "ROUNDTRIP_DURATION",
    "ROUTE_NAME",
    "ROUTE_RESOLUTION_COUNT",
    "ROUTE_RESOLUTION_TIME_US",
    "SPAN_ID",
    "STREAM_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "UNIQUE_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_HEADER_BYTES_RECEIVED",
    "UPSTREAM_HEADER_BYTES_SENT",
    "UPSTREAM_HOST",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_LOCAL_DNS_SAN",
    "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_LOCAL_URI_SAN",
    "UPSTREAM_PEER_CERT",
    "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN",
    "UPSTREAM_PEER_ISSUER",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_SERVER_NAME",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_GROUP",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
    "VIRTUAL_CLUSTER_NAME",
];

/// Operators that may have parameters, of any text, and no length; sorted.
const OPTIONAL: [&str; 15] = [
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "EMIT_TIME",
    "EMIT_TIME_LOCAL",
    "RESPONSE_CODE_DETAILS",
    "START_TIME",
    "START_TIME_LOCAL",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_PEER_CERT_V_END",
    "UPSTREAM_PEER_CERT_V_START",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
];

/// Operators that name a header, or two.
const HEADERS: [&str; 8] = [
    "REQ",
    "REQUEST_HEADER",
    "REQ_WITHOUT_QUERY",
    "RESP",
    "RESPONSE_HEADER",
    "RESPONSE_TRAILER",
    "STREAM_INFO_REQ",
    "TRAILER",
];

/// Where `METADATA` may look.
const METADATA: [&str; 7] = [
    "DYNAMIC",
    "CLUSTER",
    "ROUTE",
    "UPSTREAM_HOST",
    "LISTENER",
    "VIRTUAL_HOST",
    "LISTENER_FILTER_CHAIN",
];

/// Parts of the client certificate header, in lower case.
const XFCC: [&str; 7] = ["by", "hash", "cert", "chain", "subject", "uri", "dns"];

/// One operator as written: name, parameters, length.
struct Operator<'a> {
    name: &'a str,
    /// Empty parentheses count as none, as Envoy has it.
    parameters: Option<&'a str>,
    has_length: bool,
}

/// Checks a line of text.
///
/// # Errors
/// What Envoy would not take, for people.
pub(super) fn check(format: &str) -> Result<(), String> {
    let mut rest = format;
    while let Some((_, after)) = rest.split_once('%') {
        if let Some(literal) = after.strip_prefix('%') {
            rest = literal;
            continue;
        }
        let (operator, behind) = operator(after).ok_or_else(|| {
            let shown: String = after.chars().take(40).collect();
            format!("`%{shown}` is not a command operator (a percent sign is written `%%`)")
        })?;
        judge(&operator)?;
        rest = behind;
    }
    Ok(())
}

/// Reads `NAME(parameters):length%`, and what is behind it.
fn operator(text: &str) -> Option<(Operator<'_>, &str)> {
    let name_end = text
        .find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .filter(|end| *end > 0)?;
    let (name, rest) = text.split_at(name_end);
    let ended = |parameters, rest| {
        let (has_length, rest) = end(rest)?;
        let operator = Operator {
            name,
            parameters,
            has_length,
        };
        Some((operator, rest))
    };
    let Some(inner) = rest.strip_prefix('(') else {
        return ended(None, rest);
    };
    // Parameters end at the first parenthesis behind which the operator can end; they are of one line.
    let line = inner.split('\n').next().unwrap_or_default();
    line.match_indices(')').find_map(|(at, _)| {
        let parameters = inner.get(..at).filter(|text| !text.is_empty());
        ended(parameters, inner.get(at + 1..)?)
    })
}

/// Reads `%` or `:length%`; whether there is a length, and what is behind it.
fn end(text: &str) -> Option<(bool, &str)> {
    if let Some(rest) = text.strip_prefix('%') {
        return Some((false, rest));
    }
    let (length, rest) = text.strip_prefix(':')?.split_once('%')?;
    let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    (digits && length.parse::<u64>().is_ok()).then_some((true, rest))
}

fn judge(operator: &Operator<'_>) -> Result<(), String> {
    let Operator {
        name,
        parameters,
        has_length,
    } = *operator;
    let refuse = |why: &str| Err(format!("`%{name}%` {why}"));
    let text = parameters.unwrap_or_default();
    if PLAIN.contains(&name) {
        return match (parameters, has_length) {
            (None, false) => Ok(()),
            _ => refuse("takes neither parameters nor a length"),
        };
    }
    let takes_length = !OPTIONAL.contains(&name)
        && !matches!(
            name,
            "CLUSTER_METADATA" | "UPSTREAM_METADATA" | "COMMON_DURATION" | "GRPC_STATUS"
        );
    let right = match name {
        _ if OPTIONAL.contains(&name) => true,
        // Alone among them it may name no header.
        "REQ_WITHOUT_QUERY" if text.is_empty() => true,
        _ if HEADERS.contains(&name) => headers(text),
        "FILTER_STATE" | "UPSTREAM_FILTER_STATE" => filter_state(text),
        "CLUSTER_METADATA" | "UPSTREAM_METADATA" | "DYNAMIC_METADATA" | "ENVIRONMENT"
        | "QUERY_PARAM" => !text.is_empty(),
        "COMMON_DURATION" => common_duration(text),
        "METADATA" => METADATA.contains(&text.split(':').next().unwrap_or_default()),
        "XFCC_VALUE" => XFCC.contains(&text.to_ascii_lowercase().as_str()),
        "PATH" => path(text),
        "QUERY_PARAMS" => matches!(text, "" | "ORIG" | "DECODED"),
        "GRPC_STATUS" => matches!(text, "" | "CAMEL_STRING" | "SNAKE_STRING" | "NUMBER"),
        "CEL" => cel::check(text).is_ok(),
        "COALESCE" => return refuse("cannot be checked by Reef, so it is not sent"),
        _ => return refuse("is not an operator of Envoy"),
    };
    if !right {
        return refuse(&format!("cannot have the parameters `({text})`"));
    }
    if has_length && !takes_length {
        return refuse("takes no length");
    }
    Ok(())
}

/// `MAIN` or `MAIN?OTHER`.
fn headers(text: &str) -> bool {
    let name = |name: &str| {
        let plain = name.strip_prefix(':').unwrap_or(name);
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (!plain.is_empty() || name.is_empty()) && plain.bytes().all(token)
    };
    let (main, other) = text.split_once('?').unwrap_or((text, ""));
    !text.is_empty() && name(main) && name(other)
}

/// `key`, `key:PLAIN`, `key:TYPED`, `key:FIELD:name`.
fn filter_state(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [key] | [key, "" | "PLAIN" | "TYPED"] => !key.is_empty(),
        [key, "FIELD", field] => !key.is_empty() && !field.is_empty(),
        _ => false,
    }
}

/// `from:to` or `from:to:precision`.
fn common_duration(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [from, to] | [from, to, "ms" | "us" | "ns"] => !from.is_empty() && !to.is_empty(),
        _ => false,
    }
}

/// With or without query, of which path.
fn path(text: &str) -> bool {
    let (query, which) = text.split_once(':').unwrap_or((text, ""));
    let known = matches!(query, "WQ" | "NQ");
    text.is_empty() || (known && matches!(which, "" | "ORIG" | "PATH" | "ORIG_OR_PATH"))
}
