struct User;

#[locks::lock("user_{user.name()}")]
fn refresh(user: &User) {
    let _ = user;
}

fn main() {
    refresh(&User);
}
