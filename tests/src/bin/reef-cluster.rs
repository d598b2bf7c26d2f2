//! A real API server to play with: runs until standard input ends, files go to the folder it is given.
#![allow(
    clippy::print_stdout,
    reason = "a command-line program reports on its terminal"
)]

use std::io::Read;

use anyhow::{Context, Result};
use reef_e2e::cluster::{ADMIN, Cluster, ClusterOptions, REEF};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments
        .next()
        .context("usage: reef-cluster FOLDER [ARGUMENT OF KUBE-APISERVER …]")?;
    let options = ClusterOptions {
        api_arguments: arguments
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        ..ClusterOptions::default()
    };
    let folder = std::path::absolute(folder)?;
    let cluster = Cluster::start(&folder, options)?;
    for (who, user) in [("administrator", ADMIN), ("Reef", REEF)] {
        println!(
            "{who}: KUBECONFIG={}",
            cluster.kubeconfig_for(user).display()
        );
    }
    println!("etcd: {}", cluster.etcd_address());
    println!("press Ctrl-D to end it");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    Ok(())
}
