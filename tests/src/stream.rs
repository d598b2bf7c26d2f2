//! Streams to Reef as strangers open them: with any token, certificate, node id or bytes, from any pod's address.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::mesh::SECURE_PORT;
use crate::net::{HOST, PodNet};

/// Which method is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Delta ADS.
    Delta,
    /// State-of-the-world ADS.
    Sotw,
    /// A call that is no stream.
    Unary,
}

/// One stream to open.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// What its end is called.
    pub name: String,
    /// The method.
    pub kind: Kind,
    /// The node id it sends.
    pub node: String,
    /// Its bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Resource names it asks for; all if none.
    pub names: Vec<String>,
    /// Bytes in the place of the request, as base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Bytes of node metadata besides.
    pub padding: usize,
    /// File with the key of a client certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// File with the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<PathBuf>,
}

impl Attempt {
    /// A delta stream of a node.
    pub fn new(name: &str, node: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::Delta,
            node: node.to_owned(),
            token: None,
            names: Vec::new(),
            raw: None,
            padding: 0,
            key: None,
            chain: None,
        }
    }

    /// The same with a token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        Self {
            token: Some(token.to_owned()),
            ..self
        }
    }

    /// The same by another method.
    #[must_use]
    pub fn by(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct End {
    /// Name of the gRPC status; `OK` for a stream that was answered.
    pub code: String,
    /// What was said.
    pub error: String,
    /// Resources in the first response.
    pub names: usize,
    /// How long it took, in milliseconds.
    pub after: u64,
}

/// Who opens streams, and how it knows Reef.
#[derive(Debug)]
pub struct Stranger {
    /// The network it is in.
    pub net: PodNet,
    /// Certificate of Reef's authority.
    pub ca_file: PathBuf,
    /// The name in Reef's certificate.
    pub server_name: String,
}

impl Stranger {
    /// Opens all streams at the same time; returns how each ended.
    ///
    /// # Errors
    /// When gRPC for Python is missing, or the client fails.
    pub fn open(&self, attempts: &[Attempt]) -> Result<BTreeMap<String, End>> {
        let set = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("{name} is not set; `cargo xtask test` does"))
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/stream.py");
        let mut child = self
            .net
            .command(&set("REEF_GRPC_PYTHON")?)
            // Leaves no compiled files beside the script.
            .arg("-B")
            .arg(script)
            .arg(format!("{HOST}:{SECURE_PORT}"))
            .arg(&self.ca_file)
            .arg(&self.server_name)
            .env("PYTHONPATH", set("REEF_GRPC_SITE")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run Python")?;
        let stdin = child.stdin.take().context("no input")?;
        serde_json::to_writer(stdin, attempts)?;
        let output = child.wait_with_output()?;
        let failed = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{failed}");
        serde_json::from_slice(&output.stdout).with_context(|| failed.into_owned())
    }
}

/// A node id.
pub fn node(pod: &str, ip: &str, namespace: &str) -> String {
    format!("sidecar~{ip}~{pod}.{namespace}~{namespace}.svc.cluster.local")
}

/// Makes a key and a certificate for it with these further lines of an extension file; returns their files.
///
/// # Errors
/// When openssl fails.
pub fn certificate(
    work: &Path,
    name: &str,
    days: [i32; 2],
    extensions: &str,
) -> Result<[PathBuf; 2]> {
    let file = |ending: &str| work.join(format!("{name}.{ending}"));
    std::fs::write(file("ext"), extensions)?;
    let [from, until] = days;
    let script = "curve='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'\n\
         test -e clients-ca.pem || openssl req -x509 $curve -keyout clients-ca.key -out clients-ca.pem -days 30 -subj /CN=clients\n\
         openssl req $curve -keyout $1.key -out $1.csr -subj /CN=client\n\
         mkdir $1.ca && touch $1.ca/index && echo 01 > $1.ca/serial\n\
         printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=%s/index\\nserial=%s/serial\\nnew_certs_dir=%s\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' $1.ca $1.ca $1.ca > $1.cnf\n\
         day() { date -u -d \"$1 days\" +%y%m%d%H%M%SZ; }\n\
         openssl ca -batch -config $1.cnf -cert clients-ca.pem -keyfile clients-ca.key -in $1.csr -out $1.pem \
         -notext -extfile $1.ext -startdate $(day $2) -enddate $(day $3)";
    let mut command = Command::new("sh");
    command
        .args([
            "-ec",
            script,
            "sh",
            name,
            &from.to_string(),
            &until.to_string(),
        ])
        .current_dir(work);
    crate::namespace::run(&mut command)?;
    Ok([file("key"), file("pem")])
}
