//! What this machine's kernel lets the tests do, found by trying it with rules of no product.
//!
//! A test still fails where it cannot run; it is the run of all tests that asks here first, leaves out what the machine
//! makes impossible, and says so with the reason. Prints one line each: the test's name (`*`: all), a tab, the reason.
#![allow(
    clippy::print_stdout,
    reason = "a command-line program reports on its terminal"
)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::namespace::{self, Power, settle, shell};
use crate::net::{PodNet, make_bridge};

/// Argument of `reef-demo` that leads here.
pub const ARGUMENT: &str = "--probe";

/// Tests that need what only some machines give.
const TPROXY: &str = "capture::tproxy_keeps_the_address_of_the_caller";
/// Tests that need IPv6.
const IPV6: [&str; 2] = [
    "kinds::both_address_families_reach_their_endpoints",
    "capture::the_rules_are_removed_without_a_trace",
];

/// Tells what is impossible here; nothing is the best answer.
///
/// # Errors
/// When that cannot be found out.
pub fn main() -> Result<()> {
    let found = match namespace::inside() {
        Some(power) => {
            settle()?;
            inside(power)
        }
        None => outside()?,
    };
    for (test, reason) in found {
        println!("{test}\t{}", reason.replace(['\n', '\t'], "; "));
    }
    Ok(())
}

type Found = Vec<(&'static str, String)>;

fn outside() -> Result<Found> {
    let mut command = match namespace::command(std::env::current_exe()?) {
        Ok(command) => command,
        Err(refused) => return Ok(vec![("*", format!("{refused:#}"))]),
    };
    let mut child = command.arg(ARGUMENT).stdout(Stdio::inherit()).spawn()?;
    let _lifeline = namespace::Lifeline::of(&mut child);
    let status = child.wait()?;
    if !status.success() {
        bail!("the probe failed inside its namespace: {status}");
    }
    Ok(Vec::new())
}

fn inside(power: Power) -> Found {
    if let Err(refused) = network() {
        return vec![("*", format!("{refused:#}"))];
    }
    let mut found = Found::new();
    if power == Power::User {
        let reason = "it needs a user for Envoy alone, and a user namespace has but one";
        found.push((TPROXY, reason.to_owned()));
    } else if let Err(refused) = in_pod(
        "iptables -t mangle -A PREROUTING -p tcp -j TPROXY --on-port 1 --tproxy-mark 2 &&
         iptables -t mangle -F && ip rule add fwmark 2 lookup 100 && ip rule del fwmark 2 lookup 100",
    ) {
        found.push((TPROXY, format!("{refused:#}")));
    }
    if let Err(refused) = six() {
        found.extend(IPV6.map(|test| (test, format!("{refused:#}"))));
    }
    found
}

/// A pod, its link to the bridge, and the rules every sidecar needs.
fn network() -> Result<()> {
    make_bridge()?;
    PodNet::make("probe", Ipv4Addr::new(10, 244, 9, 9))?;
    in_pod(
        "iptables -t nat -A OUTPUT -p tcp -m owner ! --uid-owner 0 -j REDIRECT --to-ports 15001 &&
         iptables -t nat -A OUTPUT -p tcp -m mark --mark 1 -j RETURN && iptables -t nat -F",
    )
}

fn six() -> Result<()> {
    shell("ip -6 route get fd00:96::1").context("no IPv6")?;
    // The pod is there already.
    shell("ip -n probe -6 addr add fd00:244::99/64 dev eth0 nodad").context("no IPv6")?;
    let address = Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 1);
    in_pod(&format!(
        "ip -6 route add default via {address} &&
         ip6tables -t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001 && ip6tables -t nat -F"
    ))
    .context("no IPv6")
}

fn in_pod(line: &str) -> Result<()> {
    shell(&format!("nsenter --net=/run/netns/probe sh -ec '{line}'"))
}
