//! The API server goes back, and refuses: EF tests T8 and T10.

use std::time::Duration;

use anyhow::ensure;
use reef_e2e::call;
use reef_e2e::mesh::{MONITORING, reef_is_ready, wait};
use reef_e2e::namespace::isolated;

use crate::objects::{TO_V2, WEB, shop, slice};
use crate::support::Fixture;

/// T8.
#[test]
fn a_store_that_goes_back_is_followed_back() {
    let name = "faults::a_store_that_goes_back_is_followed_back";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        // The subset is in the backup, and only the route to it is lost: kinds are listed one by one, so of two objects
        // that vanish together the wrong one may go first, as with a slow `kubectl delete`.
        let subset = TO_V2.split("---\n").nth(1).unwrap_or_default();
        fixture.cluster.apply(subset)?;
        fixture.cluster.back_up_store()?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])?;
        // The version must be far ahead of what the restored store has.
        for turn in 0..20 {
            let value = format!("turn={turn}");
            let how = ["annotate", "namespace", "shop", "--overwrite", &value];
            fixture.cluster.kubectl(&how)?;
        }
        fixture.under_traffic("client-1", WEB, &["web-1", "web-2"], |fixture| {
            fixture.cluster.restore_store()?;
            let back = wait(Duration::from_secs(90), || {
                let apps = fixture.answering("client-1", WEB.0, WEB.1);
                apps.is_ok_and(|apps| apps == ["web-1", "web-2"])
            });
            ensure!(back, "the routes stay\n{}", fixture.reef_tail());
            Ok(())
        })?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])
    })
    .unwrap();
}

/// T10.
#[test]
fn a_right_that_is_lost_is_named_and_costs_no_content() {
    let name = "faults::a_right_that_is_lost_is_named_and_costs_no_content";
    isolated(name, |power| {
        let mut fixture = Fixture::start(power, &shop())?;
        fixture.follows("client-1", WEB, &["web-1", "web-2"])?;
        let without = fixture.roles.replace("endpointslices", "elsewhere");
        ensure!(without != fixture.roles, "no role names endpointslices");
        let both = ["web-1", "web-2"];
        fixture.under_traffic("client-1", WEB, &both, |fixture| {
            fixture.cluster.apply(&without)?;
            // A watch that is open stays open: authorization looks at requests.
            fixture.cluster.restart_api()?;
            let named = wait(Duration::from_secs(60), || {
                let metrics = call::page(MONITORING, "/metrics").unwrap_or_default();
                let log = fixture.mesh.reef_log().unwrap_or_default();
                let says =
                    |line: &str| line.contains("no permission") && line.contains("endpointslices");
                log.lines().any(says) && metrics.contains("reef_source_stale_seconds")
            });
            ensure!(
                named,
                "nobody says what is missing\n{}",
                fixture.reef_tail()
            );
            ensure!(reef_is_ready(), "a lost right made Reef not ready");
            Ok(())
        })?;
        fixture.cluster.apply(&fixture.roles)?;
        fixture
            .cluster
            .apply(&slice("web", &[("web-1", "10.244.1.11")]))?;
        let back = wait(Duration::from_secs(90), || {
            let apps = fixture.answering("client-1", WEB.0, WEB.1);
            apps.is_ok_and(|apps| apps == ["web-1"])
        });
        ensure!(
            back,
            "the right is back, the content is not\n{}",
            fixture.reef_tail()
        );
        Ok(())
    })
    .unwrap();
}
