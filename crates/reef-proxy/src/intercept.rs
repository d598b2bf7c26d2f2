//! The iptables rules that lead a pod's traffic through its Envoy.
//!
//! What to write is a pure function of [`InterceptOptions`] and of what is there already
//! ([`install_input`], [`remove_input`]); [`install`] and [`remove`] only run the programs. Rules
//! live in chains of our own, four of them in the `nat` table and, for TPROXY, two in `mangle`; with
//! TPROXY a routing rule and a routing table are ours too, and the address `::6` on loopback.
//! Nothing else is touched.

mod annotations;
mod rules;
mod transparent;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::{Command, Output, Stdio};
use std::str::FromStr;

pub use rules::{install_input, remove_input};
pub use transparent::route_commands;

/// What to lead through the proxy and what not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterceptOptions {
    /// By which means inbound connections are taken.
    pub mode: InterceptMode,
    /// Port that takes what the application sends; default 15001.
    pub outbound_port: u16,
    /// Port that takes what is sent to the application; default 15006.
    pub inbound_port: u16,
    /// How to tell the proxy's own connections; they are never led back into it.
    pub proxy: ProxySockets,
    /// Destinations that are led through the proxy.
    pub include_outbound: Ranges,
    /// Destinations that are not, among those.
    pub exclude_outbound: Vec<Cidr>,
    /// Outbound ports led through the proxy whatever the destination.
    pub include_outbound_ports: BTreeSet<u16>,
    /// Outbound ports that are not.
    pub exclude_outbound_ports: BTreeSet<u16>,
    /// Inbound ports led through the proxy.
    pub include_inbound_ports: Ports,
    /// Inbound ports that are not; 15020, 15021 and 15090 never are.
    pub exclude_inbound_ports: BTreeSet<u16>,
    /// Interfaces left alone.
    pub exclude_interfaces: BTreeSet<String>,
}

impl Default for InterceptOptions {
    fn default() -> Self {
        Self {
            mode: InterceptMode::Redirect,
            outbound_port: 15001,
            inbound_port: 15006,
            proxy: ProxySockets::Owner {
                uids: BTreeSet::from([1337]),
                gids: BTreeSet::from([1337]),
            },
            include_outbound: Ranges::All,
            exclude_outbound: Vec::new(),
            include_outbound_ports: BTreeSet::new(),
            exclude_outbound_ports: BTreeSet::new(),
            include_inbound_ports: Ports::All,
            exclude_inbound_ports: BTreeSet::new(),
            exclude_interfaces: BTreeSet::new(),
        }
    }
}

/// By which means inbound connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterceptMode {
    /// REDIRECT: the application sees connections from loopback.
    Redirect,
    /// TPROXY: the application sees the client's address. Envoy needs `CAP_NET_ADMIN` and a user of
    /// its own: with [`ProxySockets::Mark`] its sockets would lack the mark TPROXY needs.
    Tproxy,
}

/// How the proxy's own connections are told from the application's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxySockets {
    /// By the user or the group that owns the socket.
    Owner {
        /// User ids of the proxy.
        uids: BTreeSet<u32>,
        /// Group ids of the proxy.
        gids: BTreeSet<u32>,
    },
    /// By `SO_MARK`, where everything runs as one user.
    Mark(u32),
}

/// Destinations: all, or these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// Every destination.
    All,
    /// Only these.
    Only(Vec<Cidr>),
}

/// Ports: all, or these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    /// Every port.
    All,
    /// Only these.
    Only(BTreeSet<u16>),
}

/// An address range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr {
    ip: IpAddr,
    prefix_bits: u8,
}

impl FromStr for Cidr {
    type Err = InterceptError;

    /// Reads `address[/bits]`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || InterceptError::Cidr(text.to_owned());
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().ok().ok_or_else(bad)?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            Some(bits) => bits.parse().ok().ok_or_else(bad)?,
            None => longest,
        };
        if prefix_bits > longest {
            return Err(bad());
        }
        Ok(Self { ip, prefix_bits })
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_bits)
    }
}

/// Which of the two packet filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

impl Family {
    fn program(self, suffix: &str) -> String {
        let name = match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        };
        format!("{name}-{suffix}")
    }
}

/// Why interception could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InterceptError {
    /// Not an address range.
    #[error("{0:?} is not an address range")]
    Cidr(String),
    /// An annotation has a value that cannot be read.
    #[error("annotation {name}: {value:?} {problem}")]
    Annotation {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A program could not be run.
    #[error("cannot run {program}: {source}")]
    Run {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program ran and refused.
    #[error("{program} failed: {stderr}")]
    Refused {
        /// Its name.
        program: String,
        /// What it said.
        stderr: String,
    },
}

/// Installs the rules in the network namespace of this process; what was installed before is
/// replaced. Blocks until the programs end.
///
/// # Errors
/// [`InterceptError::Run`] and [`InterceptError::Refused`]; each family is changed atomically.
pub fn install(options: &InterceptOptions, families: &[Family]) -> Result<(), InterceptError> {
    for family in families {
        let present = save(*family)?;
        restore(*family, &install_input(options, *family, &present))?;
        forget_routes(*family);
        for command in route_commands(options, *family) {
            ip(&command)?;
        }
        if *family == Family::V6 {
            // Without it Envoy cannot reach its application over IPv6; a pod without IPv6 refuses.
            ip(&delivery_address("replace")).unwrap_or_default();
        }
    }
    Ok(())
}

/// Removes every rule and chain that [`install`] made; nothing happens where there is none.
///
/// # Errors
/// [`InterceptError::Run`] and [`InterceptError::Refused`].
pub fn remove(families: &[Family]) -> Result<(), InterceptError> {
    for family in families {
        let present = save(*family)?;
        restore(*family, &remove_input(&present))?;
        forget_routes(*family);
        if *family == Family::V6 {
            ip(&delivery_address("del")).unwrap_or_default();
        }
    }
    Ok(())
}

/// Arguments of `ip` for the address from which Envoy calls its application over IPv6. Of IPv4, all
/// of 127.0.0.0/8 is there.
fn delivery_address(verb: &str) -> Vec<String> {
    ["-6", "addr", verb, "::6/128", "dev", "lo"]
        .map(str::to_owned)
        .into()
}

/// Removes routes of TPROXY. Where there are none, or no `ip` either, that is as well.
fn forget_routes(family: Family) {
    for command in transparent::route_removals(family) {
        ip(&command).unwrap_or_default();
    }
}

fn ip(arguments: &[String]) -> Result<(), InterceptError> {
    let program = format!("ip {}", arguments.join(" "));
    finished(program, Command::new("ip").args(arguments).output()).map(|_| ())
}

/// Reads the rules of all tables.
fn save(family: Family) -> Result<String, InterceptError> {
    let program = family.program("save");
    let output = Command::new(&program).output();
    let rules = finished(program, output)?;
    Ok(String::from_utf8_lossy(&rules).into_owned())
}

/// Applies an input in one transaction, leaving everything it does not name.
fn restore(family: Family, input: &str) -> Result<(), InterceptError> {
    let program = family.program("restore");
    let output = fed(
        Command::new(&program).args(["--noflush", "--wait"]),
        input.as_bytes(),
    );
    finished(program, output).map(|_| ())
}

/// Runs a command to its end with an input.
fn fed(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    child.wait_with_output()
}

/// What a command, named `program` in errors, printed; an error unless it ended well.
fn finished(program: String, output: io::Result<Output>) -> Result<Vec<u8>, InterceptError> {
    let output = match output {
        Ok(output) => output,
        Err(source) => return Err(InterceptError::Run { program, source }),
    };
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(InterceptError::Refused { program, stderr });
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests;
