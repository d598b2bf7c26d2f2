//! The keys of a cluster, read while its API server can be asked, for the time when it cannot.

use std::sync::Arc;
use std::time::Duration;

use reef_identity::Tokens;
use reef_identity::local::Jwks;
use reef_kube::Cluster;
use reef_kube::token_review::SigningKeys;
use tracing::{info, warn};

use crate::clock;

/// Between two readings. New keys are published well before tokens are signed with them.
const EVERY: Duration = Duration::from_secs(300);

/// Between two looks whether it is time to read; while the API server is silent, between two readings, for this is what
/// finds out when it is back.
const LOOK: Duration = Duration::from_secs(5);

/// How long one reading may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Reads the keys again and again; never ends.
pub(in crate::serve) async fn follow_keys(cluster: Cluster, tokens: Arc<Tokens>) {
    let mut known = String::new();
    let mut told = false;
    loop {
        match tokio::time::timeout(LIMIT, cluster.signing_keys()).await {
            Ok(Ok(keys)) => {
                told = false;
                tokens.heard();
                if keys.jwks != known {
                    take(&tokens, &keys);
                    known = keys.jwks;
                }
            }
            failed => {
                if !told {
                    let error = match failed {
                        Ok(Err(error)) => error.to_string(),
                        _ => "no answer".to_owned(),
                    };
                    warn!(error, "the keys of the cluster's tokens cannot be read");
                }
                told = true;
            }
        }
        let read = clock::now();
        while clock::now() - read < EVERY {
            tokio::time::sleep(LOOK).await;
            if told || tokens.is_silent() {
                break;
            }
        }
    }
}

fn take(tokens: &Tokens, keys: &SigningKeys) {
    match Jwks::parse(&keys.issuer, keys.jwks.as_bytes()) {
        Ok(jwks) => {
            info!(issuer = jwks.issuer(), "keys of the cluster's tokens read");
            tokens.set_keys(jwks);
        }
        Err(error) => {
            warn!(%error, "the cluster's keys are of no use: without its API server no token can be verified");
        }
    }
}
