#[locks::lock("user", wait == false)]
fn refresh() {}

#[locks::lock("user", wait => false)]
fn refresh_too() {}

fn main() {
    refresh();
    refresh_too();
}
