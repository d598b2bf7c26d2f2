//! Objects of a test, as their user would write them.

use std::sync::Arc;

use reef_config::{Object, Origin, parse};

/// The objects of YAML in their order, each with the line it begins at.
///
/// # Panics
/// When something in it is no object or has an error: a test that says it otherwise would test less than it shows.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "a test without its objects cannot go on"
)]
pub fn objects(yaml: &str) -> Vec<Arc<Object>> {
    let documents = parse::documents(yaml.as_bytes()).expect("the text splits into documents");
    let parsed = documents.iter().map(|document| {
        let origin = Origin {
            path: Arc::from("test.yaml"),
            line: document.line,
        };
        parse::object(document.text, &origin)
    });
    let mut all = Vec::new();
    for parsed in parsed {
        assert!(!parsed.has_errors(), "{:?}", parsed.problems);
        all.extend(parsed.objects.into_iter().map(Arc::new));
    }
    all
}
