//! What is counted, in Prometheus' text format. Labels come from fixed sets: no key, no client.

use std::fmt::Write;
use std::time::Duration;

use hyper::StatusCode;
use locks::net::{Histogram, Observation};

use super::response::{Answer, failure, with_type};
use super::seen::Seen;

pub(super) async fn answer(seen: &Seen) -> Answer {
    match seen.figures().await {
        Ok(snapshot) => {
            with_type("text/plain; version=0.0.4; charset=utf-8", text(&snapshot.observation))
        }
        Err(why) => failure(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// The whole text.
pub(super) fn text(seen: &Observation) -> String {
    let mut out = Text(String::new());
    let figures = &seen.figures;
    out.family("locks_grants_total", "counter", "Locks and permits that were granted, by mode.");
    out.labelled(
        "locks_grants_total",
        "mode",
        &[
            ("exclusive", figures.exclusive),
            ("shared", figures.shared),
            ("permit", figures.permits),
        ],
    );
    let refusals = &figures.refusals;
    out.family("locks_refusals_total", "counter", "Requests that were refused, by reason.");
    out.labelled(
        "locks_refusals_total",
        "reason",
        &[
            ("contended", refusals.contended),
            ("timeout", refusals.timeout),
            ("deadlock", refusals.deadlock),
            ("limit", refusals.limit),
            ("unavailable", refusals.unavailable),
            ("other", refusals.other),
        ],
    );
    let losses = &figures.losses;
    out.family(
        "locks_losses_total",
        "counter",
        "Holds that were taken away from their clients, by cause; stolen ones are steals.",
    );
    out.labelled(
        "locks_losses_total",
        "cause",
        &[
            ("stolen", losses.stolen),
            ("held_too_long", losses.held_too_long),
            ("expired", losses.expired),
            ("evicted", losses.evicted),
            ("session_ended", losses.session_ended),
            ("other", losses.other),
        ],
    );
    for (name, help, value) in [
        (
            "locks_waits_total",
            "Requests that were queued, since somebody was in the way.",
            figures.waits,
        ),
        ("locks_releases_total", "Holds that their clients gave up.", figures.releases),
        (
            "locks_evictions_total",
            "Administrative releases of holds and reservations.",
            figures.evictions,
        ),
        ("locks_sessions_total", "Sessions that clients began.", figures.sessions),
    ] {
        out.one(name, "counter", help, value);
    }
    for (name, help, value) in [
        ("locks_sessions", "Sessions, connected or not.", seen.status.sessions),
        ("locks_sessions_connected", "Sessions that are connected.", seen.connected),
        ("locks_keys", "Keys that are held, waited for or reserved.", seen.status.keys),
        ("locks_holds", "Guards that are held, each of one key or of several.", seen.holds),
        ("locks_waiters", "Requests that wait.", seen.status.waiters),
        (
            "locks_ready",
            "1 if new locks are granted, else 0.",
            u64::from(!seen.stalled && seen.recovering.is_none()),
        ),
    ] {
        out.one(name, "gauge", help, value);
    }
    out.histogram(
        "locks_wait_duration_seconds",
        "How long the granted ones among the queued requests had waited.",
        &figures.waited,
    );
    out.histogram(
        "locks_hold_duration_seconds",
        "How long holds lasted, from the grant, or the server's start, to their end.",
        &figures.held,
    );
    out.family("locks_uptime_seconds", "gauge", "How long this server has been serving.");
    out.sample("locks_uptime_seconds", "", &seconds(seen.status.serving_for));
    out.family("locks_build_info", "gauge", "1, with the server's version as a label.");
    let version = seen.status.version.replace(['\\', '"', '\n'], "_");
    out.sample("locks_build_info", &format!("{{version=\"{version}\"}}"), "1");
    out.0
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: &str) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, "", &value.to_string());
    }

    fn labelled(&mut self, name: &str, label: &str, values: &[(&str, u64)]) {
        for (value, count) in values {
            self.sample(name, &format!("{{{label}=\"{value}\"}}"), &count.to_string());
        }
    }

    fn histogram(&mut self, name: &str, help: &str, of: &Histogram) {
        self.family(name, "histogram", help);
        let bounds = Histogram::BOUNDS.into_iter().map(seconds).chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(of.counts()) {
            below += count;
            self.sample(
                &format!("{name}_bucket"),
                &format!("{{le=\"{bound}\"}}"),
                &below.to_string(),
            );
        }
        self.sample(&format!("{name}_sum"), "", &seconds(of.sum()));
        self.sample(&format!("{name}_count"), "", &below.to_string());
    }
}

/// Without the inexactness that fractions have as binary numbers.
fn seconds(time: Duration) -> String {
    let text = format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
