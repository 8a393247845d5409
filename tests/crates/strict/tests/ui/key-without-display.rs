struct User;

#[locks::lock(key = user)]
fn refresh(user: &User) {
    let _ = user;
}

fn main() {
    refresh(&User);
}
