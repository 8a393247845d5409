#[locks::lock("user")]
fn refresh() -> impl Send {
    async {}
}

fn main() {
    refresh();
}
