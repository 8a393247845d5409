#[locks::lock("user", shared, reentrent)]
fn refresh() {}

fn main() {
    refresh();
}
