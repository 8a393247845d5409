//! What answers are made of.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub(super) type Answer = Response<Full<Bytes>>;

pub(super) fn failure(status: StatusCode, why: &str) -> Answer {
    let mut answer = in_json(&json!({ "error": why }));
    *answer.status_mut() = status;
    answer
}

pub(super) fn in_json(value: &Value) -> Answer {
    with_type("application/json", format!("{value}\n"))
}

pub(super) fn with_type(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
