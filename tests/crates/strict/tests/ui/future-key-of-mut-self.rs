use std::future::Future;
use std::pin::Pin;

struct User {
    id: u32,
}

impl User {
    #[locks::lock("{self.id}")]
    fn refresh(mut self) -> Pin<Box<dyn Future<Output = u32>>> {
        self.id += 1;
        Box::pin(async move { self.id })
    }
}

fn main() {
    drop(User { id: 1 }.refresh());
}
