//! What a kernel does with the interception rules, with plain apps in the place of Envoy.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Result, ensure};
use reef_e2e::call::{Answer, Call, Protocol};
use reef_e2e::control;
use reef_e2e::mesh::{comes_true, program};
use reef_e2e::namespace::{Power, isolated};
use reef_e2e::net::{PodNet, Running, make_bridge};
use reef_proxy::intercept::{InterceptOptions, ProxySockets};

struct Pods {
    work: tempfile::TempDir,
    running: Vec<Running>,
}

impl Pods {
    fn app(&mut self, mut command: Command, name: &str, ports: &[u16]) -> Result<()> {
        let socket = self.work.path().join(name);
        command.args(["--name", name, "--control"]).arg(&socket);
        for port in ports {
            command.args(["--http", &port.to_string()]);
        }
        let log = self.work.path().join(format!("{name}.log"));
        self.running.push(Running::start(&mut command, log)?);
        ensure!(comes_true(|| socket.exists()));
        Ok(())
    }

    fn get(&self, from: &str, address: &str) -> Result<Answer> {
        control::ask(
            &self.work.path().join(from),
            &Call {
                protocol: Protocol::Http1,
                address: address.to_owned(),
                authority: "any.test".to_owned(),
                path: "/".to_owned(),
            },
        )
    }
}

#[test]
fn traffic_of_the_app_goes_through_the_proxy_and_the_proxys_own_does_not() {
    let name =
        "interception::traffic_of_the_app_goes_through_the_proxy_and_the_proxys_own_does_not";
    isolated(name, |power| {
        make_bridge()?;
        let testapp = program("reef-testapp", "REEF_TESTAPP_BIN")?;
        let testapp = testapp.to_string_lossy();
        let mut pods = Pods {
            work: tempfile::tempdir()?,
            running: Vec::new(),
        };
        let pod = PodNet::make("pod", Ipv4Addr::new(10, 244, 1, 10))?;
        let other = PodNet::make("other", Ipv4Addr::new(10, 244, 1, 20))?;
        pod.intercept(&InterceptOptions {
            exclude_outbound_ports: [9001].into(),
            exclude_inbound_ports: [8081].into(),
            proxy: match power {
                Power::Root => InterceptOptions::default().proxy,
                Power::User => ProxySockets::Mark(1337),
            },
            ..InterceptOptions::default()
        })?;
        pods.app(pod.command(&testapp), "app", &[8080, 8081])?;
        pods.app(pod.command(&testapp), "outbound", &[15001])?;
        pods.app(pod.command(&testapp), "inbound", &[15006, 15021])?;
        pods.app(other.command(&testapp), "other", &[80, 9001])?;

        let answered = |from: &str, address: &str| pods.get(from, address).map(|a| a.app);
        // Out of the pod: everything, except an excluded port and loopback.
        assert_eq!(answered("app", "10.244.1.20:80")?, "outbound");
        assert_eq!(answered("app", "10.96.0.1:1234")?, "outbound");
        assert_eq!(answered("app", "10.244.1.20:9001")?, "other");
        assert_eq!(answered("app", "127.0.0.1:8080")?, "app");
        assert_eq!(answered("app", "10.244.1.10:8080")?, "app");
        // Into the pod: everything, except an excluded port and the proxy's own.
        assert_eq!(answered("other", "10.244.1.10:8080")?, "inbound");
        assert_eq!(answered("other", "10.244.1.10:8081")?, "app");
        assert_eq!(answered("other", "10.244.1.10:15021")?, "inbound");
        // The proxy's user is never led back into the proxy.
        if power == Power::Root {
            let mut proxy = pod.command("setpriv");
            proxy.args(["--reuid", "1337", "--regid", "1337", "--clear-groups"]);
            proxy.arg("/run/testapp");
            reef_e2e::namespace::shell(&format!(
                "touch /run/testapp && mount --bind {testapp} /run/testapp; chmod 777 {}",
                pods.work.path().display()
            ))?;
            pods.app(proxy, "proxy", &[])?;
            assert_eq!(pods.get("proxy", "10.244.1.20:80")?.app, "other");
            assert_eq!(pods.get("proxy", "10.244.1.10:8080")?.app, "inbound");
        }
        Ok(())
    })
    .unwrap();
}
