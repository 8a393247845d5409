struct User {
    id: u32,
}

impl User {
    #[locks::lock("user_{self.id}")]
    fn refresh(id: u32) -> Self {
        User { id }
    }
}

fn main() {
    let _ = User::refresh(1).id;
}
