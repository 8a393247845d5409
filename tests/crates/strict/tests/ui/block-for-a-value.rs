#[locks::lock("user")]
fn refresh() -> u32 {
    async { 1 }
}

fn main() {
    refresh();
}
