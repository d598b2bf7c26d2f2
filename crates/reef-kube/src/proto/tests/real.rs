//! What kube-apiserver 1.36.3 said of one cluster in both encodings: lists of each kind, the stream of a list, a refusal.
//!
//! Captured with curl; `encoding` among the tests over a real API server does the same with a live one.

use super::*;
use crate::api::Status;
use crate::encoding::Encoding;
use crate::event::{Feed, Type, bookmark};
use crate::page::Page;

macro_rules! captured {
    ($name:literal) => {
        (
            include_bytes!(concat!("real/", $name, ".json")).as_slice(),
            include_bytes!(concat!("real/", $name, ".pb")).as_slice(),
        )
    };
}

#[test]
fn lists_of_a_real_server_are_the_same() {
    let lists = [
        (Kind::Namespace, captured!("namespaces"), 5),
        (Kind::Node, captured!("nodes"), 1),
        (Kind::Pod, captured!("pods"), 4),
        (Kind::Service, captured!("services"), 8),
        (Kind::EndpointSlice, captured!("endpointslices"), 4),
        (Kind::ConfigMap, captured!("configmaps"), 1),
    ];
    for (kind, (json, proto), least) in lists {
        let json = Page::read(Encoding::Json, json).unwrap();
        let proto = Page::read(Encoding::Protobuf, proto).unwrap();
        assert!(json.version > 0 && json.next == proto.next);
        assert_eq!(json.version, proto.version, "nothing happened in between");
        let decoder = decoder(kind);
        let read = |page: &Page<'_>| {
            let items = page.items();
            items
                .map(|raw| told(decoder.object(raw).unwrap()))
                .collect::<Vec<_>>()
        };
        let (json, proto) = (read(&json), read(&proto));
        assert!(json.len() >= least, "{kind}: {}", json.len());
        assert!(
            json.iter()
                .all(|(_, version, _, problems)| *version > 0 && problems.is_empty())
        );
        assert_eq!(json, proto);
    }
}

#[test]
fn stream_of_a_real_server_is_its_list() {
    let (json, _) = captured!("pods");
    let list = Page::read(Encoding::Json, json).unwrap();
    let decoder = decoder(Kind::Pod);
    let listed: Vec<_> = list
        .items()
        .map(|raw| told(decoder.object(raw).unwrap()))
        .collect();
    let mut feed = Feed::new(Encoding::Protobuf);
    feed.push(include_bytes!("real/watch.pb").as_slice().into());
    let (mut streamed, mut ends) = (Vec::new(), 0);
    while let Some(frame) = feed.next().unwrap() {
        match feed.event(&frame).unwrap() {
            (Type::Applied, object) => streamed.push(told(decoder.object(object).unwrap())),
            (Type::Bookmark, object) => {
                let bookmark = bookmark(object).unwrap();
                assert!(bookmark.version >= list.version, "{bookmark:?}");
                ends += u32::from(bookmark.list_end);
            }
            other => panic!("{other:?}"),
        }
    }
    streamed.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(streamed, listed);
    assert!(ends == 1 && !feed.has_partial());
}

#[test]
fn refusal_of_a_real_server_is_read() {
    let status = unwrapped(include_bytes!("real/status.pb")).unwrap();
    let status: Status = from_slice(&schema::STATUS, status).unwrap();
    assert_eq!((status.code, &*status.reason), (504, "Timeout"));
    assert!(
        status
            .message
            .contains("Too large resource version: 99999999")
    );
}
