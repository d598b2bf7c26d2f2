//! What Envoy does to a path before it looks for a route.

use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use xds_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::PathWithEscapedSlashesAction;

/// A path after normalisation, or the answer given instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Normalized {
    /// Goes on with this path.
    Path(String),
    /// Refused.
    Refused,
    /// Sent back with slashes unescaped.
    Redirect(String),
}

/// Normalises path and query as the connection manager is told to.
pub(crate) fn normalize(hcm: &HttpConnectionManager, original: &str) -> Normalized {
    if original.contains('#') {
        return Normalized::Refused;
    }
    let (path, query) = match original.find('?') {
        Some(at) => original.split_at(at),
        None => (original, ""),
    };
    let mut path = path.to_owned();
    let action = hcm.path_with_escaped_slashes_action();
    let escaped = has_escaped_slash(&path);
    let mut redirect = false;
    match action {
        PathWithEscapedSlashesAction::RejectRequest if escaped => return Normalized::Refused,
        PathWithEscapedSlashesAction::UnescapeAndRedirect if escaped => {
            path = unescape_slashes(&path);
            redirect = true;
        }
        PathWithEscapedSlashesAction::UnescapeAndForward => path = unescape_slashes(&path),
        _ => {}
    }
    if hcm.normalize_path.unwrap_or(false) {
        match canonical(&without_parameters_of_dots(&path)) {
            Some(better) => path = better,
            None => return Normalized::Refused,
        }
    }
    if hcm.merge_slashes {
        path = merge_slashes(&path);
    }
    let whole = format!("{path}{query}");
    if redirect {
        Normalized::Redirect(whole)
    } else {
        Normalized::Path(whole)
    }
}

/// The path without query and fragment, which is what routes match.
pub(crate) fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

fn has_escaped_slash(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.contains("%2f") || path.contains("%5c")
}

fn unescape_slashes(path: &str) -> String {
    path.replace("%2F", "/")
        .replace("%2f", "/")
        .replace("%5C", "\\")
        .replace("%5c", "\\")
}

fn merge_slashes(path: &str) -> String {
    if !path.contains("//") {
        return path.to_owned();
    }
    // As Envoy puts it together: of slashes alone two are left.
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let slash = |there| if there { "/" } else { "" };
    let (first, last) = (slash(path.starts_with('/')), slash(path.ends_with('/')));
    format!("{first}{}{last}", parts.join("/"))
}

/// Takes parameters away from segments of dots: `/..;x` is `/..`. Dots that are escaped keep theirs.
fn without_parameters_of_dots(path: &str) -> String {
    let segments = path.split('/').map(|segment| {
        let dots = segment.split_once(';').map(|(dots, _)| dots);
        dots.filter(|dots| matches!(*dots, "." | ".."))
            .unwrap_or(segment)
    });
    segments.collect::<Vec<_>>().join("/")
}

/// How Chromium's canonicaliser, which Envoy uses, treats a byte of a path.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~')
}

fn is_escaped(byte: u8) -> bool {
    byte <= b' '
        || byte >= 0x7f
        || matches!(
            byte,
            b'"' | b'#' | b'<' | b'>' | b'?' | b'`' | b'{' | b'}' | b'^' | b'|'
        )
}

/// Resolves dots, turns backslashes, unescapes what needs no escape.
fn canonical(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let dot = dot_len(bytes, at);
        if dot > 0 {
            if out.last() != Some(&b'/') {
                out.push(b'.');
                at += dot;
                continue;
            }
            match after_dot(bytes, at + dot) {
                AfterDot::Name => {
                    out.push(b'.');
                    at += dot;
                }
                AfterDot::Current(taken) => at += dot + taken,
                AfterDot::Up(taken) => {
                    up(&mut out);
                    at += dot + taken;
                }
            }
            continue;
        }
        match byte {
            b'\\' => out.push(b'/'),
            b'%' => match decode(bytes, at) {
                Some(0) => return None,
                Some(value) if is_unreserved(value) => {
                    out.push(value);
                    at += 2;
                }
                Some(_) => {
                    out.extend(bytes.get(at..at + 3).unwrap_or_default());
                    at += 2;
                }
                None => out.push(b'%'),
            },
            byte if is_escaped(byte) => out.extend(format!("%{byte:02X}").into_bytes()),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

enum AfterDot {
    Name,
    Current(usize),
    Up(usize),
}

fn after_dot(bytes: &[u8], at: usize) -> AfterDot {
    let slash = |at: usize| matches!(bytes.get(at), Some(b'/' | b'\\'));
    if at >= bytes.len() {
        return AfterDot::Current(0);
    }
    if slash(at) {
        return AfterDot::Current(1);
    }
    match dot_len(bytes, at) {
        0 => AfterDot::Name,
        second if at + second >= bytes.len() => AfterDot::Up(second),
        second if slash(at + second) => AfterDot::Up(second + 1),
        _ => AfterDot::Name,
    }
}

/// Length of a dot, written or escaped; 0 if there is none.
fn dot_len(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'.') => 1,
        Some(b'%') if decode(bytes, at) == Some(b'.') => 3,
        _ => 0,
    }
}

/// The byte of an escape sequence that begins here.
fn decode(bytes: &[u8], at: usize) -> Option<u8> {
    let digits = bytes.get(at + 1..at + 3)?;
    let text = std::str::from_utf8(digits).ok()?;
    if !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(text, 16).ok()
}

/// Takes away the last segment; the first slash stays.
fn up(out: &mut Vec<u8>) {
    if out.len() <= 1 {
        return;
    }
    out.pop();
    while out.len() > 1 && out.last() != Some(&b'/') {
        out.pop();
    }
}
