#[locks::lock("user", on_lost = "error")]
fn refresh() -> Option<()> {
    Some(())
}

fn main() {
    refresh();
}
