struct User {
    id: u32,
}

#[locks::lock("user_{user.idd}")]
fn refresh(user: &User) -> u32 {
    user.id
}

fn main() {
    refresh(&User { id: 1 });
}
