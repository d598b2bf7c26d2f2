//! Certificates, keys and tokens of one cluster. Nothing here is secret or outlives the test.

use std::path::Path;

use anyhow::Result;

use crate::namespace::run;

/// The user who may do everything.
pub const ADMIN: &str = "admin";
/// The ServiceAccount of Reef: what its ClusterRole grants and nothing else.
pub const REEF: &str = "system:serviceaccount:reef-system:reef";

/// What tokens of ServiceAccounts say about who made them.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";

pub(super) const CA_CERT: &str = "ca.crt";
pub(super) const SERVING_CERT: &str = "serving.crt";
pub(super) const SERVING_KEY: &str = "serving.key";
pub(super) const ACCOUNT_KEY: &str = "accounts.key";
pub(super) const ACCOUNT_PUBLIC: &str = "accounts.pub";
pub(super) const TOKENS: &str = "tokens.csv";

/// The static token of a user of the token file.
pub(super) fn token(user: &str) -> &'static str {
    if user == ADMIN {
        "token-of-the-administrator"
    } else {
        "token-of-reef"
    }
}

/// Makes everything in a folder.
pub(super) fn make(folder: &Path) -> Result<()> {
    let users = format!(
        "{},{ADMIN},1,system:masters\n{},{REEF},2,\"system:serviceaccounts,\
         system:serviceaccounts:reef-system\"\n",
        token(ADMIN),
        token(REEF),
    );
    std::fs::write(folder.join(TOKENS), users)?;
    std::fs::write(
        folder.join("serving.ext"),
        "basicConstraints=critical,CA:FALSE\n\
         keyUsage=critical,digitalSignature\n\
         extendedKeyUsage=serverAuth\n\
         subjectAltName=IP:127.0.0.1,IP:10.244.0.1,DNS:localhost,DNS:kubernetes.default.svc\n",
    )?;
    let script = format!(
        "curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n\
         openssl req -x509 $curve -keyout ca.key -out {CA_CERT} -days 3650 -subj /CN=test-ca\n\
         openssl req $curve -keyout {SERVING_KEY} -out serving.csr -subj /CN=kube-apiserver\n\
         openssl x509 -req -in serving.csr -CA {CA_CERT} -CAkey ca.key -CAcreateserial \
         -days 365 -extfile serving.ext -out {SERVING_CERT}\n\
         openssl genrsa -out {ACCOUNT_KEY} 2048\n\
         openssl rsa -in {ACCOUNT_KEY} -pubout -out {ACCOUNT_PUBLIC}"
    );
    run(std::process::Command::new("sh")
        .args(["-ec", &script])
        .current_dir(folder))
}
