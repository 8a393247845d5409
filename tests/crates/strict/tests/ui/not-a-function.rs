#[locks::lock("user")]
struct User;

fn main() {
    let _ = User;
}
