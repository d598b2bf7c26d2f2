//! The objects that metadata in the configuration names.

use xds_api::envoy::config::core::v3::Metadata;
use xds_api::well_known::Struct;
use xds_api::well_known::value::Kind;

/// `Kind namespace/name` of the object that a chain, route or cluster was made from.
pub(crate) fn of(metadata: Option<&Metadata>) -> Option<String> {
    let fields = &metadata?.filter_metadata.get("istio")?.fields;
    let Some(Kind::StringValue(path)) = fields.get("config")?.kind.as_ref() else {
        return None;
    };
    parse(path)
}

/// Reads `/apis/GROUP/VERSION/namespaces/NAMESPACE/KIND/NAME`.
fn parse(path: &str) -> Option<String> {
    let mut parts = path.trim_start_matches('/').split('/').skip(3);
    if parts.next()? != "namespaces" && !path.contains("/namespaces/") {
        return None;
    }
    let (namespace, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(format!("{} {namespace}/{name}", camel(kind)))
}

fn camel(kind: &str) -> String {
    kind.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<Vec<char>>()
        })
        .collect()
}

/// Whether all fields of `wanted` are in `found` with the same values.
pub(crate) fn contains(found: Option<&Struct>, wanted: &Struct) -> bool {
    wanted
        .fields
        .iter()
        .all(|(key, value)| found.and_then(|found| found.fields.get(key)) == Some(value))
}
