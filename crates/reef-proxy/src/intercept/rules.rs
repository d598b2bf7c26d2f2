//! The rules as input for `iptables-restore --noflush`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Cidr, Family, InterceptOptions, Ports, ProxySockets, Ranges};

const INBOUND: &str = "REEF_INBOUND";
const IN_REDIRECT: &str = "REEF_IN_REDIRECT";
const OUTPUT: &str = "REEF_OUTPUT";
const REDIRECT: &str = "REEF_REDIRECT";
const CHAINS: [&str; 4] = [INBOUND, IN_REDIRECT, OUTPUT, REDIRECT];

/// Jumps out of built-in chains, as `iptables-save` prints them.
const JUMPS: [&str; 2] = [
    "PREROUTING -p tcp -j REEF_INBOUND",
    "OUTPUT -p tcp -j REEF_OUTPUT",
];

/// Ports of the proxy itself, never led through it: health, readiness, Prometheus.
const PROXY_PORTS: [u16; 3] = [15020, 15021, 15090];

/// Tunnelled traffic has its own port and arrives there directly.
const HBONE_PORT: u16 = 15008;

/// Builds the input that installs the rules. `present`: what `iptables-save` prints now, so that
/// installing twice gives the same rules as installing once.
pub fn install_input(options: &InterceptOptions, family: Family, present: &str) -> String {
    let mut input = Input::new();
    for chain in CHAINS {
        // With --noflush a declared chain is emptied, or made.
        input.line(&format!(":{chain} - [0:0]"));
    }
    input.remove_jumps(present);
    for interface in &options.exclude_interfaces {
        input.rule(INBOUND, &format!("-i {interface} -j RETURN"));
        input.rule(OUTPUT, &format!("-o {interface} -j RETURN"));
    }
    inbound(&mut input, options);
    outbound(&mut input, options, family);
    for jump in JUMPS {
        input.line(&format!("-A {jump}"));
    }
    input.end()
}

/// Builds the input that removes whatever [`install_input`] made and `present` still has.
pub fn remove_input(present: &str) -> String {
    let mut input = Input::new();
    input.remove_jumps(present);
    let here: Vec<&str> = CHAINS
        .into_iter()
        .filter(|chain| {
            let head = format!(":{chain} ");
            present.lines().any(|line| line.starts_with(&head))
        })
        .collect();
    for chain in &here {
        input.line(&format!("-F {chain}"));
    }
    for chain in &here {
        input.line(&format!("-X {chain}"));
    }
    input.end()
}

fn inbound(input: &mut Input, options: &InterceptOptions) {
    let to = options.inbound_port;
    input.rule(IN_REDIRECT, &format!("-p tcp -j REDIRECT --to-ports {to}"));
    input.rule(INBOUND, &port_rule(HBONE_PORT, "RETURN"));
    let mut excluded: BTreeSet<u16> = PROXY_PORTS.into();
    excluded.extend(&options.exclude_inbound_ports);
    for port in &excluded {
        input.rule(INBOUND, &port_rule(*port, "RETURN"));
    }
    match &options.include_inbound_ports {
        Ports::All => input.rule(INBOUND, &format!("-p tcp -j {IN_REDIRECT}")),
        Ports::Only(ports) => {
            for port in ports {
                input.rule(INBOUND, &port_rule(*port, IN_REDIRECT));
            }
        }
    }
}

fn outbound(input: &mut Input, options: &InterceptOptions, family: Family) {
    // 127.0.0.6 is the source address of what Envoy hands to its own application.
    let (loopback, delivery) = match family {
        Family::V4 => ("127.0.0.1/32", "127.0.0.6/32"),
        Family::V6 => ("::1/128", "::6/128"),
    };
    let to = options.outbound_port;
    input.rule(REDIRECT, &format!("-p tcp -j REDIRECT --to-ports {to}"));
    input.rule(OUTPUT, &format!("-s {delivery} -o lo -j RETURN"));
    for (proxy, other) in matches(&options.proxy) {
        // The proxy calls its own pod by the pod's address: the application must see that as
        // inbound traffic.
        input.rule(
            OUTPUT,
            &format!(
                "! -d {loopback} -o lo -p tcp -m tcp ! --dport {HBONE_PORT} {proxy} \
                 -j {IN_REDIRECT}"
            ),
        );
        // Within the pod the application's own calls are not the mesh's business.
        if let Some(other) = other {
            input.rule(OUTPUT, &format!("-o lo {other} -j RETURN"));
        }
        input.rule(OUTPUT, &format!("{proxy} -j RETURN"));
    }
    for port in &options.exclude_outbound_ports {
        input.rule(OUTPUT, &port_rule(*port, "RETURN"));
    }
    input.rule(OUTPUT, &format!("-d {loopback} -j RETURN"));
    let of_family = |range: &&Cidr| range.ip.is_ipv4() == (family == Family::V4);
    for range in options.exclude_outbound.iter().filter(of_family) {
        input.rule(OUTPUT, &format!("-d {range} -j RETURN"));
    }
    for port in &options.include_outbound_ports {
        input.rule(OUTPUT, &port_rule(*port, REDIRECT));
    }
    match &options.include_outbound {
        Ranges::All => input.rule(OUTPUT, &format!("-j {REDIRECT}")),
        Ranges::Only(ranges) => {
            for range in ranges.iter().filter(of_family) {
                input.rule(OUTPUT, &format!("-d {range} -j {REDIRECT}"));
            }
        }
    }
}

/// Matches for "a socket of the proxy" and, only once, "a socket of someone else".
fn matches(proxy: &ProxySockets) -> Vec<(String, Option<String>)> {
    match proxy {
        ProxySockets::Owner { uids, gids } => {
            let one = |kind: &str, id: u32| {
                (
                    format!("-m owner --{kind}-owner {id}"),
                    format!("-m owner ! --{kind}-owner {id}"),
                )
            };
            let users = uids.iter().map(|id| one("uid", *id));
            let groups = gids.iter().map(|id| one("gid", *id));
            let mut pairs: Vec<(String, Option<String>)> = Vec::new();
            let all: Vec<(String, String)> = users.chain(groups).collect();
            // "Someone else" must be none of the ids, so it is asked after the last of them only;
            // the rules before have returned for every id of the proxy by then.
            let last = all.len().saturating_sub(1);
            for (index, (mine, other)) in all.into_iter().enumerate() {
                pairs.push((mine, (index == last).then_some(other)));
            }
            pairs
        }
        ProxySockets::Mark(mark) => vec![(
            format!("-m mark --mark {mark}"),
            Some(format!("-m mark ! --mark {mark}")),
        )],
    }
}

fn port_rule(port: u16, target: &str) -> String {
    format!("-p tcp -m tcp --dport {port} -j {target}")
}

/// Text under construction.
#[derive(Debug)]
struct Input(String);

impl Input {
    fn new() -> Self {
        Self("*nat\n".to_owned())
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn rule(&mut self, chain: &str, rule: &str) {
        // Writing to a string cannot fail.
        writeln!(self.0, "-A {chain} {rule}").unwrap_or_default();
    }

    fn remove_jumps(&mut self, present: &str) {
        for jump in JUMPS {
            let line = format!("-A {jump}");
            for _ in present.lines().filter(|present| present.trim() == line) {
                self.line(&format!("-D {jump}"));
            }
        }
    }

    fn end(mut self) -> String {
        self.line("COMMIT");
        self.0
    }
}
