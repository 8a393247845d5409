#[cfg(any(feature = "file", feature = "net"))]
use std::env;

use super::options::decode;
use super::*;

fn text(url: &str) -> String {
    let error = open(url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConfigured, "{url}");
    error.to_string()
}

#[test]
fn memory_without_options_is_the_engine_itself() {
    for url in ["memory:", "MEMORY:", "memory://", "memory:?", "memory:?&"] {
        let backend = open(url).unwrap();
        assert_eq!(format!("{backend:?}"), format!("{:?}", Backend::process()), "{url}");
    }
}

#[test]
fn an_unknown_scheme_names_the_known_ones() {
    let text = text("mysql://root:hunter2@db/locks");
    assert!(text.starts_with("`mysql:` is no scheme known here; use `memory:`"), "{text}");
    for scheme in SCHEMES {
        assert!(text.contains(&format!("`{}:`", scheme.name)), "{}: {text}", scheme.name);
    }
}

#[test]
fn a_scheme_that_is_misspelt_is_told_the_nearest_one() {
    for (url, meant) in [
        ("fiel:///tmp/hunter2", "file"),
        ("lock://hunter2", "locks"),
        ("Reddis://hunter2", "redis"),
        ("postgress://hunter2/x", "postgres"),
        ("unxi:", "unix"),
        ("ecd://hunter2", "etcd"),
    ] {
        let scheme = url.split(':').next().unwrap();
        let expected = format!("`{scheme}:` is no scheme known here: did you mean `{meant}:`?");
        assert_eq!(text(url), expected, "{url}");
    }
    for url in ["http://hunter2", "mysql://db", "tcp://db", "a:", "x-very-long-scheme:"] {
        assert!(!text(url).contains("did you mean"), "{url}: {}", text(url));
    }
    let error = parse("memori:", Asks::Command).err().unwrap().to_string();
    assert!(!error.contains("memory"), "the command has no use for it: {error}");
}

#[test]
fn a_host_is_told_that_its_scheme_is_missing() {
    for url in ["localhost:6379", "db.example:5432"] {
        assert!(
            text(url).contains("write a scheme and `//` before a host; use `"),
            "{}",
            text(url)
        );
    }
    for url in ["127.0.0.1:6379", "[::1]:6379", ""] {
        let text = text(url);
        assert!(text.contains("use `memory:`") && text.len() < 300, "{} of {text}", text.len());
    }
}

#[test]
fn a_path_is_told_what_makes_it_a_url() {
    let text = text("/var/lock/hunter2");
    assert!(text.contains("write `file://` before a directory"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_name_of_a_scheme_is_told_its_colon() {
    assert_eq!(text("Memory"), "not a URL: write `memory:`, with a colon");
    assert!(text("memories").contains("begins with no scheme"), "{}", text("memories"));
}

#[test]
fn letters_that_came_by_accident_are_no_part_of_a_url() {
    let accidents = [
        ("U\n", "a line break stands at the end of the URL: take it away, or write it as `%0A`"),
        ("U\r\n", "a line break stands at the end of the URL"),
        ("U\r", "a line break stands at the end of the URL: take it away, or write it as `%0D`"),
        ("U ", "a blank stands at the end of the URL: take it away, or write it as `%20`"),
        ("U\t", "a tab stands at the end of the URL: take it away, or write it as `%09`"),
        (
            "U\u{a0}",
            "a blank (U+00A0) stands at the end of the URL: take it away, or write it as `%C2%A0`",
        ),
        ("U\0", "a control character (U+0000) stands at the end of the URL"),
        (" U", "a blank stands at the beginning of the URL"),
        ("\nU", "a line break stands at the beginning of the URL"),
        ("\"U\"", "the quotes around it are a part of it: write it without them"),
        ("'U'", "the quotes around it are a part of it"),
        ("\u{201c}U\u{201d}", "the quotes around it are a part of it"),
    ];
    for scheme in SCHEMES {
        let usual = format!("{}://hunter2/0?namespace=hunter2", scheme.name);
        for (accident, expected) in accidents {
            let url = accident.replace('U', &usual);
            let text = text(&url);
            assert!(text.contains(expected) && !text.contains("hunter2"), "{url:?}: {text}");
        }
    }
    for (url, expected) in [
        (" ", "a blank stands at the beginning of the URL"),
        ("memory:?wait=1s\n&lease=2s", "a line break stands in the URL, as its character 16"),
        (
            "memory:?wait=1s&\u{1b}[0m",
            "a control character (U+001B) stands in the URL, as its character 17",
        ),
    ] {
        assert!(text(url).contains(expected), "{url:?}: {}", text(url));
    }
}

/// The same with what is meant to be a part of it.
#[cfg(feature = "file")]
#[test]
fn blanks_that_are_meant_name_a_directory() {
    let directory = env::temp_dir().join(format!("locks-url-blanks-{}", std::process::id()));
    for (name, called) in [("a b%20", "a b "), ("%0Ac", "\nc")] {
        let backend = open(&format!("file://{}/{name}", directory.display())).unwrap();
        assert_eq!(backend.about().name, format!("file://{}/{called}", directory.display()));
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_known_scheme_that_is_missing_says_why() {
    for scheme in SCHEMES {
        let Err(Missing(why)) = &scheme.open else { continue };
        let text = text(&format!("{}://somewhere", scheme.name));
        assert!(text.contains(why) && text.contains(scheme.serves), "{text}");
    }
}

#[test]
fn errors_repeat_no_secret() {
    for url in [
        "mysql://root:hunter2@db/",
        "redis://:hunter2@db/",
        "hunter2",
        "memory:hunter2",
        "memory:?password=hunter2",
        "memory:?wait=hunter2",
        "memory:?lease=hunter2",
    ] {
        assert!(!text(url).contains("hunter2"), "{}", text(url));
    }
}

#[test]
fn options_that_are_wrong_name_those_that_are_right() {
    for (url, expected) in [
        ("memory:?waits=1s", "no option `waits`: there are `wait`, `lease` and `namespace`"),
        (
            "memory:?wait",
            "option `wait`: it is `true`, `false` or a duration, which is a number and a unit",
        ),
        (
            "memory:?wait=5",
            "option `wait`: it is `true`, `false` or a duration, which is a number and a unit",
        ),
        ("memory:?wait=0.5s", "option `wait`: a duration has whole numbers, as `500ms` instead of"),
        (
            "memory:?wait=18446744073709551615s",
            "option `wait`: it is too long: a duration has at most",
        ),
        ("memory:?lease=0s", "option `lease`: it has to be longer than 0"),
        ("memory:?lease=1", "option `lease`: a duration is a number and a unit"),
        ("memory:?lease=1.5s", "option `lease`: a duration has whole numbers"),
        ("memory:?wait=1s&wait=2s", "option `wait` is given twice"),
        ("memory:?namespace=", "option `namespace` is empty"),
        ("memory:?namespace=a/b", "option `namespace` must not contain `/`"),
        ("memory:?namespace=%zz", "option `namespace`: not percent-encoded UTF-8"),
        ("memory:/tmp", "`memory:` is this process"),
        (":", "not a URL"),
    ] {
        assert!(text(url).contains(expected), "{url}: {}", text(url));
    }
}

#[cfg(feature = "file")]
#[test]
fn file_urls_say_what_is_wrong_with_them() {
    for (url, expected) in [
        ("file:relative/dir", "`file:` takes an absolute path, as in `file:///var/lock/app`"),
        ("file://host/dir", "`file:` takes an absolute path"),
        ("file:///", "`file:` takes an absolute path"),
        ("file:/", "`file:` takes an absolute path"),
        ("file:///tmp/%ff", "its path is not percent-encoded UTF-8"),
        ("file:///tmp?user=several", "`namespace`, `label`, `users` and `network_fs`"),
        ("file:///tmp?users=all", "option `users` wants `several`"),
        ("file:///tmp?network_fs=yes", "option `network_fs` wants `allow`"),
        ("file:///tmp?label=a&label=b", "option `label` is given twice"),
    ] {
        assert!(text(url).contains(expected), "{url}: {}", text(url));
    }
}

#[cfg(feature = "file")]
#[test]
fn file_urls_name_a_directory() {
    let directory = env::temp_dir().join(format!("locks url é {}", std::process::id()));
    let encoded = directory.display().to_string().replace(' ', "%20").replace('é', "%C3%A9");
    for url in [format!("file://{encoded}"), format!("file:{encoded}?label=x&users=several")] {
        let backend = open(&url).unwrap();
        assert_eq!(backend.about().name, format!("file://{}", directory.display()));
    }
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn values_are_percent_decoded() {
    assert_eq!(decode("a%2Fb%c3%A9").as_deref(), Some("a/bé"));
    for wrong in ["%", "%4", "%g0", "%ff"] {
        assert_eq!(decode(wrong), None, "{wrong}");
    }
}

#[cfg(feature = "net")]
#[test]
fn net_urls_say_what_is_wrong_with_them() {
    for (url, expected) in [
        ("net:relative", "`net:` takes an absolute path, as in `net:///var/lib/app/locks`"),
        ("net://host/dir", "`net:` takes an absolute path"),
        ("net:///tmp?serve=never", "option `serve` wants `yes` or `no`"),
        ("net:///tmp?connect=0s", "option `connect`: it has to be longer than 0"),
        ("net:///tmp?users=several", "`namespace`, `label`, `connect` and `serve`"),
        ("unix:locks.sock", "`unix:` takes an absolute path, as in `unix:///run/locks/locks.sock`"),
        ("unix:///run/locks.sock?serve=no", "no option `serve`"),
        ("unix:///run/locks.sock?user=me", "option `user` wants the number of a user"),
    ] {
        assert!(text(url).contains(expected), "{url}: {}", text(url));
    }
}

#[cfg(feature = "tcp")]
#[test]
fn locks_urls_say_what_is_wrong_with_them() {
    for (url, expected) in [
        ("locks:", "`locks:` takes a host"),
        ("locks://127.0.0.1:7420/locks", "`locks:` takes a host"),
        ("locks://127.0.0.1:99999", "a port of `locks:` is no number"),
        ("locks://localhost:0", "a port of `locks:` is no number"),
        ("locks://[::1]:http", "a port of `locks:` is no number"),
        ("locks://a:1,b:2", "`locks:` takes one host"),
        ("locks://:7420", "`locks:` takes a host"),
        ("locks://127.0.0.1:7420?users=1", "`secret_file`, `ca`, `pin`, `cert` and `key`"),
        ("locks://host?cert=/a", "options `cert` and `key` go together"),
        ("locks://host?cert=/none&key=/none", "`/none` cannot be read"),
        ("locks://host?secret_file=/none", "make one for it with `locks secret`"),
    ] {
        assert!(text(url).contains(expected), "{url}: {}", text(url));
    }
}

/// Where a host is named: what stands before it, and behind it.
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis", feature = "tcp"))]
const HOSTS: &[(&str, &str)] = &[
    #[cfg(feature = "tcp")]
    ("locks://", ""),
    #[cfg(feature = "redis")]
    ("redis://", "/0"),
    #[cfg(feature = "redis")]
    ("redis://app@db,", "/0?sentinel=mymaster"),
    #[cfg(feature = "postgres")]
    ("postgres://app@", "/x?sslmode=disable"),
    #[cfg(feature = "postgres")]
    ("postgres:///x?host=", "&sslmode=disable"),
    #[cfg(feature = "postgres")]
    ("postgres://127.0.0.1/x?listen=", ""),
    #[cfg(feature = "etcd")]
    ("etcd://", "/billing"),
];

#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis", feature = "tcp"))]
#[test]
fn an_address_with_colons_wants_brackets_wherever_a_host_is_named() {
    for (before, behind) in HOSTS {
        for (host, expected) in [
            ("2001:db8::1", "stands in brackets before its port, as in `"),
            ("2001:db8::5:1", "stands in brackets before its port"),
            ("::1", "stands in brackets before its port"),
            ("[::1:7391", "stands in brackets before its port"),
            ("::1]:7391", "stands in brackets before its port"),
            ("[::1]x:7391", "stands in brackets before its port"),
            ("[]:7391", "stands in brackets before its port"),
            ("[db]:7391", "stands in brackets before its port"),
            ("a b:7391", "has a blank in it"),
            ("db:", "is no number from 1 to 65535"),
        ] {
            let url = format!("{before}{host}{behind}");
            assert!(text(&url).contains(expected), "{url}: {}", text(&url));
        }
        for host in ["[2001:db8::1]", "[2001:db8::1]:7391"] {
            let url = format!("{before}{host}{behind}");
            // That of a lock server has no secret.
            let said = open(&url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(said.is_empty() || said.contains("needs the server's secret"), "{url}: {said}");
        }
    }
}

#[cfg(feature = "tcp")]
#[test]
fn a_secret_in_a_url_is_refused_with_where_to_put_it_and_not_repeated() {
    for url in [
        "locks://me:hunter2@127.0.0.1:7420",
        "locks://hunter2@localhost",
        "locks://me:4242/hunter2@localhost",
        "locks://127.0.0.1:7420?secret=hunter2",
        "locks://127.0.0.1:7420?password=hunter2",
        "locks://127.0.0.1:7420?connect=hunter2&secret_file=/dev/null",
    ] {
        let text = text(url);
        assert!(!text.contains("hunter2"), "{text}");
    }
    for url in ["locks://me:pw@127.0.0.1", "locks://localhost?secret=pw"] {
        let text = text(url);
        assert!(text.contains("`?secret_file=/path`") && text.contains("`LOCKS_SECRET`"), "{text}");
    }
}

#[cfg(feature = "net")]
#[test]
fn net_urls_name_what_they_reach() {
    let directory = env::temp_dir().join(format!("locks url net {}", std::process::id()));
    let path = directory.display().to_string();
    let encoded = path.replace(' ', "%20");
    for (url, name) in [
        (format!("net://{encoded}?serve=no"), format!("net://{path}")),
        (format!("net:{encoded}?label=x&connect=1s&lease=5s"), format!("net://{path}")),
        (format!("unix://{encoded}/s.sock?connect=500ms"), format!("unix://{path}/s.sock")),
    ] {
        assert_eq!(open(&url).unwrap().about().name, name, "{url}");
    }
    assert!(!directory.exists(), "opening a URL makes nothing");
}

#[cfg(feature = "tcp")]
#[test]
fn a_server_is_named_by_its_host_and_a_secret_by_its_file() {
    use std::os::unix::fs::OpenOptionsExt as _;

    let file = env::temp_dir().join(format!("locks-url-secret-{}", std::process::id()));
    let mut created = std::fs::File::options();
    let mut created = created.write(true).create_new(true).mode(0o600).open(&file).unwrap();
    std::io::Write::write_all(&mut created, "ab".repeat(32).as_bytes()).unwrap();
    for (host, name) in [
        ("127.0.0.1:7000", "locks://127.0.0.1:7000"),
        ("127.0.0.1", "locks://127.0.0.1:7420"),
        ("localhost", "locks://localhost:7420"),
        ("locks.example.org:7001/", "locks://locks.example.org:7001"),
        ("[::1]:7000", "locks://[::1]:7000"),
        ("[::1]", "locks://[::1]:7420"),
    ] {
        let backend = open(&format!("locks://{host}?secret_file={}", file.display())).unwrap();
        assert_eq!(backend.about().name, name);
    }
    for (option, expected) in [
        ("pin=ab", "option `pin`: a fingerprint of a certificate has 64"),
        ("ca=/none", "`/none` cannot be read"),
    ] {
        let url = format!("locks://host?secret_file={}&{option}", file.display());
        assert!(text(&url).contains(expected), "{url}: {}", text(&url));
    }
    std::fs::remove_file(file).unwrap();
}
