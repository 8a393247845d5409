//! What locks tell of themselves: metrics as Prometheus reads them, and events in the spans of
//! OpenTelemetry.

use std::sync::{Arc, Mutex};

use locks::{LockError, lock};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing_subscriber::prelude::*;

#[lock("invoice:{number}", wait = false, label = format!("order {number}"))]
fn pay(number: u32, then: impl FnOnce()) -> Result<(), LockError> {
    then();
    Ok(())
}

/// Keeps the spans where this program can look at them. A service has an exporter that sends them.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ours = Matcher::Prefix("locks_".to_owned()); // and no histograms of others
    let seconds = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0];
    let builder = PrometheusBuilder::new().set_buckets_for_metric(ours, &seconds)?;
    let recorder = builder.install_recorder()?;
    locks::describe_metrics(); // after the recorder is there

    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let tracer = provider.tracer("billing"); // of opentelemetry_sdk's `SdkTracerProvider`
    let of_locks = tracing_subscriber::filter::Targets::new()
        .with_target("locks", tracing::Level::TRACE) // `acquired` and `released` too
        .with_default(tracing::Level::INFO); // your own spans: without one, an event has no place to go
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(of_locks)
        .init();

    tracing::info_span!("request").in_scope(|| {
        // The second comes while the first is at it.
        pay(17, || assert!(pay(17, || ()).unwrap_err().is_contended()))
    })?;
    provider.shutdown()?;

    recorder.run_upkeep(); // every few seconds: it takes histograms in
    let metrics = recorder.render(); // what a service answers to `/metrics`
    println!("{metrics}");
    for line in [
        "# HELP locks_acquired_total Locks that were acquired.",
        "# TYPE locks_held gauge",
        "# TYPE locks_hold_seconds histogram",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    assert!(metrics.contains("cause=\"contended\"} 1"), "one was refused");
    assert!(metrics.contains("locks_hold_seconds_bucket{"), "a histogram has buckets");

    let mut events = Vec::new();
    for span in kept.0.lock().unwrap().iter() {
        println!("span `{}`", span.name);
        for event in span.events.iter() {
            let fields = event.attributes.iter();
            let fields = fields.map(|field| format!("{}={}", field.key, field.value));
            let fields = fields.collect::<Vec<_>>().join(" ");
            println!("  {}: {fields}", event.name);
            events.push(format!("{}: {fields}", event.name));
        }
    }
    let told = |what: &str| events.iter().filter(|event| event.starts_with(what)).count();
    assert_eq!([told("acquired: "), told("not acquired: "), told("released: ")], [1, 1, 1]);
    assert!(events.iter().all(|event| event.contains("label=order 17")));
    Ok(())
}
