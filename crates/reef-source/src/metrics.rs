//! What following files costs. The binary sets the `reef_` prefix.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Counts of what was read; cheap to clone, all clones count together.
#[derive(Debug, Clone, Default)]
pub struct SourceMetrics {
    pub(crate) walks: Counter,
    pub(crate) files: Counter,
    pub(crate) bytes: Counter,
    pub(crate) documents: Counter,
}

impl SourceMetrics {
    /// Registers everything.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            (
                "source_walks",
                "Times all names of a directory were compared (unstable)",
                &self.walks,
            ),
            ("source_files_read", "Files read (unstable)", &self.files),
            (
                "source_read_bytes",
                "Bytes of files read (unstable)",
                &self.bytes,
            ),
            (
                "source_documents_parsed",
                "Documents parsed; those with a known hash are not (unstable)",
                &self.documents,
            ),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
