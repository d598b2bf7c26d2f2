//! What can be typed after `reef simulate`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use crate::cli::{AdminArgs, MeshArgs, OutputArgs};

/// Settings of `reef simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// The request: `http://HOST[:PORT]/PATH`, `http2://…`, `tcp://ADDRESS:PORT`, `tls://SERVER-NAME[:PORT]`.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Whose request: `POD.NAMESPACE`, or a full node id of a connected proxy.
    #[arg(
        long,
        value_name = "PROXY",
        conflicts_with_all = ["node", "dump"],
        required_unless_present_any = ["node", "dump"]
    )]
    pub proxy: Option<String>,
    /// Directory of YAML or JSON objects to ask instead of a running Reef; may be given several times.
    #[arg(long, value_delimiter = ',', value_name = "DIR")]
    pub config_dir: Vec<PathBuf>,
    /// The proxy, with `--config-dir`: a file with Envoy's node message, or a bootstrap with one.
    #[arg(long, value_name = "FILE", requires = "config_dir")]
    pub node: Option<PathBuf>,
    /// A config dump to ask instead, as Envoy's `/config_dump?include_eds` or `reef render` print it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "config_dir"])]
    pub dump: Option<PathBuf>,
    /// The method.
    #[arg(
        short = 'X',
        long = "request",
        default_value = "GET",
        value_name = "METHOD"
    )]
    pub method: String,
    /// A header, `NAME: VALUE`; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// Where the connection goes, if not where the host's address is: `ADDRESS` or `ADDRESS:PORT`.
    #[arg(long, value_name = "ADDRESS")]
    pub to: Option<String>,
    /// Where the connection comes from.
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<IpAddr>,
    /// Application protocols offered in TLS.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub alpn: Vec<String>,
    /// The request goes to the application beside the proxy, not from it.
    #[arg(long)]
    pub inbound: bool,
    /// Call this listener directly, by its name.
    #[arg(long, value_name = "NAME")]
    pub listener: Option<String>,
    /// What the mesh is.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// Whom to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Form of the answer.
    #[command(flatten)]
    pub output: OutputArgs,
}
