struct User;

#[locks::lock("user")]
impl User {
    fn refresh(&self) {}
}

fn main() {
    User.refresh();
}
