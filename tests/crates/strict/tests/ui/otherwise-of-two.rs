#[locks::lock("user", wait = false, otherwise = |key, error| 5)]
fn refresh() -> u8 {
    1
}

fn main() {
    refresh();
    let _ = locks::block::lock!("user", wait = false, otherwise = || 5 => { 1 });
}
