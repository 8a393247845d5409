//! The tables of the docs, held against the code.

use std::collections::BTreeSet;

/// The names in backticks that begin the rows of a table, without its head.
fn rows(page: &str) -> BTreeSet<&str> {
    let names = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.collect()
}

#[test]
fn every_feature_of_the_crate_is_in_the_table_of_the_front_page() {
    let manifest = include_str!("../../Cargo.toml");
    let features = manifest.split("\n[features]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let features = features.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
    let features = features.filter(|name| !name.starts_with('#') && *name != "default").collect();
    assert_eq!(rows(include_str!("../../src/features.md")), features);
}

/// The cells of the table on the page `choosing` whose rows are capabilities: by backend and row.
#[cfg(all(
    feature = "etcd",
    feature = "file",
    feature = "postgres",
    feature = "redis",
    feature = "tcp"
))]
mod choosing {
    use locks::backend::Capabilities;

    fn open(url: &str) -> Capabilities {
        locks::open(url).unwrap().about().capabilities
    }

    /// The URL of each column. The server needs a secret, and is not asked.
    fn backends(directory: &std::path::Path) -> Vec<Capabilities> {
        let secret = directory.join("secret");
        std::fs::write(&secret, format!("{}\n", "ab".repeat(32))).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, private).unwrap();
        let shown = directory.display();
        vec![
            open("memory:"),
            open(&format!("file://{shown}/files")),
            open(&format!("net://{shown}/net?serve=no")),
            open(&format!("locks://127.0.0.1:1?secret_file={shown}/secret")),
            open("redis://127.0.0.1:1"),
            open("postgres://app@127.0.0.1:1/billing"),
            open("etcd://127.0.0.1:1"),
        ]
    }

    fn cell(row: &str, can: &Capabilities) -> Option<String> {
        let yes = |can: bool| if can { "yes" } else { "no" }.to_owned();
        Some(match row {
            "exclusion by" => format!("`{:?}`", can.exclusion),
            "tokens grow for as long as" => format!("`{:?}`", can.tokens),
            "order of waiters" => format!("`{:?}`", can.order),
            "`shared`" => yes(can.shared),
            "`permits`" => yes(can.permits),
            "`take`: several permits for one hold" => yes(can.several_permits),
            "`steal_after`" => yes(can.steal),
            "`reentrant`" => yes(can.reentrant),
            "`shared_owner`" => yes(can.shared_owner),
            "upgrade of a shared hold, `downgrade`" => yes(can.upgrade),
            "`hold_at_least`, `hold_at_most`, `once_per`" => yes(can.bounds),
            "several keys" => yes(can.several_keys),
            "lists of holders" => yes(can.listing),
            "lists of waiters" => yes(can.listing_waiters),
            "ages in lists" => yes(can.ages),
            "administrative release" => yes(can.evict),
            _ => return None,
        })
    }

    #[test]
    fn the_table_of_backends_says_what_their_capabilities_say() {
        let directory = std::env::temp_dir().join(format!("locks-choosing-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let backends = backends(&directory);
        let page = include_str!("../../src/manual/choosing.md");
        let table = page.split("# What each can do").nth(1).unwrap().split("\n#").next().unwrap();
        let mut compared = 0;
        for line in table.lines().filter(|line| line.starts_with("| ")) {
            let cells = line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
            for (can, shown) in backends.iter().zip(&cells[1..]) {
                if let Some(cell) = cell(cells[0], can) {
                    assert_eq!(*shown, cell, "{line}");
                    compared += 1;
                }
            }
        }
        assert_eq!(compared, 16 * backends.len());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
