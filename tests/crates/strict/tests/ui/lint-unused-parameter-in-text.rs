#![deny(unused_variables)]

#[locks::lock("user")]
async fn refresh(name: String, id: usize) -> &'static str {
    drop(name);
    "{id}"
}

fn main() {
    drop(refresh(String::new(), 1));
}
