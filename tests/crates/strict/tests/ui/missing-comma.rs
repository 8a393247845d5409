#[locks::lock("ledger", wait = false shared)]
fn f() {}

fn main() {
    f();
}
