#![deny(unused_variables)]

#[locks::lock("user")]
async fn refresh(name: String, id: usize) -> usize {
    let id = name.len();
    id
}

fn main() {
    drop(refresh(String::new(), 1));
}
