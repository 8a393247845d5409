trait Stream {
    type Item;
}

impl Stream for u8 {
    type Item = u8;
}

#[locks::lock("user")]
fn refresh() -> impl Stream<Item = u8> {
    1
}

fn main() {
    refresh();
}
