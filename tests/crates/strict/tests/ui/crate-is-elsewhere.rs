#[locks::lock("user", crate = ::guards)]
fn refresh() {}

fn main() {
    refresh();
}
