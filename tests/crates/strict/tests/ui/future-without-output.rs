#[locks::lock("user")]
fn refresh() -> impl Future {
    async {}
}

fn main() {
    drop(refresh());
}
