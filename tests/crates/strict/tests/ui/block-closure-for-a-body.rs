use locks::block::lock;

fn main() {
    let _ = lock!("ledger", |guard| { guard.token() });
}
