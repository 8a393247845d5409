struct User {
    id: u32,
}

#[locks::lock("{usr.id}")]
fn refresh(user: User) {}

fn main() {
    refresh(User { id: 1 });
}
