//! Reef asks for nothing it may not have, and may have nothing it does not ask for.

use std::time::Duration;

use anyhow::ensure;
use reef_e2e::cluster::audit::{Right, granted, used};
use reef_e2e::cluster::objects::read;
use reef_e2e::cluster::{ClusterOptions, REEF};
use reef_e2e::namespace::isolated;

use crate::objects::{TO_V2, WEB, shop};
use crate::support::{Fixture, lasting};

#[test]
fn nothing_is_asked_that_is_not_granted_and_all_that_may_be_read_is() {
    let name = "rights::nothing_is_asked_that_is_not_granted_and_all_that_may_be_read_is";
    isolated(name, |power| {
        let options = ClusterOptions {
            // Lists in one piece, as before Kubernetes 1.32.
            api_arguments: vec!["--feature-gates=WatchList=false".to_owned()],
            ..ClusterOptions::default()
        };
        let mut fixture = Fixture::start_with(power, options, &shop())?;
        fixture.cluster.apply(TO_V2)?;
        fixture.follows("client-1", WEB, &["web-2"])?;
        let log = fixture.work().join("reef.log");
        ensure!(log.is_file(), "Reef wrote no log");

        // The streaming way.
        fixture.mesh.kill_reef();
        fixture.cluster.set_api_arguments(&[]);
        fixture.cluster.restart_api()?;
        fixture.mesh.start_reef()?;
        fixture.mesh.wait_ready(Duration::from_secs(40))?;
        std::thread::sleep(lasting(3, 60));

        let (all, denied) = used(&fixture.cluster.audit()?, REEF);
        let text = |rights: &mut dyn Iterator<Item = &Right>| -> Vec<String> {
            rights.map(ToString::to_string).collect()
        };
        let denied = text(&mut denied.iter());
        ensure!(denied.is_empty(), "denied: {denied:#?}");
        let granted = granted(&read(&fixture.roles)?);
        let reads = |right: &&Right| ["list", "watch"].contains(&right.verb.as_str());
        let unused = text(&mut granted.difference(&all).filter(reads));
        ensure!(unused.is_empty(), "readable and never read: {unused:#?}");
        Ok(())
    })
    .unwrap();
}
