struct User {
    id: u32,
}

#[locks::lock("{usér.id:zz}")]
fn refresh(usér: User) {}

fn main() {
    refresh(User { id: 1 });
}
