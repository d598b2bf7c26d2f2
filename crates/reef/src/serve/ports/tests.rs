//! Many connections at once.

use std::net::TcpStream;
use std::time::Duration;

use super::listen;

#[tokio::test]
async fn proxies_that_come_at_once_wait_for_their_turn() {
    let most: usize = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(128);
    let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts them, and none is turned away.
    let waiting: Vec<TcpStream> = (0..most.min(300))
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap())
        .collect();
    assert!(waiting.len() > 100, "{} is little", waiting.len());
}
