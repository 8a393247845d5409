//! `locks release`, `locks clean` and `locks ping`.

use serde_json::{Value, json};

use crate::kit::{Place, errors, words};

#[test]
fn releasing_what_nobody_holds_is_told() {
    let place = Place::new();
    let output = place.output(["release", "a"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors(&output), "locks: nobody holds `a`\n");
    let output = place.output(["release", "--json", "a"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), said), (Some(1), json!({"key": "a", "released": []})));
}

#[test]
fn a_token_names_one_hold() {
    let place = Place::new();
    let holder = place.hold(&["a"]);
    let listed = place.listed();
    let token = listed[0]["holders"][0]["token"].as_u64().unwrap();
    let other = (token + 1).to_string();
    let output = place.output(["release", "a", "--token", &other]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    assert_eq!(place.listed().len(), 1);
    let output = place.output(["release", "a", "--token", &token.to_string()]);
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""));
    assert_eq!(holder.end().status.code(), Some(124));
    let output = place.output(["run", "--no-wait", "a", "--", "true"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn ping_says_what_answers_and_what_it_can_do() {
    let place = Place::new();
    let output = place.output(["ping"]);
    let text = words(&output);
    assert!(text.starts_with("file:") && text.contains("by the kernel"), "{text}");
    let said: Value = serde_json::from_slice(&place.output(["ping", "--json"]).stdout).unwrap();
    assert_eq!(said["can"]["shared"], json!(true), "{said}");
}
