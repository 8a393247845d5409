//! A web service whose requests need a token per user: however many come at once, each user's
//! token is fetched once, and requests of other users do not wait for it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use locks::{LockError, lock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const USERS: usize = 10;
const REQUESTS_OF_EACH: usize = 20;

#[derive(Default)]
struct Vault {
    tokens: Mutex<HashMap<String, String>>,
    fetched: AtomicUsize,
}

impl Vault {
    fn fresh(&self, user: &str) -> Option<String> {
        self.tokens.lock().unwrap().get(user).cloned()
    }
}

/// The user's token, fetched if need be. Whoever waited here finds the token fresh.
#[lock("refresh_{user}", wait = "5s")]
async fn token(vault: &Vault, user: &str) -> Result<String, LockError> {
    if let Some(token) = vault.fresh(user) {
        return Ok(token);
    }
    tokio::time::sleep(Duration::from_millis(20)).await; // The way to the identity provider.
    let number = vault.fetched.fetch_add(1, Ordering::Relaxed);
    let token = format!("token-{number}-of-{user}");
    vault.tokens.lock().unwrap().insert(user.to_owned(), token.clone());
    Ok(token)
}

async fn handle(
    State(vault): State<Arc<Vault>>,
    Path(user): Path<String>,
) -> Result<String, (StatusCode, &'static str)> {
    let fresh = vault.fresh(&user);
    let token = match fresh {
        Some(token) => token,
        None => token(&vault, &user).await.map_err(|error| {
            // The error itself names hosts and functions: it is for the log, not for strangers.
            eprintln!("{error}");
            (StatusCode::SERVICE_UNAVAILABLE, error.public_message())
        })?,
    };
    Ok(format!("data of {user}, by {token}"))
}

#[tokio::main]
async fn main() -> Result<(), io::Error> {
    let vault = Arc::new(Vault::default());
    let service = Router::new().route("/data/{user}", get(handle)).with_state(vault.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, service).into_future());

    // Everybody at once.
    let mut requests = JoinSet::new();
    for number in 0..USERS * REQUESTS_OF_EACH {
        requests.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            let user = number % USERS;
            let ask = format!(
                "GET /data/user{user} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(ask.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, io::Error>(answer.starts_with("HTTP/1.1 200"))
        });
    }
    let mut served = 0;
    while let Some(answer) = requests.join_next().await {
        served += usize::from(answer??);
    }

    let fetched = vault.fetched.load(Ordering::Relaxed);
    println!("{served} requests of {USERS} users served, {fetched} tokens fetched");
    assert_eq!(served, USERS * REQUESTS_OF_EACH);
    assert_eq!(fetched, USERS);
    assert!(locks::list()?.is_empty(), "nothing is held when nobody is asking");
    Ok(())
}
