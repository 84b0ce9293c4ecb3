//! What is taken of each whole, and who was refused.

use std::sync::atomic::Ordering;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::values::{MetricLabels, count, set};
use crate::admission::{Admission, CallerShare, RequestClass, SharedTotal};

/// The numbers of the admission layer.
#[derive(Default)]
pub(super) struct AdmissionMetrics {
    taken: Family<MetricLabels, Gauge>,
    room: Family<MetricLabels, Gauge>,
    in_flight: Family<MetricLabels, Gauge>,
    by_share: Family<MetricLabels, Counter>,
    beyond: Family<MetricLabels, Counter>,
    gave_way: Counter,
}

impl AdmissionMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register(
            "taken",
            "Used capacity that all callers share: connections, streams, requests in flight, bytes of buffers",
            own.taken.clone(),
        );
        registry.register("room", "Total of that capacity", own.room.clone());
        registry.register("in_flight", "Requests in flight by class", own.in_flight.clone());
        registry.register(
            "refused_by_share",
            "Connections closed and requests refused because their caller was at its share",
            own.by_share.clone(),
        );
        registry.register(
            "refused_beyond",
            "Requests refused because the total was taken",
            own.beyond.clone(),
        );
        registry.register("gave_way", "Connections closed to make room", own.gave_way.clone());
        own
    }

    pub(super) fn observe(&self, admission: &Admission) {
        let (places, streams, flights) = (&admission.places, &admission.streams, &admission.flights);
        let classes = RequestClass::ALL.map(|(name, class)| (name, flights.taken(class)));
        for (name, taken) in classes {
            set(&self.in_flight, ("class", name), taken);
        }
        let in_flight = classes.iter().map(|(_, taken)| taken).sum();
        for (name, taken, whole) in [
            ("connections", places.taken(), places.whole()),
            ("buffers", places.held(), places.most_held()),
            ("streams", streams.taken(), streams.whole()),
            ("in_flight", in_flight, flights.whole()),
        ] {
            set(&self.taken, ("of", name), taken);
            set(&self.room, ("of", name), whole);
        }
        for (name, share) in CallerShare::ALL {
            count(&self.by_share, ("share", name), admission.refused_by(share));
        }
        for (name, whole) in [("streams", SharedTotal::Streams), ("in_flight", SharedTotal::InFlight)] {
            count(&self.beyond, ("of", name), admission.refused_beyond(whole));
        }
        self.gave_way.inner().store(places.gave_way(), Ordering::Relaxed);
    }
}
