//! Many tasks with a key each, on one connection that they share.

use std::future::Future;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use locks_benches::measure::{Contestant, Pace, body, race};
use locks_benches::report::{Bound, Goal, Report};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::TIMEOUT;
use super::address::{Address, Transport};
use super::clients::rate;
use super::echo::Message;
use super::pipelined::Pipelined;
use super::redis::{EXPIRY, RELEASE};
use super::resp;
use super::servers::Servers;

const TASKS: usize = 64;

const FLOOR: &str = "64 tasks with an echo each (floor)";
const AT_ONCE: &str = "64 echoes in one write, no tasks";
/// By a Unix socket and by TCP.
const OURS: [&str; 2] = ["unix.named(key).acquire_async()", "tcp.named(key).acquire_async()"];
const REDIS: &str = "Redis, SET NX PX and a script";

pub(crate) fn run(pace: Pace, base: &Path) -> Vec<Report> {
    let pace = pace.with(pace.turns, pace.slice * 5);
    let mut servers = Servers::start(base, "tasks");
    let mut measure = |transport| measure(pace, &mut servers, transport);
    Transport::ALL.map(&mut measure).into()
}

fn measure(pace: Pace, servers: &mut Servers, transport: Transport) -> Report {
    let runtime = runtime();
    let echo = servers.floor("echo", transport);
    let shared = runtime.block_on(Pipelined::open(&echo)).expect("the echo is there");
    let mut contestants = vec![tasks(&runtime, FLOOR, move |_| {
        let shared = shared.clone();
        async move {
            let mut message: Message = [7; _];
            message[message.len() - 1] = b'\n';
            shared.ask(message.to_vec()).await.expect("the echo is there");
        }
    })];
    let mut goals = Vec::new();
    if let Some(ours) = servers.ours(transport) {
        let backend = ours.client().expect("the server is there");
        contestants.push(tasks(&runtime, OURS[transport as usize], move |id| {
            let backend = backend.clone();
            let key = format!("ledger:{id}");
            async move {
                let lock = backend.named(key.as_str()).wait(TIMEOUT);
                let _held = lock.acquire_async().await.expect("the server is there");
                body();
            }
        }));
        goals.push(Goal::ratio(OURS[transport as usize], FLOOR, Bound::AtLeast(0.35)));
        if servers.redis.is_ok() {
            goals.push(Goal::ratio(OURS[transport as usize], REDIS, Bound::AtLeast(4.0)));
        }
    }
    contestants.push(at_once(&echo));
    if let Ok(redis) = &servers.redis {
        contestants.push(multiplexed(&runtime, &redis.plain(transport)));
    }
    let figures = race(pace, contestants);
    Report {
        row: "server-tasks",
        compares: format!(
            "{TASKS} tasks with a key each on one connection, by {transport}: acquire and \
             release{}",
            servers.missing(transport)
        ),
        unit: "thousand operations per second",
        figures: figures.into_iter().map(rate).collect(),
        goals,
    }
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().expect("threads can be started")
}

/// Lets all tasks repeat `operation`, each told which it is.
fn tasks<'a, O>(
    runtime: &'a Runtime,
    name: &str,
    operation: impl Fn(usize) -> O + Clone + Send + 'static,
) -> Contestant<'a>
where
    O: Future<Output = ()> + Send,
{
    Contestant::timed(name, move |times| {
        let each = times.div_ceil(TASKS as u64);
        let operation = &operation;
        let took: Duration = runtime.block_on(async {
            let start = Instant::now();
            let mut tasks = JoinSet::new();
            for id in 0..TASKS {
                let operation = operation.clone();
                tasks.spawn(async move {
                    for _ in 0..each {
                        operation(id).await;
                    }
                });
            }
            tasks.join_all().await;
            start.elapsed()
        });
        // As if it had been exactly so many operations.
        took.mul_f64(times as f64 / (each * TASKS as u64) as f64)
    })
}

/// What a client could do that had all requests at hand when it writes.
fn at_once(echo: &Address) -> Contestant<'static> {
    let mut stream = echo.connect().expect("the echo is there");
    let mut messages = [7; size_of::<Message>() * TASKS];
    Contestant::timed(AT_ONCE, move |times| {
        let batches = times.div_ceil(TASKS as u64);
        let start = Instant::now();
        for _ in 0..batches {
            stream.write_all(&messages).expect("the echo is there");
            stream.read_exact(&mut messages).expect("the echo is there");
        }
        start.elapsed().mul_f64(times as f64 / (batches * TASKS as u64) as f64)
    })
}

/// Redis as its clients for tokio use it: one connection, requests written as they come.
fn multiplexed<'a>(runtime: &'a Runtime, redis: &Address) -> Contestant<'a> {
    let request = |words: &[&str]| {
        let mut request = Vec::new();
        resp::write(&mut request, words);
        request
    };
    let mut plain = resp::Connection::open(redis).expect("Redis is there");
    let Ok(resp::Reply::Text(script)) = plain.ask(&["SCRIPT", "LOAD", RELEASE]) else {
        panic!("Redis knows scripts");
    };
    let shared = runtime.block_on(Pipelined::open(redis)).expect("Redis is there");
    tasks(runtime, REDIS, move |id| {
        let (shared, script) = (shared.clone(), script.clone());
        async move {
            let (key, mine) = (format!("ledger:{id}"), format!("{id:020}"));
            let taken = request(&["SET", &key, &mine, "NX", "PX", EXPIRY]);
            let taken = shared.ask(taken).await.expect("Redis is there");
            assert_eq!(taken, b"+OK\r\n", "nobody else has it");
            let given = request(&["EVALSHA", &script, "1", &key, &mine]);
            let given = shared.ask(given).await.expect("Redis is there");
            assert_eq!(given, b":1\r\n", "it is held");
        }
    })
}
