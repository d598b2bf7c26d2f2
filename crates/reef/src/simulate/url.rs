//! From what is typed to a request.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};
use reef_simulate::{Direction, Headers, Protocol, Request};

use super::SimulateArgs;

/// The request that is typed.
///
/// # Errors
/// If it is none.
pub(super) fn request(args: &SimulateArgs) -> anyhow::Result<Request> {
    let url = args.url.as_str();
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (protocol, port) = match scheme {
        "http" => (Protocol::Http, Some(80)),
        "http2" | "h2c" | "grpc" => (Protocol::Http2, Some(80)),
        "tls" | "https" => (Protocol::Tls, Some(443)),
        "tcp" => (Protocol::Tcp, None),
        _ => bail!("`{url}`: the scheme is none of http, http2, grpc, https, tls, tcp"),
    };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let (name, written) = split(authority).with_context(|| format!("`{url}`: bad port"))?;
    if name.is_empty() {
        bail!("`{url}` names no host");
    }
    let mut request = Request {
        protocol,
        direction: if args.inbound {
            Direction::Inbound
        } else {
            Direction::Outbound
        },
        method: args.method.clone(),
        path: match path.split_at_checked(1) {
            None => "/".to_owned(),
            Some(("?", _)) => format!("/{path}"),
            Some(_) => path.to_owned(),
        },
        host: authority.to_owned(),
        to: name.trim_matches(['[', ']']).parse().ok(),
        from: args.from,
        alpn: args.alpn.clone(),
        listener: args.listener.clone(),
        ..Request::default()
    };
    let mut port = written.or(port);
    if let Some(to) = &args.to {
        let (ip, other) = address(to)?;
        request.to = Some(ip);
        port = other.or(port);
    }
    request.port = port.with_context(|| format!("`{url}` names no port"))?;
    if protocol == Protocol::Tls {
        // A server name is never an address.
        request.sni = request
            .to
            .is_none_or(|ip| ip.to_string() != name)
            .then(|| name.to_owned());
        if scheme == "https" && request.alpn.is_empty() {
            request.alpn = vec!["h2".to_owned(), "http/1.1".to_owned()];
        }
    }
    if scheme == "grpc" {
        "POST".clone_into(&mut request.method);
        request.headers.add("content-type", "application/grpc");
    }
    for header in &args.headers {
        one_header(header, &mut request.host, &mut request.headers)?;
    }
    Ok(request)
}

fn one_header(text: &str, host: &mut String, headers: &mut Headers) -> anyhow::Result<()> {
    let (name, value) = text
        .split_once(':')
        .with_context(|| format!("`{text}` is not a header, NAME: VALUE"))?;
    let (name, value) = (name.trim(), value.trim());
    if name.eq_ignore_ascii_case("host") {
        value.clone_into(host);
    } else {
        headers.add(name, value);
    }
    Ok(())
}

/// A host and its port, if one is written.
fn split(authority: &str) -> anyhow::Result<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((name, port)) if !name.ends_with(':') && !port.ends_with(']') => {
            Ok((name, Some(port.parse()?)))
        }
        _ => Ok((authority, None)),
    }
}

fn address(text: &str) -> anyhow::Result<(IpAddr, Option<u16>)> {
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Ok((socket.ip(), Some(socket.port())));
    }
    let ip = text.trim_matches(['[', ']']).parse();
    Ok((
        ip.with_context(|| format!("`{text}` is not an address"))?,
        None,
    ))
}
