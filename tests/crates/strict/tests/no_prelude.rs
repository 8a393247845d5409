//! In a crate without a prelude nothing is found but by its path.
#![no_implicit_prelude]

#[::locks::lock("user_{id}_{id:>4}", "other", wait = "5ms", steal_after = "1h")]
fn refresh(id: u32) -> ::std::option::Option<u32> {
    ::std::option::Option::Some(id)
}

#[::locks::lock("user", wait = false, otherwise = 4, guard = held)]
async fn refresh_async() -> u64 {
    held.token().get()
}

#[::locks::lock("user", on_lost = "error")]
async fn told() -> ::std::result::Result<u64, ::locks::LockError> {
    ::std::result::Result::Ok(3)
}

fn block() -> ::std::result::Result<u32, ::locks::LockError> {
    ::locks::block::lock!("user", wait = false, otherwise = |_| 5 => < 3 >)
}

fn main() {
    ::std::assert!(refresh(1).is_some());
    ::std::mem::drop(refresh_async());
    ::std::mem::drop(told());
    ::std::assert!(block().is_ok());
}
