#[locks::lock("user", wait = false)]
fn refresh() -> impl Iterator<Item = u32> {
    0..1
}

fn main() {
    refresh().count();
}
