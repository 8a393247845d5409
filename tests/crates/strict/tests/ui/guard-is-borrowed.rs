#[locks::lock("user", guard = held)]
fn refresh() -> u64 {
    held.into_owned().token().get()
}

fn main() {
    refresh();
}
