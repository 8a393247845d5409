#[locks::lock("user", timeout = "5s")]
fn refresh() {}

fn main() {
    refresh();
}
