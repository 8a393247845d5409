struct User;

#[locks::lock("user_{user}")]
fn refresh(user: User) {
    drop(user);
}

fn main() {
    refresh(User);
}
