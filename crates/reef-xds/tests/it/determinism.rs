//! The same message gives the same bytes in every process.
//!
//! Hash tables are seeded per process, so a map that leaked into the encoding would differ between
//! runs of this very test; the test therefore starts itself.

use std::process::Command;

use reef_xds::{EncodedResource, json};

use crate::samples;

/// Set in the processes that only print.
const CHILD: &str = "REEF_XDS_PRINT_BYTES";

/// The encoded cluster, and the same cluster encoded after a detour through JSON.
fn fingerprint() -> String {
    let encoded = EncodedResource::encode("c", &samples::cluster_with_maps());
    let detour = json::from_json(&json::to_json(&encoded.any())).unwrap();
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex();
    format!(
        "fingerprint:{}:{}",
        hash(&encoded.wire_delta()),
        hash(&detour.value)
    )
}

#[test]
fn another_process_encodes_the_same_bytes() {
    let own = fingerprint();
    if std::env::var_os(CHILD).is_some() {
        println!("{own}");
        return;
    }
    for _ in 0..2 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "determinism::another_process_encodes_the_same_bytes",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8(child.stdout).unwrap();
        let line = printed
            .lines()
            .find_map(|line| Some(line.split_at(line.find("fingerprint:")?).1));
        assert_eq!(line, Some(own.as_str()));
    }
}
