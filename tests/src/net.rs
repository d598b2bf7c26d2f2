//! The network of a mesh on this machine: a bridge, and a namespace per pod.
//!
//! ```text
//!  pod 10.244.1.10 ─┐
//!  pod 10.244.1.11 ─┼─ bridge reef0: 10.244.0.1/16, 192.0.2.1/24 (Reef, this process)
//!  app 192.0.2.10  ─┘        10.96.0.0/12 and fd00:96::/64 refuse connections: nobody has a
//!                           virtual address
//! ```

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use reef_proxy::intercept::{Family, InterceptOptions, install_input, route_commands};

use crate::namespace::{run, shell};

/// Address of the machine as pods see it.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// Makes the bridge. Once per namespace.
///
/// # Errors
/// When `ip` refuses.
pub fn make_bridge() -> Result<()> {
    shell(
        "ip link add reef0 type bridge\n\
         ip addr add 10.244.0.1/16 dev reef0\n\
         ip addr add 192.0.2.1/24 dev reef0\n\
         ip link set reef0 up\n\
         ip route add local 10.96.0.0/12 dev lo",
    )?;
    // A kernel without IPv6 can do all but the tests of two families.
    shell(
        "ip -6 addr add fd00:244::1/64 dev reef0 nodad; ip -6 route add local fd00:96::/64 dev lo",
    )
    .or(Ok(()))
}

/// The network namespace of one pod, or of one host outside the mesh.
#[derive(Debug)]
pub struct PodNet {
    name: String,
}

impl PodNet {
    /// Adds a second address, of `fd00:244::/64`.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn add_v6(&self, address: Ipv6Addr) -> Result<()> {
        let name = &self.name;
        shell(&format!(
            "ip -n {name} -6 addr add {address}/64 dev eth0 nodad\n\
             ip -n {name} -6 route add default via fd00:244::1"
        ))
        .with_context(|| format!("pod {name}"))
    }

    /// Makes the namespace, its interface and its address. `name` is unique in the mesh.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn make(name: &str, address: Ipv4Addr) -> Result<Self> {
        let [_, _, third, fourth] = address.octets();
        let outside = address.octets()[0] == 192;
        let veth = if outside {
            format!("ext{fourth}")
        } else {
            format!("pod{third}-{fourth}")
        };
        let (bits, other) = if outside {
            (24, "10.244.0.0/16")
        } else {
            (16, "192.0.2.0/24")
        };
        let gateway = if outside { "192.0.2.1" } else { "10.244.0.1" };
        shell(&format!(
            "ip netns add {name}\n\
             ip link add {veth} type veth peer name eth0 netns {name}\n\
             ip link set {veth} master reef0 up\n\
             ip -n {name} link set lo up\n\
             ip -n {name} addr add {address}/{bits} dev eth0\n\
             ip -n {name} link set eth0 up\n\
             ip -n {name} route add {other} dev eth0\n\
             ip -n {name} route add default via {gateway}"
        ))
        .with_context(|| format!("pod {name}"))?;
        Ok(Self {
            name: name.to_owned(),
        })
    }

    /// Prepares a command that runs in the pod's network.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.name))
            .arg(program);
        command
    }

    /// Installs the interception rules of a sidecar.
    ///
    /// # Errors
    /// When `iptables-restore` refuses.
    pub fn intercept(&self, options: &InterceptOptions) -> Result<()> {
        for (family, program) in [
            (Family::V4, "iptables-restore"),
            (Family::V6, "ip6tables-restore"),
        ] {
            let input = install_input(options, family, "");
            let mut child = self
                .command(program)
                .arg("--noflush")
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot run {program}"))?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            if !output.status.success() {
                let stderr = String::from_utf8_lossy(&output.stderr);
                bail!("pod {}: {program}: {}", self.name, stderr.trim());
            }
            for arguments in route_commands(options, family) {
                run(Command::new("ip").args(["-n", &self.name]).args(arguments))?;
            }
        }
        Ok(())
    }
}

/// A running process that ends with its value.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a command, its output going to a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self { child, log })
    }

    /// The last lines it wrote.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(15);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    /// Whether it ended by itself.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }

    /// Its process id, in our namespace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
