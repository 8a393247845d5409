//! The steps as scripts, which the server carries out one at a time.

use sha1_smol::Sha1;

/// What every script begins with.
const CLOCK: &str = include_str!("scripts/clock.lua");
/// What they have in common after the case that most calls are.
const COMMON: &str = include_str!("scripts/common.lua");

/// A script and the name that the server keeps it by.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) text: String,
    pub(super) hash: String,
}

/// The scripts for one server.
#[derive(Debug)]
pub(super) struct Scripts {
    /// Carries the name of the server that it is for: another one does not know it.
    pub(super) claim: Script,
    pub(super) end: Script,
    pub(super) renew: Script,
    pub(super) list: Script,
}

impl Scripts {
    /// `run` names the server's process, `replication` the history of its data.
    pub(super) fn new(run: &str, replication: &str) -> Self {
        let server = format!("local RUN = '{run}'\nlocal SERVER = RUN .. '{replication}'\n");
        // Ends and renewals need no room: they go on where the memory is full.
        Self {
            claim: Script::new(
                "",
                &format!("{server}{}", include_str!("scripts/usual_claim.lua")),
                include_str!("scripts/claim.lua"),
            ),
            end: Script::new(
                " flags=allow-oom",
                include_str!("scripts/usual_end.lua"),
                include_str!("scripts/end.lua"),
            ),
            renew: Script::new(" flags=allow-oom", "", include_str!("scripts/renew.lua")),
            list: Script::new(" flags=no-writes", "", include_str!("scripts/list.lua")),
        }
    }

    /// Those that any server may know: an end that had to be sent twice would come after what was
    /// said next, so they are loaded before the first.
    pub(super) fn for_any_server(&self) -> [&Script; 3] {
        [&self.end, &self.renew, &self.list]
    }
}

impl Script {
    fn new(flags: &str, usual: &str, rest: &str) -> Self {
        let text = format!("#!lua{flags}\n{CLOCK}{usual}{COMMON}{rest}");
        let hash = Sha1::from(&text).hexdigest();
        Self { text, hash }
    }
}
