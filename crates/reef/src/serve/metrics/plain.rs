//! A counter whose name is shown as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Counts up; exposed without the `_total` that OpenMetrics wants and istiod does not have, as type `unknown`, the one
/// type whose name may end in anything.
#[derive(Debug, Clone, Default)]
pub(in crate::serve) struct Plain(Arc<AtomicU64>);

impl Plain {
    /// Adds.
    pub(in crate::serve) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

impl EncodeMetric for Plain {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Unknown
    }
}

impl TypedMetric for Plain {
    const TYPE: MetricType = MetricType::Unknown;
}
