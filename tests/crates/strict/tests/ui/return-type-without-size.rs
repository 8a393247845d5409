#[locks::lock("user", wait = false)]
fn name() -> str {
    todo!()
}

#[locks::lock("user")]
fn both() -> (u8, [u8]) {
    todo!()
}

fn main() {}
