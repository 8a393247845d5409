#[locks::lock("user", wait = false, otherwise = 5)]
fn refresh() {}

fn main() {
    refresh();
    let _ = locks::block::lock!("user", wait = false, otherwise = "x" => { 1 });
}
