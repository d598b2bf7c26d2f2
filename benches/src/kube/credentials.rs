//! What proxies need to come over TLS: the authority of Reef's certificate, and for each a token bound to its Pod, as a
//! kubelet would have mounted it. Asked for before anything is measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::rig::Rig;
use crate::channel::Channel;
use crate::http::Http;
use crate::scenario::Scenario;

/// A name of Reef's certificate.
const NAME: &str = "reef.reef-system.svc";

/// Where Reef publishes the authority that it makes, and under which key.
const AUTHORITY: (&str, &str) = (
    "/api/v1/namespaces/reef-system/configmaps/reef-ca-root-cert",
    "root-cert.pem",
);

/// How long tokens live: longer than anything is measured.
const TOKEN_SECONDS: u32 = 2 * 3600;

/// A token for each proxy, for the audience Reef asks for and bound to its Pod.
pub(super) async fn tokens(rig: &Rig, scenario: &Scenario) -> Result<Vec<String>> {
    let mut api = Http::connect(rig.api).await?;
    let mut tokens = Vec::with_capacity(scenario.proxies);
    for proxy in 0..scenario.proxies {
        let namespace = scenario.namespace(proxy);
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default/token");
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": ["istio-ca"], "expirationSeconds": TOKEN_SECONDS,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": format!("p{proxy}")},
            },
        });
        let body = body.to_string();
        let answer = api.send(("POST", &path), "application/json", body.as_bytes());
        let answer: Value = serde_json::from_slice(&answer.await?)?;
        let token = answer["status"]["token"].as_str();
        tokens.push(token.context("the API server made no token")?.to_owned());
    }
    Ok(tokens)
}

/// The way to the encrypted port of a server that is ready.
pub(super) async fn channel(rig: &Rig, secure: SocketAddr, tokens: &[String]) -> Result<Channel> {
    let mut api = Http::connect(rig.api).await?;
    let (path, key) = AUTHORITY;
    // Published right after the server has its certificate, without which it is not ready.
    for _ in 0..100 {
        if let Ok(answer) = api.send(("GET", path), "application/json", b"").await {
            let map: Value = serde_json::from_slice(&answer)?;
            let authority = map["data"][key].as_str();
            let authority = authority.context("the published authority has no certificate")?;
            return Channel::tls(secure, NAME, authority, tokens);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the server does not publish the authority of its certificate")
}
