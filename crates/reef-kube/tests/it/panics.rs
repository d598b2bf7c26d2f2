//! A bug of ours: what panics is tried again, and what was read stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use reef_config::Kind;
use reef_testkit::fake_api::FakeApi;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::kit::{listen, names, service};

/// A log that panics so many times when it is told that a list of a kind is complete.
#[derive(Debug)]
struct Panics {
    kind: &'static str,
    left: Arc<AtomicU32>,
}

impl Subscriber for Panics {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("reef_kube")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    #[expect(clippy::panic, reason = "what it is for")]
    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        let listed = said.message.starts_with("listed") && said.kind == self.kind;
        let left = |left: u32| left.checked_sub(1);
        if listed
            && self
                .left
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, left)
                .is_ok()
        {
            panic!("as told");
        }
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[derive(Debug, Default)]
struct Said {
    message: String,
    kind: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "kind" => self.kind = format!("{value:?}"),
            _ => {}
        }
    }
}

/// On one thread, which is the one the log is set for.
#[tokio::test]
async fn panic_is_counted_and_the_kind_is_followed_again_with_what_was_read_in_force() {
    let api = FakeApi::start().await;
    api.apply_all([service("a", "1"), service("b", "1")]);
    let left = Arc::new(AtomicU32::new(0));
    let log = Panics {
        kind: "Service",
        left: Arc::clone(&left),
    };
    let _set = tracing::subscriber::set_default(log);
    let mut listener = listen(&api).await;
    let mut registry = Registry::default();
    listener
        .metrics
        .register(&mut registry, listener.states.clone());
    listener.synced().await;
    listener.until("all live", |l| l.all_live()).await;

    left.store(2, Ordering::Release);
    api.compact();
    api.send_gone("services");
    api.delete("services", "shop", "b");
    listener
        .until("the panic", |l| {
            matches!(l.state(Kind::Service), reef_kube::KindState::Stale { reason, .. } if reason.contains("panicked"))
        })
        .await;
    assert!(listener.is_live(Kind::Pod));
    assert_eq!(listener.names(Kind::Service), names(&["a", "b"]));
    listener
        .throughout(Duration::from_secs(1), |l| l.deleted.is_empty())
        .await;
    listener
        .until("recovery", |l| {
            l.all_live() && l.names(Kind::Service) == names(&["a"])
        })
        .await;
    api.apply(service("c", "1"));
    listener.until("c", |l| l.mark("c").is_some()).await;
    let mut page = String::new();
    encode(&mut page, &registry).unwrap();
    assert!(
        page.contains("source_panics_total{task=\"Service\"} 2"),
        "{page}"
    );
}
