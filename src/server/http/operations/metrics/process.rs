//! The figures of the process, under the names that Prometheus's own libraries give them.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::process::ProcessUsage;

/// Read at each scrape. On a system without them there are none.
#[derive(Debug)]
pub(super) struct ProcessFigures;

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(figures) = ProcessUsage::now() else { return Ok(()) };
        let cpu = ConstCounter::new(figures.cpu_seconds);
        let about_cpu = "Processor time of the process, in user and system mode";
        let counter =
            encoder.encode_descriptor("process_cpu_seconds", about_cpu, None, MetricType::Counter)?;
        cpu.encode(counter)?;
        for (name, about, value) in [
            ("process_resident_memory_bytes", "Resident memory of the process", figures.resident_bytes),
            ("process_virtual_memory_bytes", "Virtual memory of the process", figures.virtual_bytes),
            ("process_open_fds", "Open descriptors of the process", figures.open_descriptors),
            ("process_max_fds", "Maximum open descriptors of the process", figures.max_descriptors),
        ] {
            let gauge = encoder.encode_descriptor(name, about, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(gauge)?;
        }
        let about_start = "When the process started, in seconds of Unix time";
        let start = ConstGauge::new(figures.start_seconds);
        start.encode(encoder.encode_descriptor(
            "process_start_time_seconds",
            about_start,
            None,
            MetricType::Gauge,
        )?)
    }
}
