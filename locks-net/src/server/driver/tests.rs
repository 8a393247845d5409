//! A driver whose rounds are in the test's hands.

use std::future::poll_fn;
use std::io::Write;
use std::net::TcpStream;

use locks_core::SystemClock;

use super::*;
use crate::arbiter::ArbiterSetup;
use crate::journal::Ledger;
use crate::server::tests::Scratch;
use crate::tls::{Certificate, FIRST_BYTE, ServerTls};

fn driver(scratch: &Scratch, limits: Limits) -> Driver {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (store, _) = Store::open(&scratch.path("state"), true, &SystemClock, None).unwrap();
    let arbiter = Arbiter::new(ArbiterSetup {
        limits: limits.clone(),
        server: [1; 16],
        process: "test".into(),
        clock: Arc::clone(&clock),
        boot_clock: Arc::clone(&clock),
        random: Box::new(|bytes| bytes.fill(7)),
        ledger: Ledger::default(),
        floor: Token::new(0),
        promise: Box::new(|_, _, _| Ok(())),
        silent_for: None,
    });
    let (store, log) = (Arc::new(Mutex::new(store)), Log::new(|_| {}));
    Driver::new(Arc::default(), arbiter.unwrap(), store, limits, clock, log)
}

#[test]
fn n6_nobody_computes_for_connections_that_were_turned_away() {
    let limits = Limits { newcomers: 8, ..Limits::default() };
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(tokio::task::unconstrained(async {
        let mut driver = driver(&scratch, limits);
        driver.handshakes.put_off();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = Certificate::of_server(&scratch.path("state")).unwrap();
        let tls = Arc::new(ServerTls::new(&certificate, None).unwrap());
        driver.listen(None, |ready_source| Listener::tcp(listener, tls, ready_source));
        for number in 1..=1000 {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(&[FIRST_BYTE]).unwrap();
            while driver.handshakes.queued().iter().max() < Some(&ConnId(number)) {
                poll_fn(|cx| Poll::Ready(driver.poll(cx).is_ready())).await;
                tokio::task::yield_now().await;
            }
        }
        let queued = driver.handshakes.queued().len();
        assert!(queued <= 8 + outgoing::LEAVING, "{queued}");
    }));
}
