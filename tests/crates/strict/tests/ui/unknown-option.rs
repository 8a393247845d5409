#[locks::lock("user", colour = "blue")]
fn refresh() {}

fn main() {
    refresh();
}
