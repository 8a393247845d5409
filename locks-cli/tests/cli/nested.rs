//! `locks run` within `locks run`.

use crate::kit::{Place, errors};
use crate::serving::Serving;

/// `locks run` with these options and keys, and within it another one.
fn nested(place: &Place, outer: &[&str], inner: &[&str]) -> std::process::Output {
    let locks = env!("CARGO_BIN_EXE_locks");
    let line = [&["run"][..], outer, &["--", locks, "run"], inner, &["--", "touch", "ran"]];
    place.output(line.concat())
}

#[test]
fn f39_who_asks_for_a_lock_that_it_runs_under_is_told_at_once() {
    for backend in ["file", "net", "unix"] {
        let mut place = Place::new();
        let serving = (backend == "unix").then(|| Serving::on_socket(&place));
        let url = match &serving {
            Some(serving) => serving.urls[0].clone(),
            None => format!("{backend}://{}", place.path("dir").display()),
        };
        place = place.with_url(url);
        for (outer, inner) in [
            (&["a"][..], &["a"][..]),
            (&["b", "a"], &["c", "a"]),
            (&["-s", "a"], &["a"]),
            (&["a"], &["-s", "a"]),
            (&["a"], &["-w", "1h", "a"]),
        ] {
            let output = nested(&place, outer, inner);
            let said = errors(&output);
            assert_eq!(output.status.code(), Some(125), "{backend} {outer:?} {inner:?}: {said}");
            assert!(said.starts_with("locks: `a` is held by "), "{said}");
            assert!(said.contains("the `locks run` around this one"), "{said}");
            assert!(!place.has("ran"));
        }
        let output = nested(&place, &["a"], &["-n", "a"]);
        assert_eq!(output.status.code(), Some(75), "a conflict for who does not wait");
    }
}

#[test]
fn f39_it_is_told_through_others_between() {
    let place = Place::new();
    let locks = env!("CARGO_BIN_EXE_locks");
    let run = |key: &'static str| [locks, "run", key, "--"];
    let line = [&["run", "a", "--"][..], &run("b"), &["sh", "-c", "\"$@\"", "sh"], &run("a")];
    let output = place.output(line.concat().into_iter().chain(["touch", "ran"]));
    assert_eq!(output.status.code(), Some(125), "{}", errors(&output));
    assert!(errors(&output).contains("`a` is held by `locks`"), "{}", errors(&output));
}

#[test]
fn what_is_compatible_nests_and_who_is_on_its_own_waits() {
    let place = Place::new();
    let output = nested(&place, &["-s", "a"], &["-s", "a"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    std::fs::remove_file(place.path("ran")).unwrap();
    // It has left the command that runs under the lock, which ends and does not wait for it.
    let locks = env!("CARGO_BIN_EXE_locks");
    let later = format!("setsid sh -c 'sleep 0.2; exec {locks} run a -- touch ran' & exit 0");
    let output = place.output(["run", "a", "--", "sh", "-c", &later]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    place.content("ran");
}
