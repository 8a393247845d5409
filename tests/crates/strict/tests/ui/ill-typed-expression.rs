const LIMIT: u32 = 5;

#[locks::lock("user", steal_after = LIMIT)]
fn refresh() {}

fn main() {
    refresh();
}
