//! `locks secret`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::kit::{Place, errors, words};

fn is_secret(text: &str) -> bool {
    let digits = text.trim_end();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn n5_each_secret_is_another_one() {
    let place = Place::new();
    let [one, other] = [(); 2].map(|()| words(&place.output(["secret"])));
    assert!(is_secret(&one) && is_secret(&other) && one != other);
    let json: serde_json::Value =
        serde_json::from_str(&words(&place.output(["secret", "--json"]))).unwrap();
    assert!(is_secret(json["secret"].as_str().unwrap()));
}

#[test]
fn n5_a_file_is_closed_to_others_and_never_overwritten() {
    let place = Place::new();
    let output = place.output(["secret", "--out", "s"]);
    assert_eq!((output.status.code(), words(&output).as_str()), (Some(0), ""));
    let written = place.content("s");
    assert!(is_secret(&written));
    let mode = fs::metadata(place.path("s")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let output = place.output(["secret", "--out", "s"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(errors(&output).contains("`s` is there already"), "{}", errors(&output));
    assert_eq!(place.content("s"), written);
    let output = place.output(["secret", "--out", "no/s"]);
    assert_eq!(output.status.code(), Some(125), "{}", errors(&output));
}
