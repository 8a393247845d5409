//! What a server says of itself.

/// The parts of `INFO` that matter to locks.
#[derive(Debug, Default)]
pub(super) struct Info<'a> {
    pub(super) version: &'a str,
    /// What it calls itself, where it is not Redis.
    pub(super) product: &'a str,
    /// `standalone`, `cluster` or `sentinel`.
    pub(super) mode: &'a str,
    /// Names the server's process.
    pub(super) run: &'a str,
    /// Names the history of its data, another one after each promotion.
    pub(super) replication: &'a str,
    pub(super) role: &'a str,
    pub(super) loading: bool,
    /// Whether it takes no writes where it has fewer replicas than it is to have.
    pub(super) wants_replicas: bool,
    /// What it does when its memory is full.
    pub(super) policy: &'a str,
}

impl<'a> Info<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut info = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(':') else { continue };
            match name {
                // Valkey has both, and the former is that of the Redis that it is compatible with.
                "redis_version" if info.product.is_empty() => info.version = value,
                "server_name" => info.product = value,
                "valkey_version" => info.version = value,
                "redis_mode" | "server_mode" => info.mode = value,
                "run_id" => info.run = value,
                "master_replid" => info.replication = value,
                "role" => info.role = value,
                "loading" => info.loading = value != "0",
                // It counts them only if it is to have some.
                "min_slaves_good_slaves" => info.wants_replicas = true,
                "maxmemory_policy" => info.policy = value,
                _ => {}
            }
        }
        info
    }

    pub(super) fn major(&self) -> Option<u32> {
        self.version.split('.').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_found_among_the_rest() {
        let text = "# Server\r\nredis_version:7.0.15\r\nrun_id:ab12\r\n\r\n# Replication\r\nrole:master\r\n\
                    master_replid:cd34\r\nmaster_replid2:0000\r\nloading:0\r\nmaxmemory_policy:noeviction\r\n";
        let info = Info::parse(text);
        assert_eq!((info.run, info.replication, info.role), ("ab12", "cd34", "master"));
        assert_eq!((info.major(), info.loading, info.policy), (Some(7), false, "noeviction"));
    }
}
