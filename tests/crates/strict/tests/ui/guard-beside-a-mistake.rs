#![deny(unused)]

use locks::block::lock;

struct User {
    ids: (u32, u32),
}

#[locks::lock("user_{id", guard = held)]
async fn refresh(User { ids: (id, _) }: User, [first, ..]: [u8; 2]) -> bool {
    #![allow(clippy::all)]
    held.is_lost()
}

fn main() -> Result<(), locks::LockError> {
    drop(refresh(User { ids: (1, 2) }, [1, 2]));
    let lost = lock!("ledger", guard = held, permits = 0 => { held.is_lost() })?;
    assert!(!lost);
    Ok(())
}
