#[locks::lock("user", stealafter = "5s")]
fn refresh() {}

fn main() {
    refresh();
}
