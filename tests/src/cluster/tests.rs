//! A cluster starts, obeys, keeps a log and survives what is done to it.

use anyhow::Result;

use super::audit::{granted, used};
use super::*;
use crate::namespace::isolated;

const ROLE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, nodeName: node-a, containers: [{name: app, image: none}]}
status: {phase: Running, podIP: 10.244.1.10, podIPs: [{ip: 10.244.1.10}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reef}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reef}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reef}
subjects: [{kind: ServiceAccount, name: reef, namespace: reef-system}]
";

#[test]
fn a_cluster_obeys_keeps_a_log_and_goes_back_in_time() {
    let name = "cluster::tests::a_cluster_obeys_keeps_a_log_and_goes_back_in_time";
    isolated(name, |_| {
        let work = tempfile::tempdir()?;
        let mut cluster = Cluster::start(work.path(), ClusterOptions::default())?;
        cluster.apply(ROLE)?;
        cluster.wait_rights()?;
        let ip = |cluster: &Cluster| {
            let how = [
                "get",
                "pod",
                "web-1",
                "-n",
                "shop",
                "-o",
                "jsonpath={.status.podIP}",
            ];
            cluster.kubectl(&how)
        };
        assert_eq!(ip(&cluster)?, "10.244.1.10");
        let token = cluster.token_for("shop", "web", Some("web-1"), "istio-ca")?;
        assert_eq!(token.split('.').count(), 3, "{token}");

        // Reef's account has its role and no more, and the log says so.
        let reef = |arguments: &[&str]| -> Result<String> {
            let mut command = cluster.command_as(REEF, "kubectl")?;
            answer_of(command.args(arguments), "")
        };
        assert!(reef(&["get", "pods", "-A", "-o", "name"])?.contains("web-1"));
        assert!(reef(&["get", "secrets", "-A"]).is_err());
        let (all, denied) = used(&cluster.audit()?, REEF);
        let denied: Vec<String> = denied.iter().map(ToString::to_string).collect();
        assert_eq!(denied, ["list secrets"]);
        let role = objects::read(ROLE)?;
        let unused: Vec<String> = granted(&role)
            .difference(&all)
            .map(ToString::to_string)
            .collect();
        assert_eq!(unused, ["get pods"]);

        cluster.back_up_store()?;
        cluster.delete(ROLE.split("---\n").nth(2).unwrap_or_default())?;
        assert!(ip(&cluster).is_err());
        cluster.restore_store()?;
        assert_eq!(ip(&cluster)?, "10.244.1.10");

        cluster.stop_api()?;
        assert!(
            cluster
                .kubectl(&["get", "ns", "--request-timeout=1s"])
                .is_err()
        );
        cluster.cont_api()?;
        cluster.compact()?;
        cluster.restart_api()?;
        assert_eq!(ip(&cluster)?, "10.244.1.10");
        Ok(())
    })
    .unwrap();
}
