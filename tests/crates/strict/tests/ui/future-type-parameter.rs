#[locks::lock("user")]
fn refresh<F: Future>(work: F) -> F {
    work
}

fn main() {
    drop(refresh(async {}));
}
