//! What is counted. No label carries content, names or ids: routes are patterns, statuses are classes.

use std::sync::atomic::AtomicU64;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The service's counters. Cheap to clone; all clones count together.
#[derive(Clone, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    bytes_in: Counter<u64, AtomicU64>,
    bytes_out: Counter<u64, AtomicU64>,
    cut: Family<RouteLabels, Counter>,
    in_flight: Gauge,
    streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

impl Metrics {
    /// Makes the counters and registers them.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let service = registry.sub_registry_with_prefix("strongroom_service");
        service.register(
            "requests",
            "Requests answered, by route and class of status",
            metrics.requests.clone(),
        );
        service.register(
            "received_bytes",
            "Bytes of request bodies",
            metrics.bytes_in.clone(),
        );
        service.register(
            "sent_bytes",
            "Bytes of answers' bodies",
            metrics.bytes_out.clone(),
        );
        service.register(
            "cut",
            "Answers cut off because the lease ended",
            metrics.cut.clone(),
        );
        service.register("in_flight", "Requests being answered", metrics.in_flight.clone());
        service.register("streams", "Token streams being served", metrics.streams.clone());
        metrics
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn stream(&self) -> InFlight {
        self.streams.inc();
        InFlight(self.streams.clone())
    }

    pub(crate) fn answered(&self, method: &'static str, route: &'static str, status: StatusCode) {
        let class = match status.as_u16() {
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests
            .get_or_create(&RequestLabels { route, method, class })
            .inc();
    }

    pub(crate) fn received(&self, bytes: u64) {
        self.bytes_in.inc_by(bytes);
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_out.inc_by(bytes);
    }

    pub(crate) fn cut(&self, route: &'static str) {
        self.cut.get_or_create(&RouteLabels { route }).inc();
    }
}

/// Counts as in flight until dropped.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
