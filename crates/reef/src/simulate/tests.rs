//! What is typed, and the page for people.

use clap::Parser as _;
use reef_simulate::{Protocol, Request};

use super::{SimulateArgs, url};
use crate::cli::{Cli, Command};

fn args(more: &[&str]) -> SimulateArgs {
    let fixed = ["reef", "simulate", "--proxy", "a.b"];
    let cli = Cli::try_parse_from(fixed.iter().chain(more)).unwrap();
    match cli.command {
        Command::Simulate(args) => *args,
        other => unreachable!("{other:?}"),
    }
}

fn request(more: &[&str]) -> Request {
    url::request(&args(more)).unwrap()
}

#[test]
fn a_url_is_read_as_curl_reads_it() {
    let one = request(&[
        "http://cart:8080/a?b=c",
        "-X",
        "PUT",
        "-H",
        "X-A:  1 ",
        "-H",
        "host: other",
    ]);
    assert_eq!(
        (one.port, one.method.as_str(), one.path.as_str()),
        (8080, "PUT", "/a?b=c")
    );
    assert_eq!(
        (one.host.as_str(), one.headers.first("x-a")),
        ("other", Some("1"))
    );
    assert_eq!(one.to, None);
    let short = request(&["cart"]);
    assert_eq!(
        (short.port, short.host.as_str(), short.path.as_str()),
        (80, "cart", "/")
    );
    let query = request(&["cart?x"]);
    assert_eq!((query.host.as_str(), query.path.as_str()), ("cart", "/?x"));
    let literal = request(&["http://[fd00::1]:81/"]);
    assert_eq!((literal.port, literal.host.as_str()), (81, "[fd00::1]:81"));
    assert_eq!(literal.to, "fd00::1".parse().ok());
}

#[test]
fn tcp_and_tls_have_addresses_and_names() {
    let tcp = request(&["tcp://10.0.0.1:5432"]);
    assert_eq!((tcp.protocol, tcp.port), (Protocol::Tcp, 5432));
    assert_eq!(tcp.to, "10.0.0.1".parse().ok());
    let tls = request(&["tls://api.example.com", "--to", "192.0.2.1:8443"]);
    assert_eq!((tls.protocol, tls.port), (Protocol::Tls, 8443));
    assert_eq!(tls.sni.as_deref(), Some("api.example.com"));
    assert_eq!(request(&["tls://192.0.2.1"]).sni, None);
    assert_eq!(request(&["https://a.b"]).alpn, ["h2", "http/1.1"]);
}

#[test]
fn what_is_no_request_is_refused() {
    for wrong in ["ftp://x", "tcp://host", "http://", "http://x:99999"] {
        assert!(url::request(&args(&[wrong])).is_err(), "{wrong}");
    }
    assert!(url::request(&args(&["x", "-H", "nonsense"])).is_err());
    assert!(url::request(&args(&["x", "--to", "nowhere"])).is_err());
    let no_proxy = Cli::try_parse_from(["reef", "simulate", "http://x"]);
    assert!(no_proxy.is_err());
}
