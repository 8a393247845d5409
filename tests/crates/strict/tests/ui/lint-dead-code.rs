#![deny(dead_code)]

struct User {
    id: u32,
}

impl User {
    #[locks::lock("user_{self.id}")]
    fn refresh(&self) {}

    #[locks::lock("user_{self.id}")]
    async fn refresh_async(&self) {}
}

fn main() {
    let _ = User { id: 1 };
}
