#[locks::lock("user")]
async fn refresh(early: bool) {
    if early {
        return 1;
    }
    return ();
}

fn main() {
    drop(refresh(true));
}
