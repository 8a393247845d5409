//! `locks publish` and `locks messages`: messages among the clients of a lock server.

use std::io::Read;
use std::time::Duration;

use locks::ProcessInfo;
use locks::net::{Message, NetBackend, Received};
use serde_json::json;

use crate::args::{MessagesArgs, PublishArgs};
use crate::backend_choice::Opened;
use crate::out;
use crate::shown::shown;
use crate::status::{Failure, Status, say};

/// Publishes one message.
pub(crate) fn publish(asked: &PublishArgs) -> Result<Status, Failure> {
    let server = server(asked.backend.look()?)?;
    let content = match asked.content.as_str() {
        "-" => {
            let mut content = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut content);
            read.map_err(|error| Failure::during("standard input", error))?;
            content
        }
        content => content.as_bytes().to_vec(),
    };
    let mut message =
        Message::new(&asked.subject, content).unique(asked.unique).replace(asked.replace);
    if let Some(timeout) = asked.timeout {
        message = message.timeout(timeout);
    }
    message = asked.to.iter().fold(message, Message::to);
    let published = server.publish(message).block()?;
    let (delivered, full) = (published.delivered, published.full);
    if asked.json {
        out::print(&format!("{}\n", json!({ "delivered": delivered, "full": full })))?;
    }
    if delivered > 0 {
        return Ok(Status::Done);
    }
    if !asked.json {
        say(match full {
            0 if asked.to.is_empty() => "nobody got it: no client wants messages".to_owned(),
            0 => format!(
                "nobody got it: no client called `{}` wants messages",
                asked.to.join("` or `")
            ),
            full => format!("nobody got it: {full} clients have not taken what they got before"),
        });
    }
    Ok(Status::Nothing)
}

/// Prints messages as they come.
pub(crate) fn messages(asked: &MessagesArgs) -> Result<Status, Failure> {
    let mut party = ProcessInfo::default();
    party.process = Some("locks".to_owned());
    party.label = Some(asked.name.clone().unwrap_or_else(|| "locks".to_owned()));
    let mailbox = server(asked.backend.open(&party)?)?.messages().block()?;
    // As good as for ever.
    let timeout = asked.timeout.unwrap_or(Duration::from_secs(1 << 32));
    let mut left = asked.count;
    while left != Some(0) {
        let Some(received) = mailbox.wait(timeout) else { return Ok(Status::Nothing) };
        let text = if asked.json { object(&received) } else { line(&received) };
        if !out::print_on(&text)? {
            break;
        }
        left = left.map(|left| left - 1);
    }
    Ok(Status::Done)
}

fn server(opened: Opened) -> Result<NetBackend, Failure> {
    let name = opened.backend.about().name.clone();
    opened.server.ok_or_else(|| {
        Failure::new(format!(
            "`{name}` carries no messages: a lock server does, as in `--backend unix:` or `--backend net:`"
        ))
    })
}

/// For people: nothing in it moves the cursor, or goes on in the next line.
fn line(received: &Received) -> String {
    let content = String::from_utf8_lossy(&received.content);
    format!("{}: {}\n", shown(&received.subject), shown(&content))
}

fn object(received: &Received) -> String {
    let from = &received.from;
    let mut object = json!({
        "subject": received.subject,
        "expires_ms": received.expires_in.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        "from": { "label": from.label, "process": from.process, "pid": from.pid, "host": from.host },
    });
    match str::from_utf8(&received.content) {
        Ok(content) => object["content"] = content.into(),
        Err(_) => {
            let digits = received.content.iter().map(|byte| format!("{byte:02x}"));
            object["content_hex"] = digits.collect::<String>().into();
        }
    }
    format!("{object}\n")
}
