//! Files of passwords as PostgreSQL's own clients read them: lines of
//! `host:port:database:user:password`, in which `*` stands for anything, and `\` comes before a
//! colon or another `\`.

/// What is to be found.
pub(super) struct Wanted<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password of the first line that is about this.
pub(super) fn find(text: &str, wanted: &Wanted<'_>) -> Option<String> {
    // A socket is the server of this machine.
    let host = if wanted.host.starts_with('/') { "localhost" } else { wanted.host };
    let port = wanted.port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let parts = split(line);
        let [of_host, of_port, of_database, of_user, password] = parts.as_slice() else {
            return None;
        };
        let about = [
            (of_host, host),
            (of_port, &port),
            (of_database, wanted.database),
            (of_user, wanted.user),
        ];
        let is_about = about.iter().all(|(given, wanted)| *given == "*" || given == wanted);
        is_about.then(|| password.clone())
    })
}

fn split(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            // What comes last may have colons of its own.
            ':' if parts.len() < 5 => {
                parts.push(String::new());
                continue;
            }
            '\\' => letters.next().unwrap_or('\\'),
            other => other,
        };
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        find(text, &Wanted { host: "db", port: 5432, database: "shop", user: "app" })
    }

    #[test]
    fn the_first_line_that_is_about_it_counts() {
        let text =
            "# db:*:*:*:no\nother:*:*:*:no\ndb:5433:*:*:no\ndb:*:shop:app:pass\n*:*:*:*:late";
        assert_eq!(found(text).as_deref(), Some("pass"));
        assert_eq!(found("db:5432:shop:eve:no\nnot a line"), None);
    }

    #[test]
    fn colons_and_backslashes_are_escaped() {
        assert_eq!(found(r"*:*:*:*:a\:b\\c:d").as_deref(), Some(r"a:b\c:d"));
    }

    #[test]
    fn a_socket_is_the_server_of_this_machine() {
        let wanted = Wanted { host: "/run", port: 5432, database: "shop", user: "app" };
        assert_eq!(find("localhost:5432:*:*:here", &wanted).as_deref(), Some("here"));
    }
}
