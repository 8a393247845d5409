//! What locks tell of themselves: metrics as Prometheus reads them, and events in the spans of OpenTelemetry.

use std::sync::{Arc, Mutex};

use locks::{LockError, lock};
use metrics_exporter_prometheus::PrometheusBuilder;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::Level;
use tracing_subscriber::filter::Targets;
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
    let recorder = PrometheusBuilder::new().install_recorder()?;
    locks::describe_metrics(); // after the recorder is there

    let kept = Kept::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build();
    let to_spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("billing"));
    let of_locks = Targets::new().with_target("locks", Level::TRACE).with_default(Level::INFO);
    tracing_subscriber::registry().with(to_spans).with(of_locks).init();

    tracing::info_span!("request").in_scope(|| {
        // The second comes while the first is at it.
        pay(17, || assert!(pay(17, || ()).unwrap_err().is_contended()))
    })?;
    provider.shutdown()?;

    // A service answers `/metrics` with this.
    let metrics = recorder.render();
    println!("{metrics}");
    for line in ["# HELP locks_acquired_total Locks that were acquired.", "# TYPE locks_held gauge"]
    {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    assert!(metrics.contains("cause=\"contended\"} 1"), "one was refused");

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
