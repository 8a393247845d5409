#[locks::lock("user", wait = )]
fn refresh() {}

fn main() {
    refresh();
}
