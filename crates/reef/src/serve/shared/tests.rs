//! When a server is ready.

use reef_identity::certs::KeyedCert;

use super::*;
use crate::mesh::MeshOptions;

#[test]
fn ready_is_who_has_the_mesh_and_a_certificate() {
    let (certificate, serving) = watch::channel(None);
    let shared = Shared::following(None, Some(serving));
    let reason = |shared: &Shared| shared.ready().unwrap_err();
    assert!(reason(&shared).contains("initial list"));

    let mesh = Arc::clone(MeshOptions::default().index().snapshot());
    shared.snapshot.store(Some(mesh));
    // Plaintext may be served already.
    assert_eq!(shared.serving(), Ok(()));
    assert!(
        reason(&shared).contains("certificate"),
        "{}",
        reason(&shared)
    );

    certificate.send_replace(Some(Arc::new(Serving {
        leaf: KeyedCert {
            cert: "a chain".to_owned(),
            key: "a key".to_owned(),
        },
        ca: None,
    })));
    assert_eq!(shared.ready(), Ok(()));

    shared.drain();
    assert!(reason(&shared).contains("shutting down"));
}
