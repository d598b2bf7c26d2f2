//! The certificates Reef makes: renewed in their Secret, made once whoever is first and whoever is killed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use reef_e2e::call;
use reef_e2e::cluster::{ADMIN, ClusterOptions};
use reef_e2e::mesh::{MONITORING, SECURE_PORT, comes_true, program};
use reef_e2e::namespace::{isolated, run};
use reef_e2e::net::Running;
use serde_json::json;

use crate::objects::{TO_V2, WEB, labelled, shop};
use crate::support::{Fixture, SERVER};

/// What a Secret holds under a key.
fn secret(fixture: &Fixture, namespace: &str, name: &str, key: &str) -> Result<String> {
    let template = format!("go-template={{{{index .data \"{key}\" | base64decode}}}}");
    let how = ["get", "secret", name, "-n", namespace, "-o", &template];
    fixture.cluster.kubectl(&how)
}

/// Asks openssl about a certificate.
fn about(cert: &str, what: &str) -> Result<String> {
    let script = "printf '%s' \"$1\" | openssl x509 -noout \"$2\"";
    let output = Command::new("sh")
        .args(["-ec", script, "sh", cert, what])
        .output()?;
    ensure!(output.status.success(), "no certificate: {cert}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The leaf that is shown to a new connection to a port of this machine by who trusts an authority.
fn shown(port: u16, name: &str, authority: &Path) -> Result<String> {
    let mut client = Command::new("openssl");
    client
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(["-tls1_3", "-alpn", "h2", "-servername", name])
        .args(["-verify_return_error", "-verify_hostname", name, "-CAfile"])
        .arg(authority)
        .stdin(Stdio::null());
    let output = client.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let from = said
        .find("-----BEGIN CERTIFICATE")
        .context("no certificate")?;
    let end = "-----END CERTIFICATE-----\n";
    let until = said.find(end).context("half a certificate")? + end.len();
    Ok(said.get(from..until).unwrap_or_default().to_owned())
}

/// Puts a leaf of Reef's authority into its Secret that has to be renewed in some seconds: of 300 s ago, so that two thirds of
/// its life are over by then. Returns it.
fn near_its_end(fixture: &Fixture, turn: u32, due: u32) -> Result<String> {
    let work = fixture.work().join(format!("leaf{turn}"));
    std::fs::create_dir(&work)?;
    for (file, key) in [("ca.pem", "tls.crt"), ("ca.key", "tls.key")] {
        std::fs::write(
            work.join(file),
            secret(fixture, "reef-system", "reef-ca", key)?,
        )?;
    }
    let names = ["", ".cluster.local"].map(|domain| format!("DNS:{SERVER}{domain}"));
    let short = SERVER.trim_end_matches(".svc");
    let extensions = format!(
        "subjectAltName={},DNS:{short}\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n",
        names.join(",")
    );
    std::fs::write(work.join("leaf.ext"), extensions)?;
    let script = "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout leaf.key -out leaf.csr -subj /CN=leaf\n\
         touch index && echo 77 > serial\n\
         printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\nserial=serial\\nnew_certs_dir=.\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' > leaf.cnf\n\
         at() { date -u -d \"$1 seconds\" +%y%m%d%H%M%SZ; }\n\
         openssl ca -batch -config leaf.cnf -cert ca.pem -keyfile ca.key -in leaf.csr -out leaf.pem -notext \
         -extfile leaf.ext -startdate $(at -300) -enddate $(at $1)";
    let life = (300 + due) * 3 / 2 - 300;
    let mut openssl = Command::new("sh");
    run(openssl
        .args(["-ec", script, "sh", &life.to_string()])
        .current_dir(&work))?;
    let leaf = std::fs::read_to_string(work.join("leaf.pem"))?;
    let key = std::fs::read_to_string(work.join("leaf.key"))?;
    let patch = json!({"stringData": {"tls.crt": leaf, "tls.key": key}}).to_string();
    let how = [
        "patch",
        "secret",
        "reef-serving",
        "-n",
        "reef-system",
        "-p",
        &patch,
    ];
    fixture.cluster.kubectl(&how)?;
    Ok(leaf)
}

/// Reef as one of two replicas that make certificates in a namespace; its monitoring port is one above.
fn replica(fixture: &Fixture, namespace: &str, port: u16) -> Result<Running> {
    let mut command = Command::new(program("reef", "REEF_BIN")?);
    let at = |more: u16| format!("127.0.0.1:{}", port + more);
    command
        .args(["serve", "--namespace", namespace, "--kubeconfig"])
        // Whose rights are not what this is about.
        .arg(fixture.cluster.kubeconfig_for(ADMIN))
        .args(["--secure-grpc-addr", &at(0), "--monitoring-addr", &at(1)])
        .args(["--http-addr", &at(2), "--grpc-addr", &at(3)]);
    Running::start(
        &mut command,
        fixture.work().join(format!("{namespace}.{port}.log")),
    )
}

/// Whether somebody with one of these verbs wrote an object of a namespace, and how often: by the API server's own log.
fn writes(fixture: &Fixture, namespace: &str, resource: &str) -> Result<Vec<String>> {
    let events = fixture.cluster.audit()?;
    let of = events.iter().filter(|event| {
        let object = &event.object_ref;
        object.namespace == namespace
            && object.resource == resource
            && ["create", "update", "patch", "delete"].contains(&event.verb.as_str())
            && event.response_status.code < 300
    });
    let mut found: Vec<String> = of
        .map(|event| format!("{} {}", event.verb, event.object_ref.name))
        .collect();
    found.sort();
    Ok(found)
}

/// Two replicas of a namespace.
struct Pair {
    namespace: String,
    ports: [u16; 2],
    replicas: [Running; 2],
}

impl Pair {
    /// Starts two at one time in a namespace without certificates; with `killed` after a third one, which made its Lease and was
    /// killed at once.
    fn start(fixture: &Fixture, namespace: &str, port: u16, killed: bool) -> Result<Self> {
        let made = ["create", "namespace", namespace];
        fixture.cluster.kubectl(&made)?;
        if killed {
            let mut first = replica(fixture, namespace, port + 20)?;
            let leases = || writes(fixture, namespace, "leases").unwrap_or_default();
            let leased = comes_true(|| !leases().is_empty());
            first.kill();
            ensure!(leased, "no Lease: {}", first.tail());
        }
        let ports = [port, port + 10];
        Ok(Self {
            namespace: namespace.to_owned(),
            ports,
            replicas: [
                replica(fixture, namespace, ports[0])?,
                replica(fixture, namespace, ports[1])?,
            ],
        })
    }

    /// Waits until both serve; it must be with one leaf of one authority, each written once.
    fn made_one(mut self, fixture: &Fixture) -> Result<()> {
        let namespace = &self.namespace;
        let name = format!("reef.{namespace}.svc");
        let file: PathBuf = fixture.work().join(format!("{namespace}.pem"));
        let mut leaves = Vec::new();
        for (replica, port) in self.replicas.iter_mut().zip(self.ports) {
            let mut last = Ok(String::new());
            let serves = comes_true(|| {
                last = secret(fixture, namespace, "reef-ca", "tls.crt").and_then(|ca| {
                    std::fs::write(&file, ca)?;
                    shown(port, &name, &file)
                });
                last.is_ok() || replica.ended()
            });
            ensure!(serves, "{namespace} {port}: {last:?}\n{}", replica.tail());
            leaves.push(last?);
        }
        let kept = secret(fixture, namespace, "reef-serving", "tls.crt")?;
        let same = leaves.iter().all(|leaf| *leaf == kept);
        ensure!(same, "{namespace}: {leaves:?} and {kept}");
        let written = writes(fixture, namespace, "secrets")?;
        let [one, other] = &self.replicas;
        ensure!(
            written == ["create reef-ca", "create reef-serving"],
            "{namespace}: {written:?}\n{}\n{}",
            one.tail(),
            other.tail()
        );
        Ok(())
    }
}

/// One cluster for all of it: while a leaf runs out there is time for the rest.
#[test]
fn a_leaf_is_renewed_under_open_streams_and_replicas_make_one_authority() {
    let name = "certs::a_leaf_is_renewed_under_open_streams_and_replicas_make_one_authority";
    isolated(name, |power| {
        let mut fixture = Fixture::start_with(power, ClusterOptions::default(), &shop())?;
        let authority = fixture.authority();
        let kept = |fixture: &Fixture| secret(fixture, "reef-system", "reef-serving", "tls.crt");
        let ca = secret(&fixture, "reef-system", "reef-ca", "tls.crt")?;
        let streams = |fixture: &Fixture| fixture.mesh.reef_proxies().map_or(0, |all| all.len());
        // On a machine that takes so long to start Reef that the leaf is renewed before it is used, it gets a longer life.
        let mut old = String::new();
        let used = (0..4).try_fold(false, |used, turn| -> Result<bool> {
            if used {
                return Ok(true);
            }
            fixture.mesh.kill_reef();
            old = near_its_end(&fixture, turn, 20 << turn)?;
            fixture.mesh.start_reef()?;
            let connected = comes_true(|| streams(&fixture) == 3);
            ensure!(connected, "{}", fixture.reef_tail());
            Ok(shown(SECURE_PORT, SERVER, &authority)? == old)
        })?;
        ensure!(
            used,
            "the leaf in the Secret is not used\n{}",
            fixture.reef_tail()
        );
        let connections = |fixture: &Fixture| {
            let stat = "cluster.reef-xds.upstream_cx_total";
            fixture.mesh.envoy_stat("client-1", stat)
        };
        let before = connections(&fixture)?;

        // A Lease that nobody holds any more runs out meanwhile.
        let after_a_kill = Pair::start(&fixture, "killed", 15150, true)?;
        for turn in 0..3 {
            Pair::start(&fixture, &format!("pair-{turn}"), 15120, false)?.made_one(&fixture)?;
        }
        after_a_kill.made_one(&fixture)?;

        let renewed = comes_true(|| kept(&fixture).is_ok_and(|leaf| leaf != old));
        ensure!(
            renewed,
            "the leaf stays in the Secret\n{}",
            fixture.reef_tail()
        );
        let new = kept(&fixture)?;
        let shows =
            comes_true(|| shown(SECURE_PORT, SERVER, &authority).is_ok_and(|leaf| leaf == new));
        ensure!(shows, "the new leaf is not used\n{}", fixture.reef_tail());
        ensure!(
            secret(&fixture, "reef-system", "reef-ca", "tls.crt")? == ca,
            "another authority"
        );
        ensure!(
            about(&new, "-issuer")? == about(&old, "-issuer")?,
            "of another authority"
        );
        ensure!(
            about(&new, "-enddate")? != about(&old, "-enddate")?,
            "no longer life"
        );
        call::page(MONITORING, "/ready")?;

        // The stream of before is the one that hears of a change.
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])?;
        let after = connections(&fixture)?;
        ensure!(
            after == before && streams(&fixture) == 3,
            "{before} and now {after} connections"
        );
        // And a proxy that comes now takes the new one.
        let third = labelled("web-3", "10.244.1.13", "--http 8080", "version: v3");
        fixture.cluster.apply(&third)?;
        fixture.start_pods(&third)
    })
    .unwrap();
}
