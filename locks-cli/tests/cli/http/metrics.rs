//! Metrics, as Prometheus reads them (N12).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use locks::LostCause;

use super::Watched;

#[test]
fn n12_metrics_agree_with_a_counted_workload() {
    let watched = Watched::start(&[]);
    let (one, two) = (watched.client("one"), watched.client("two"));
    for _ in 0..7 {
        drop(one.named("k").acquire().unwrap());
    }
    let held = one.named("k").acquire().unwrap();
    for _ in 0..3 {
        two.named("k").wait(false).acquire().unwrap_err();
    }
    two.named("k").wait(Duration::from_millis(1)).acquire().unwrap_err();
    let thief = two.named("k").wait(false).steal_after(Duration::ZERO).acquire().unwrap();
    assert!(matches!(
        held.check().unwrap_err().kind(),
        locks::ErrorKind::Lost { cause: LostCause::Stolen }
    ));
    let shared =
        [one.named("s").shared().acquire().unwrap(), two.named("s").shared().acquire().unwrap()];
    let permit = one.named("p").permits(2).acquire().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| drop(one.named("k").acquire().unwrap()));
        let status = || watched.metrics(|it| it["locks_waiters"] == 1.0);
        let seen = status();
        assert_eq!(
            (seen["locks_keys"], seen["locks_holds"], seen["locks_sessions"]),
            (3.0, 4.0, 2.0)
        );
        drop(thief);
        waits.join().unwrap();
    });
    let seen = watched.metrics(|it| it["locks_releases_total"] == 9.0);
    for (name, expected) in [
        ("locks_grants_total{mode=\"exclusive\"}", 10.0),
        ("locks_grants_total{mode=\"shared\"}", 2.0),
        ("locks_grants_total{mode=\"permit\"}", 1.0),
        ("locks_refusals_total{reason=\"contended\"}", 3.0),
        ("locks_refusals_total{reason=\"timeout\"}", 1.0),
        ("locks_refusals_total{reason=\"deadlock\"}", 0.0),
        ("locks_losses_total{cause=\"stolen\"}", 1.0),
        ("locks_losses_total{cause=\"expired\"}", 0.0),
        ("locks_waits_total", 2.0),
        ("locks_evictions_total", 0.0),
        ("locks_sessions_total", 2.0),
        ("locks_sessions_connected", 2.0),
        ("locks_waiters", 0.0),
        ("locks_holds", 3.0),
        ("locks_ready", 1.0),
        ("locks_wait_duration_seconds_count", 1.0),
        ("locks_hold_duration_seconds_count", 10.0),
    ] {
        assert_eq!(seen[name], expected, "{name}");
    }
    let labels = seen.keys().filter(|name| name.contains('{')).count();
    assert!(
        labels < 64 && !seen.keys().any(|name| name.contains("\"k\"")),
        "labels from fixed sets"
    );
    drop((shared, permit));
}

/// The samples of a text in Prometheus' format, after a look at its rules.
pub(super) fn linted(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n') && text.is_ascii(), "lines end, and names are plain");
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let (mut samples, mut families, mut help) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').expect(line);
            assert!(is_name(name) && words.ends_with('.'), "{line}");
            assert!(help.insert(name.to_owned()), "one HELP for each family: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(help.contains(name), "HELP comes before TYPE: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(!["_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end)), "{line}");
            assert_eq!(families.insert(name.to_owned(), kind.to_owned()), None, "{line}");
            name.clone_into(&mut current);
        } else {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let name = sample.split('{').next().unwrap();
            let kind = families.get(&current).expect("TYPE comes before samples");
            let family = match kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .expect(line),
                _ => name,
            };
            assert_eq!(family, current, "samples of a family stand together");
            if let Some(labels) = sample.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let inside = labels.strip_prefix("{").and_then(|it| it.strip_suffix("}"));
                for label in inside.expect(line).split(',') {
                    let (label, text) = label.split_once('=').expect(line);
                    assert!(
                        is_name(label) && text.starts_with('"') && text.ends_with('"'),
                        "{line}"
                    );
                    assert_eq!(label == "le", name.ends_with("_bucket"), "{line}");
                }
            }
            let value: f64 = value.parse().expect(line);
            assert!(value >= 0.0, "{line}");
            assert_eq!(samples.insert(sample.to_owned(), value), None, "each sample once: {line}");
        }
    }
    assert_eq!(families.len(), help.len());
    for (family, kind) in &families {
        if kind == "histogram" {
            let mut below = 0.0;
            for line in text.lines().filter(|line| line.starts_with(&format!("{family}_bucket"))) {
                let (_, value) = line.rsplit_once(' ').unwrap();
                let value: f64 = value.parse().unwrap();
                assert!(value >= below, "buckets are cumulative: {line}");
                below = value;
            }
            let all = samples[&format!("{family}_bucket{{le=\"+Inf\"}}")];
            assert_eq!(all, samples[&format!("{family}_count")], "{family}");
            assert!(samples.contains_key(&format!("{family}_sum")));
        }
    }
    samples
}
