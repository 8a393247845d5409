#[locks::lock("a")]
fn all<'a>(x: &'a Vec<u8>) -> Box<dyn Iterator<Item = u8>> {
    Box::new(x.iter().copied())
}

fn main() {
    all(&Vec::new());
}
