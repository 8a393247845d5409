#[locks::lock("user_{User::SHRD}")]
fn refresh() {}

struct User;

impl User {
    const SHARD: u32 = 1;
}

fn main() {
    refresh();
}
