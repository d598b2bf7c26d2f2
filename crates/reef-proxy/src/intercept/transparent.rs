//! Interception mode TPROXY: inbound connections keep both their addresses.
//!
//! ```text
//! client ──► eth0: TPROXY, mark ──► table 133: local ──► Envoy, which sees the real destination
//! Envoy, bound to the client's address, mark ──► lo: the mark is kept with the connection ──► app
//! app ──► client's address: the connection's mark is put back ──► table 133: local ──► Envoy
//! ```
//!
//! What the application sends itself is redirected as in the other mode.

use std::collections::BTreeSet;

use super::rules::{HBONE_PORT, Input, PROXY_PORTS, port_rule};
use super::{Family, InterceptMode, InterceptOptions, Ports};

/// Mark that Envoy's `original_src` filter gives its sockets, and TPROXY its packets.
pub(super) const MARK: u32 = 1337;
/// Routing table in which every address is local.
const TABLE: u32 = 133;

const INBOUND: &str = "REEF_TPROXY_IN";
const OUTPUT: &str = "REEF_TPROXY_OUT";
const CHAINS: [&str; 2] = [INBOUND, OUTPUT];
const JUMPS: [&str; 2] = [
    "PREROUTING -p tcp -j REEF_TPROXY_IN",
    "OUTPUT -p tcp -j REEF_TPROXY_OUT",
];

/// Builds the `mangle` part of the input; for the other mode it removes what is there.
pub(super) fn install_input(options: &InterceptOptions, present: &str) -> String {
    if options.mode != InterceptMode::Tproxy {
        return remove_input(present);
    }
    let mut input = Input::new("mangle");
    input.make_chains(&CHAINS);
    input.remove_jumps(&JUMPS, present);
    input.rule(
        INBOUND,
        &format!("-i lo -m mark --mark {MARK} -j CONNMARK --save-mark"),
    );
    input.rule(INBOUND, "-i lo -j RETURN");
    // Answers to what Envoy called have a socket of their own, which TPROXY would refuse.
    input.rule(INBOUND, "-m conntrack --ctdir REPLY -j RETURN");
    for interface in &options.exclude_interfaces {
        input.rule(INBOUND, &format!("-i {interface} -j RETURN"));
    }
    let mut excluded: BTreeSet<u16> = PROXY_PORTS.into();
    excluded.insert(HBONE_PORT);
    excluded.extend(&options.exclude_inbound_ports);
    for port in &excluded {
        input.rule(INBOUND, &port_rule(*port, "RETURN"));
    }
    let target = format!(
        "TPROXY --on-port {} --tproxy-mark {MARK}",
        options.inbound_port
    );
    match &options.include_inbound_ports {
        Ports::All => input.rule(INBOUND, &format!("-p tcp -j {target}")),
        Ports::Only(ports) => {
            for port in ports {
                input.rule(INBOUND, &port_rule(*port, &target));
            }
        }
    }
    input.rule(
        OUTPUT,
        &format!("-m connmark --mark {MARK} -j CONNMARK --restore-mark"),
    );
    input.add_jumps(&JUMPS);
    input.end()
}

/// Builds the input that removes what [`install_input`] made.
pub(super) fn remove_input(present: &str) -> String {
    let mut input = Input::new("mangle");
    input.remove_jumps(&JUMPS, present);
    input.remove_chains(&CHAINS, present);
    if input.is_empty() {
        return String::new();
    }
    input.end()
}

/// Arguments of `ip` that make marked packets local; empty where the mode needs none.
pub fn route_commands(options: &InterceptOptions, family: Family) -> Vec<Vec<String>> {
    match options.mode {
        InterceptMode::Redirect => Vec::new(),
        InterceptMode::Tproxy => vec![
            words(family, &format!("rule add fwmark {MARK} lookup {TABLE}")),
            words(
                family,
                &format!("route replace local default dev lo table {TABLE}"),
            ),
        ],
    }
}

/// Arguments of `ip` that undo [`route_commands`]; each fails where there is nothing to undo.
pub(super) fn route_removals(family: Family) -> Vec<Vec<String>> {
    vec![
        words(family, &format!("rule del fwmark {MARK} lookup {TABLE}")),
        words(
            family,
            &format!("route del local default dev lo table {TABLE}"),
        ),
    ]
}

fn words(family: Family, command: &str) -> Vec<String> {
    let flag = match family {
        Family::V4 => "-4",
        Family::V6 => "-6",
    };
    std::iter::once(flag)
        .chain(command.split(' '))
        .map(str::to_owned)
        .collect()
}
