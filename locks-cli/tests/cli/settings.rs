//! What `locks serve` is told, by whom, and what is wrong with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::kit::Place;
use crate::serving::{Serving, command, refusal, socket};

fn address(place: &Place, name: &str) -> String {
    format!("unix:{}", place.path(name).display())
}

fn url(place: &Place, name: &str) -> String {
    format!("unix://{}", place.path(name).display())
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let place = Place::new();
    fs::write(place.path("serve.toml"), format!("listen = {:?}", address(&place, "by-file")))
        .unwrap();
    let serving = |flag: bool, variable: bool| {
        let mut command = command(&place, &["--config", "serve.toml"]);
        if flag {
            command.args(["--listen", &address(&place, "by-flag")]);
        }
        if variable {
            command.env("LOCKS_SERVE_LISTEN", address(&place, "by-variable"));
        }
        Serving::start(&mut command).urls
    };
    assert_eq!(serving(false, false), [url(&place, "by-file")]);
    assert_eq!(serving(false, true), [url(&place, "by-variable")]);
    assert_eq!(serving(true, true), [url(&place, "by-flag")]);
}

#[test]
fn the_environment_names_a_file_as_well() {
    let place = Place::new();
    fs::write(place.path("a.toml"), format!("listen = {:?}", address(&place, "a"))).unwrap();
    fs::write(place.path("b.toml"), format!("listen = {:?}", address(&place, "b"))).unwrap();
    let mut by_variable = command(&place, &[]);
    let serving = Serving::start(by_variable.env("LOCKS_SERVE_CONFIG", "a.toml"));
    assert_eq!(serving.urls, [url(&place, "a")]);
    drop(serving);
    let mut by_flag = command(&place, &["--config", "b.toml"]);
    let serving = Serving::start(by_flag.env("LOCKS_SERVE_CONFIG", "a.toml"));
    assert_eq!(serving.urls, [url(&place, "b")]);
}

#[test]
fn a_file_that_makes_no_sense_is_told_with_what_would() {
    let place = Place::new();
    for (text, expected) in [
        ("listn = 'unix:'", "no setting `listn`: there are `listen`, `secret_file`, `clients`"),
        ("secret = 'hunter2'", "no setting `secret`"),
        ("[limits]\nlocks = 3", "no limit `locks`: there are `sessions`"),
        ("listen = ", "line 1"),
    ] {
        fs::write(place.path("bad.toml"), text).unwrap();
        let said = refusal(&mut command(&place, &["--config", "bad.toml"]));
        assert!(said.contains("settings in `bad.toml`") && said.contains(expected), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let said = refusal(&mut command(&place, &["--config", "none.toml"]));
    assert!(said.contains("settings in `none.toml`: No such file"), "{said}");
}

#[test]
fn whoever_says_nonsense_is_named() {
    let place = Place::new();
    let said = refusal(&mut command(&place, &["--listen", "127.0.0.1:7420"]));
    assert!(said.contains("`--listen`: an address is `unix:/path`"), "{said}");
    let said = refusal(&mut command(&place, &["--limit", "keys"]));
    assert!(said.contains("`--limit`: a limit is `NAME=VALUE`"), "{said}");
    let said = refusal(command(&place, &[]).env("LOCKS_SERVE_LEASE", "5"));
    assert!(said.contains("`LOCKS_SERVE_LEASE`: a duration is"), "{said}");
    let said = refusal(&mut command(&place, &["--listen", &socket(&place), "--lease", "2h"]));
    assert!(said.contains("lease"), "{said}");
}

#[test]
fn n5_a_newcomer_gets_in_from_elsewhere_by_a_secret_alone() {
    let place = Place::new();
    assert!(place.output(["secret", "--out", "s"]).status.success());
    let serving =
        Serving::start(&mut command(&place, &["--listen", "tcp:0.0.0.0:0", "--secret-file", "s"]));
    let port = serving.urls[0].rsplit_once(':').unwrap().1.to_owned();
    let url = format!("locks://localhost:{port}?secret_file={}", place.path("s").display());
    let place = place.with_url(url);
    let output = place.output(["run", "k", "--", "true"]);
    assert!(output.status.success(), "{output:?}");
    let said = refusal(&mut command(
        &place,
        &["--listen", "tcp:0.0.0.0:0", "--secret-file", "s", "--cert", "c"],
    ));
    assert!(said.contains("`cert` and `key` go together"), "{said}");
}

#[test]
fn n5_tcp_takes_a_secret_that_nobody_else_can_read() {
    let place = Place::new();
    let tcp = ["--listen", "tcp:127.0.0.1:0"];
    let mut without = command(&place, &tcp);
    let said = refusal(without.env_remove("LOCKS_SECRET"));
    assert!(said.contains("`locks secret --out FILE`") && said.contains("--secret-file"), "{said}");
    assert!(place.output(["secret", "--out", "s"]).status.success());
    let with = [tcp[0], tcp[1], "--secret-file", "s"];
    fs::set_permissions(place.path("s"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = refusal(&mut command(&place, &with));
    assert!(said.contains("`chmod 6"), "{said}");
    fs::set_permissions(place.path("s"), fs::Permissions::from_mode(0o600)).unwrap();
    let serving = Serving::start(&mut command(&place, &with));
    assert!(serving.urls[0].starts_with("locks://127.0.0.1:"), "{:?}", serving.urls);
    assert!(!serving.urls[0].ends_with(":0"), "the port that it has got: {:?}", serving.urls);
    drop(serving);
    let secret = place.content("s");
    let mut by_environment = command(&place, &tcp);
    drop(Serving::start(by_environment.env("LOCKS_SECRET", secret.trim())));
    let said = refusal(command(&place, &tcp).env("LOCKS_SECRET", "hunter2"));
    assert!(said.contains("`LOCKS_SECRET`") && !said.contains("hunter2"), "{said}");
}
