//! The backends of [`locks`](https://docs.rs/locks) on servers that teams already run.
//!
//! Programs depend on `locks`, where this is `locks::engines`, and enable a feature for each
//! engine: `redis`, `postgres`, `etcd`. Each engine is a store with leases
//! ([`LeaseStore`](locks_core::LeaseStore)); the clients of their servers run on one thread,
//! `locks-engine`, which every process that uses one has.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod driver;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
mod link;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod tls;

#[cfg(any(feature = "etcd", feature = "postgres", feature = "redis"))]
pub use self::link::LinkState;

#[cfg(all(test, feature = "etcd", feature = "postgres", feature = "redis"))]
mod tests {
    use std::time::Duration;

    use locks_core::Backend;

    use crate::{etcd::Etcd, postgres::Postgres, redis::Redis};

    #[test]
    fn a_time_to_connect_may_be_without_an_end() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (host, port) = ("127.0.0.1", nobody.local_addr().unwrap().port());
        drop(nobody);
        for connect in [Duration::MAX, Duration::from_secs(u64::MAX)] {
            let etcd = Etcd::builder([format!("{host}:{port}")]).connect(connect).build();
            let postgres = Postgres::builder(host).port(port).connect(connect).build();
            let redis = Redis::builder(host, port).connect(connect).build();
            let backends: [Backend; 3] =
                [etcd.unwrap().into(), postgres.unwrap().into(), redis.unwrap().into()];
            for backend in backends {
                let error = backend.named("k").wait(Duration::from_millis(50)).acquire();
                let error = error.expect_err("nobody is there").to_string();
                assert!(error.contains("127.0.0.1") && !error.contains("ended"), "{error}");
            }
        }
    }
}
