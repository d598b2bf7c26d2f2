//! The rules as input for `iptables-restore --noflush`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{
    Cidr, Family, InterceptMode, InterceptOptions, Ports, ProxySockets, Ranges, transparent,
};

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
pub(super) const PROXY_PORTS: [u16; 3] = [15020, 15021, 15090];

/// Tunnelled traffic has its own port and arrives there directly.
pub(super) const HBONE_PORT: u16 = 15008;

/// Builds the input that installs the rules. `present`: what `iptables-save` prints now, so that
/// installing twice gives the same rules as installing once.
pub fn install_input(options: &InterceptOptions, family: Family, present: &str) -> String {
    let mut input = Input::new("nat");
    input.make_chains(&CHAINS);
    input.remove_jumps(&JUMPS, present);
    for interface in &options.exclude_interfaces {
        input.rule(INBOUND, &format!("-i {interface} -j RETURN"));
        input.rule(OUTPUT, &format!("-o {interface} -j RETURN"));
    }
    inbound(&mut input, options);
    outbound(&mut input, options, family);
    input.add_jumps(&JUMPS);
    input.end() + &transparent::install_input(options, present)
}

/// Builds the input that removes whatever [`install_input`] made and `present` still has.
pub fn remove_input(present: &str) -> String {
    let mut input = Input::new("nat");
    input.remove_jumps(&JUMPS, present);
    input.remove_chains(&CHAINS, present);
    input.end() + &transparent::remove_input(present)
}

fn inbound(input: &mut Input, options: &InterceptOptions) {
    let to = options.inbound_port;
    input.rule(IN_REDIRECT, &format!("-p tcp -j REDIRECT --to-ports {to}"));
    if options.mode == InterceptMode::Tproxy {
        return;
    }
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
    match options.mode {
        InterceptMode::Redirect => {
            input.rule(OUTPUT, &format!("-s {delivery} -o lo -j RETURN"));
        }
        // What Envoy hands to its own application has the client's address, and a mark.
        InterceptMode::Tproxy => {
            let mark = transparent::MARK;
            input.rule(OUTPUT, &format!("-o lo -m mark --mark {mark} -j RETURN"));
        }
    }
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

pub(super) fn port_rule(port: u16, target: &str) -> String {
    format!("-p tcp -m tcp --dport {port} -j {target}")
}

/// Text under construction: the part of one table.
#[derive(Debug)]
pub(super) struct Input {
    table: &'static str,
    text: String,
}

impl Input {
    pub(super) fn new(table: &'static str) -> Self {
        Self {
            table,
            text: String::new(),
        }
    }

    /// Whether nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn rule(&mut self, chain: &str, rule: &str) {
        // Writing to a string cannot fail.
        writeln!(self.text, "-A {chain} {rule}").unwrap_or_default();
    }

    /// With `--noflush` a declared chain is emptied, or made.
    pub(super) fn make_chains(&mut self, chains: &[&str]) {
        for chain in chains {
            self.line(&format!(":{chain} - [0:0]"));
        }
    }

    pub(super) fn add_jumps(&mut self, jumps: &[&str]) {
        for jump in jumps {
            self.line(&format!("-A {jump}"));
        }
    }

    pub(super) fn remove_jumps(&mut self, jumps: &[&str], present: &str) {
        for jump in jumps {
            let line = format!("-A {jump}");
            for _ in present.lines().filter(|present| present.trim() == line) {
                self.line(&format!("-D {jump}"));
            }
        }
    }

    pub(super) fn remove_chains(&mut self, chains: &[&str], present: &str) {
        let is_here = |chain: &&&str| {
            let head = format!(":{chain} ");
            present.lines().any(|line| line.starts_with(&head))
        };
        let here: Vec<&str> = chains.iter().filter(is_here).copied().collect();
        for action in ["-F", "-X"] {
            for chain in &here {
                self.line(&format!("{action} {chain}"));
            }
        }
    }

    pub(super) fn end(self) -> String {
        format!("*{}\n{}COMMIT\n", self.table, self.text)
    }
}
