struct User;

#[locks::lock("user_{user.moniker()}")]
fn refresh(user: &User) {
    let _ = user;
}

fn main() {
    refresh(&User);
}
