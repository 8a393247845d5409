//! The command with real processes, over lock files and servers in a directory of each test's own.

#[path = "cli/crontab.rs"]
mod crontab;
#[path = "cli/engines.rs"]
mod engines;
#[path = "cli/handed.rs"]
mod handed;
#[path = "cli/hold.rs"]
mod hold;
#[path = "cli/http/mod.rs"]
mod http;
#[path = "cli/in_place.rs"]
mod in_place;
#[path = "cli/inherited.rs"]
mod inherited;
#[path = "cli/kit.rs"]
mod kit;
#[path = "cli/list.rs"]
mod list;
#[path = "cli/lost.rs"]
mod lost;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/nested.rs"]
mod nested;
#[path = "cli/net.rs"]
mod net;
#[path = "cli/python/mod.rs"]
mod python;
#[path = "cli/secret.rs"]
mod secret;
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/serving.rs"]
mod serving;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/status.rs"]
mod status;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/umask.rs"]
mod umask;
#[path = "cli/unseen.rs"]
mod unseen;
#[path = "cli/upkeep.rs"]
mod upkeep;
#[path = "cli/waiting.rs"]
mod waiting;
