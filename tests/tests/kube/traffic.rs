//! Objects are applied with kubectl, traffic follows.

use anyhow::ensure;
use reef_e2e::mesh::comes_true;
use reef_e2e::namespace::isolated;

use crate::objects::{TO_V2, WEB, labelled, shop, slice};
use crate::support::Fixture;

#[test]
fn traffic_follows_what_is_applied() {
    let name = "traffic::traffic_follows_what_is_applied";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        let cluster = &fixture.cluster;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;

        cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])?;
        cluster.delete(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;

        // A pod and its endpoint, as the controllers would write them.
        let third = labelled("web-3", "10.244.1.13", "--http 8080", "version: v3");
        cluster.apply(&third)?;
        fixture.start_pods(&third)?;
        let all = [
            ("web-1", "10.244.1.11"),
            ("web-2", "10.244.1.12"),
            ("web-3", "10.244.1.13"),
        ];
        fixture.cluster.apply(&slice("web", &all[2..]))?;
        fixture.follows("client-1", WEB, &["web-3"])?;
        fixture.cluster.apply(&slice("web", &all))?;
        fixture.follows("client-1", WEB, &["web-1", "web-2", "web-3"])?;

        // Who a proxy is comes from its Pod, so another label is another scope, without a restart.
        let narrow = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\n\
             metadata: {name: narrow, namespace: shop}\nspec:\n  \
             workloadSelector: {labels: {scope: narrow}}\n  \
             egress: [{hosts: ['istio-system/*']}]\n";
        fixture.cluster.apply(narrow)?;
        let sees_web = || {
            let clusters = fixture.mesh.envoy_admin("client-1", "/clusters");
            clusters.is_ok_and(|text| text.contains("web.shop.svc.cluster.local"))
        };
        ensure!(sees_web(), "a selector that matches no pod changed one");
        let label = |value: &str| {
            let how = ["label", "pod", "client-1", "-n", "shop", "--overwrite"];
            fixture.cluster.kubectl(&[&how[..], &[value]].concat())
        };
        label("scope=narrow")?;
        ensure!(comes_true(|| !sees_web()), "the client still sees web");
        label("scope=wide")?;
        ensure!(comes_true(sees_web), "the client does not see web again");
        let complaints = fixture.mesh.complaints()?;
        ensure!(complaints.is_empty(), "{complaints:?}");
        Ok(())
    })
    .unwrap();
}
