#[locks::lock("user", try)]
fn refresh() {}

fn main() {
    refresh();
}
