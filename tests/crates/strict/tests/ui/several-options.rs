#[locks::lock("user", permits = 0, wait = 5, colour = "red")]
fn refresh() {}

fn main() {
    refresh();
}
