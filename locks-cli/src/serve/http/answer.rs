//! From a request to its answer.

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};

use super::access::Refused;
use super::response::{Answer, failure, with_type};
use super::room::ConnectionSlot;
use super::{App, PATIENCE, api, metrics, page};

/// What every answer says: to whom it may be shown, by whom it may be framed or kept, and what a
/// page may load.
const ALWAYS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// The longest body that is read.
const BODY: usize = 16 * 1024;

pub(super) async fn answer(
    app: Arc<App>,
    slot: Arc<ConnectionSlot>,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    let _asked = slot.ask().await;
    let mut answer = route(&app, &slot, request).await;
    for (name, value) in ALWAYS {
        let name = HeaderName::from_static(name);
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(answer)
}

async fn route(app: &App, slot: &ConnectionSlot, request: Request<Incoming>) -> Answer {
    if let Err(refused) = app.hosts.check(request.headers()) {
        return refuse(&refused);
    }
    let path = request.uri().path().to_owned();
    let expected = if path == "/api/release" { Method::POST } else { Method::GET };
    let method = request.method();
    if *method != expected && !(*method == Method::HEAD && expected == Method::GET) {
        let mut answer =
            failure(StatusCode::METHOD_NOT_ALLOWED, &format!("`{path}` takes {expected}"));
        let allowed = if expected == Method::POST { "POST" } else { "GET, HEAD" };
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        return answer;
    }
    match path.as_str() {
        "/metrics" => metrics::answer(&app.seen).await,
        "/healthz" => health(app, false).await,
        "/readyz" => health(app, true).await,
        // The page itself has nothing in it that is not in the program, too.
        "/" => with_type("text/html; charset=utf-8", page::HTML),
        "/page.css" => with_type("text/css; charset=utf-8", page::CSS),
        "/page.js" => with_type("text/javascript; charset=utf-8", page::JS),
        "/graph.js" => with_type("text/javascript; charset=utf-8", page::GRAPH),
        "/icon.svg" => with_type("image/svg+xml", page::ICON),
        path if path.starts_with("/api/") => match app.token.check(request.headers()) {
            Ok(()) => {
                slot.let_in();
                serve_api(app, request).await
            }
            Err(refused) => refuse(&refused),
        },
        path => failure(StatusCode::NOT_FOUND, &format!("nothing is at `{path}`")),
    }
}

async fn serve_api(app: &App, request: Request<Incoming>) -> Answer {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    match parts.uri.path() {
        "/api/locks" => api::locks(&app.seen, query).await,
        "/api/clients" => api::clients(&app.seen, query).await,
        "/api/graph" => api::graph(&app.seen).await,
        "/api/release" => {
            // Other sites' forms cannot say this without being asked first.
            let is_json = parts
                .headers
                .get(CONTENT_TYPE)
                .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
            if !is_json {
                let why = "a release is asked for in JSON: say `content-type: application/json`";
                return failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
            }
            let read = tokio::time::timeout(PATIENCE, Limited::new(body, BODY).collect()).await;
            match read {
                Ok(Ok(body)) => api::release(&app.seen, &body.to_bytes()).await,
                Ok(Err(_)) => {
                    failure(StatusCode::BAD_REQUEST, "the request is too long, or broke off")
                }
                Err(_) => {
                    failure(StatusCode::REQUEST_TIMEOUT, "the request took too long to arrive")
                }
            }
        }
        path => failure(StatusCode::NOT_FOUND, &format!("nothing is at `{path}`")),
    }
}

/// Whether the server's thread answers; `ready`: and grants.
async fn health(app: &App, ready: bool) -> Answer {
    let why = match app.seen.figures().await {
        Err(why) => Some(why),
        Ok(snapshot) if ready => not_ready(&snapshot.observation),
        Ok(_) => None,
    };
    let (status, text) = match why {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let mut answer = with_type("text/plain; charset=utf-8", text);
    *answer.status_mut() = status;
    answer
}

fn not_ready(seen: &locks::net::Observation) -> Option<String> {
    if seen.stalled {
        return Some("the journal cannot be written: nothing new is granted".to_owned());
    }
    let left = seen.recovering?;
    Some(format!(
        "what was granted before the restart is not known: nothing is granted for another {} s",
        left.as_secs() + 1
    ))
}

fn refuse(refused: &Refused) -> Answer {
    match refused {
        Refused::Host(host) => {
            let why = format!(
                "this server is not called `{host}`: name it by `127.0.0.1` or `localhost`, or allow that name by \
                 `--http-host`"
            );
            failure(StatusCode::MISDIRECTED_REQUEST, &why)
        }
        Refused::Origin => {
            failure(StatusCode::FORBIDDEN, "the pages of other sites are not let in")
        }
        Refused::Token => {
            let why = "say `authorization: Bearer TOKEN`: the token is in the file that `locks serve` has named at its \
                       start";
            let mut answer = failure(StatusCode::UNAUTHORIZED, why);
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
    }
}
