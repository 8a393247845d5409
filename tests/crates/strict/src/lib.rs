//! A4: no lint fires in annotated code that does not fire without the attribute.
//!
//! Nothing can be allowed here, so an expansion that carried an `#[allow]` would not compile.
#![forbid(unsafe_code)]
#![deny(warnings, clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(future_incompatible, keyword_idents, nonstandard_style, rust_2018_idioms)]
#![deny(let_underscore_drop, missing_copy_implementations, missing_debug_implementations)]
#![deny(missing_docs, redundant_imports, redundant_lifetimes, single_use_lifetimes)]
#![deny(trivial_casts, trivial_numeric_casts, unit_bindings, unnameable_types, unreachable_pub)]
#![deny(unused_lifetimes, unused_qualifications, unused_crate_dependencies, unused_results)]
#![deny(if_let_rescope, tail_expr_drop_order, closure_returning_async_block)]
#![deny(clippy::allow_attributes, clippy::as_conversions, clippy::expect_used, clippy::panic)]
#![deny(clippy::indexing_slicing, clippy::let_underscore_must_use, clippy::panic_in_result_fn)]
#![deny(clippy::let_underscore_untyped, clippy::shadow_reuse, clippy::shadow_same)]
#![deny(clippy::shadow_unrelated, clippy::unreachable, clippy::unwrap_in_result)]
#![deny(clippy::unwrap_used, clippy::wildcard_enum_match_arm, clippy::try_err)]

pub mod returning;

use std::fmt::Display;
use std::pin::Pin;
use std::time::Duration;

use locks::block::lock;
use locks::{Backend, LockError};

// What the test `ui` depends on.
#[cfg(test)]
use {tokio as _, trybuild as _};

/// Somebody who has a lock of their own.
#[derive(Debug, Default)]
pub struct User {
    id: u32,
    name: String,
}

/// How long to wait.
pub const PATIENCE: Duration = Duration::from_millis(5);

impl User {
    /// A name, a field, a call; the template's own way and ours.
    ///
    /// # Errors
    /// Contended.
    #[locks::lock("user_{self.id}_{self.name():>4}_<self.id>", wait = false, steal_after = "5s")]
    pub async fn refresh(&self, n: u32) -> Result<u32, LockError> {
        std::future::ready(()).await;
        Ok(self.id + n)
    }

    /// Names alone.
    #[locks::lock("user_{id}_{name}", wait = PATIENCE, guard = held)]
    #[must_use]
    pub fn named(id: u32, name: &str) -> Option<u64> {
        held.check().ok()?;
        Some(held.token().get() + u64::from(id)).filter(|_| !name.is_empty())
    }

    /// By value, and moved.
    #[locks::lock(key = self.id, "users", shared)]
    #[must_use]
    pub fn renamed(mut self, name: String) -> Self {
        self.name = name;
        self
    }

    fn name(&self) -> &str {
        &self.name
    }

    /// An early end.
    ///
    /// # Errors
    /// Lost.
    #[locks::lock("user", on_lost = "error")]
    pub fn told(&mut self, early: bool) -> Result<&str, Box<dyn std::error::Error>> {
        if early {
            return Ok("early");
        }
        self.id += "1".parse::<u32>()?;
        Ok(self.name())
    }

    /// A future.
    ///
    /// # Errors
    /// Lost.
    #[locks::lock("user_{self.id}", on_lost = "cancel")]
    pub async fn cancelled(&self) -> Result<u32, LockError> {
        Box::pin(self.refresh(1)).await
    }

    /// A future in a box.
    #[must_use]
    #[locks::lock("user_{self.id}")]
    pub fn boxed<'a>(&'a self, other: &'a Self) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        let ids = (self.id, other.id);
        Box::pin(async move {
            std::future::ready(()).await;
            ids.0 == ids.1
        })
    }
}

/// What has a name.
pub trait Named {
    /// What kind of thing it is.
    const KIND: &'static str;

    /// Its number.
    fn id(&self) -> u32;

    /// By default.
    #[locks::lock("{Self::KIND}_{self.id()}")]
    fn print(&self) -> String {
        format!("{} {}", Self::KIND, self.id())
    }
}

impl Named for User {
    const KIND: &'static str = "user";

    #[locks::lock("nested", reentrant)]
    fn id(&self) -> u32 {
        self.id
    }
}

/// A value where the lock is not to be had.
#[locks::lock("user", wait = false, otherwise = fallback * 2)]
#[must_use]
pub fn otherwise(fallback: u8) -> u8 {
    let n = fallback + 1;
    if n > 4 { n } else { 4 }
}

/// The same, from the error.
#[locks::lock("user", wait = false, otherwise = |error| error.to_string())]
#[must_use]
pub fn explained() -> String {
    String::from("ran")
}

/// Somewhere else.
#[locks::lock("user_{n}", backend = backend, permits = 2)]
pub fn elsewhere(backend: &Backend, n: u8) {
    drop(backend.named(n.to_string()));
}

/// Types that are named by nobody.
///
/// # Errors
/// Contended.
#[locks::lock("user_{first}", wait = "5ms")]
pub fn opaque<T: Display + Clone>(
    first: T,
    rest: impl IntoIterator<Item = T>,
) -> Result<impl Iterator<Item = T>, LockError> {
    Ok(std::iter::once(first).chain(rest))
}

/// What it captures is said.
///
/// # Errors
/// Contended.
#[locks::lock("bytes", wait = "5ms")]
pub fn captures(bytes: &[u8]) -> Result<impl Iterator<Item = u8> + use<'_>, LockError> {
    Ok(bytes.iter().copied())
}

/// Nothing at all.
#[locks::lock("unit")]
pub fn unit() {}

/// Nothing at all, later.
#[locks::lock("unit")]
pub async fn unit_async() {
    std::future::ready(()).await;
}

/// Never.
#[locks::lock("never")]
pub fn never() -> ! {
    std::process::exit(0)
}

/// Never, later.
#[locks::lock("never")]
pub async fn never_async() -> ! {
    std::future::pending().await
}

/// A body whose last lines are arranged by nobody (tokio-rs/tracing 1613).
#[locks::lock("arranged")]
#[rustfmt::skip]
pub async fn arranged(yes: bool) -> String {
    std::future::ready(()).await;
    format!(
        "{}{yes}",
        if yes { "true" } else { "false" }
    )
}

/// One with comments alone (the same).
#[locks::lock("commented")]
pub async fn commented() {
    // hello
    // else
    std::future::ready(()).await;
}

/// A large value that lives across an await.
#[locks::lock("large")]
pub async fn large() -> usize {
    let bytes = [1_u8; 16_000];
    std::future::ready(()).await;
    let more = [1_u8; 16_000];
    std::future::ready(()).await;
    bytes.iter().chain(&more).map(|&byte| usize::from(byte)).sum()
}

/// A future of a value (dtolnay/async-trait 236).
#[locks::lock("ready")]
pub async fn yields_a_future() -> std::future::Ready<u8> {
    std::future::ready(()).await;
    std::future::ready(1)
}

/// Blocks.
///
/// # Errors
/// Contended.
pub fn blocks(n: u32) -> Result<u32, LockError> {
    let a = lock!("ledger" => { n + 1 })?;
    let b = lock!("ledger_{n}", shared, { a })?;
    let c = lock!("ledger", wait = false, otherwise = return Ok(a) => < b + 1 >)?;
    lock!("ledger" => {})?;
    lock!("ledger", guard = held => { held.check() })??;
    Ok(c)
}

/// Blocks, later.
///
/// # Errors
/// Contended.
pub async fn blocks_async(n: u32) -> Result<u32, LockError> {
    let a = lock!(async "ledger_{n}" => { std::future::ready(n).await })?;
    lock!(async "ledger", on_lost = "cancel" => { std::future::ready(a).await })
}

/// A block that is left in every way.
#[must_use]
pub fn leaves() -> u8 {
    for n in 0..3 {
        let Ok(()) = lock!("ledger" => {
            if n == 1 {
                continue;
            }
            return n;
        }) else {
            break;
        };
    }
    7
}
