//! Which requests real Envoys log, and how, where Telemetry objects say so.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use reef_e2e::call::Protocol::Http1;
use reef_e2e::call::{Answer, Call};
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;

use crate::kinds::client;
use crate::support::{Fixture, READY, pod, service, slice};

/// A provider that writes lines of its own to a file.
fn provider(file: &Path) -> String {
    let file = file.display();
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\n\
         data:\n  mesh: |\n    extensionProviders:\n    - name: lines\n      envoyFileAccessLog:\n        \
         path: {file}\n        logFormat: {{text: \"%RESPONSE_CODE% %REQ(:PATH)% %UPSTREAM_CLUSTER_RAW%\"}}\n"
    )
}

fn ask(mesh: &Fixture, path: &str) -> anyhow::Result<Answer> {
    let call = Call {
        protocol: Http1,
        address: "10.96.1.14:80".to_owned(),
        authority: "web".to_owned(),
        path: path.to_owned(),
    };
    mesh.mesh.call("client", &call)
}

#[test]
fn requests_are_logged_as_telemetry_says() {
    isolated(
        "traffic_logs::requests_are_logged_as_telemetry_says",
        |power| {
            // The proxy is another user.
            let folder = tempfile::tempdir()?;
            std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
            let file = folder.path().join("log");
            std::fs::write(&file, "")?;
            std::fs::set_permissions(&file, Permissions::from_mode(0o666))?;
            let port = "{name: http, port: 80}";
            let manifests = [
                provider(&file),
                client(),
                pod("web-1", "10.244.1.14", "--http 80"),
                service("web", "web", port, "clusterIP: 10.96.1.14"),
                slice("web", port, &[("web-1", "10.244.1.14", READY)]),
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
                 metadata: {name: web, namespace: shop}\nspec: {hosts: [web], http: [\
                 {match: [{uri: {prefix: /gone}}], directResponse: {status: 410}}, \
                 {route: [{destination: {host: web}}]}]}\n"
                    .to_owned(),
                "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
                 metadata: {name: log, namespace: shop}\nspec: {accessLogging: [\
                 {match: {mode: CLIENT}, providers: [{name: lines}], filter: {expression: response.code >= 400}}]}\n"
                    .to_owned(),
            ];
            let mesh = Fixture::of(power, &manifests.concat())?;
            assert_eq!(ask(&mesh, "/fine")?.app, "web-1");
            assert_eq!(ask(&mesh, "/gone/1")?.status, 410);
            let log = || std::fs::read_to_string(&file).unwrap_or_default();
            // Envoy writes every ten seconds.
            let written = || log().contains("410 /gone/1 -");
            assert!(comes_true(written), "{}", log());
            assert!(!log().contains("/fine"), "{}", log());
            // The same log for other requests, while everything runs.
            mesh.edit("response.code >= 400", "response.code < 400")?;
            let line = "200 /good outbound|80||web.shop.svc.cluster.local";
            let written = || ask(&mesh, "/good").is_ok() && log().contains(line);
            assert!(comes_true(written), "{}", log());
            // The server's side has the same rule, and is not asked to log.
            let of_good = |line: &&str| line.contains("/good");
            let text = log();
            let server = text.lines().filter(of_good).find(|line| line.contains("inbound|"));
            assert_eq!(server, None);
            Ok(())
        },
    )
    .unwrap();
}
