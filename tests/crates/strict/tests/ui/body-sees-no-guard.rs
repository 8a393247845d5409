#[locks::lock("user")]
fn refresh() {
    drop(__guard);
}

fn main() {
    refresh();
}
