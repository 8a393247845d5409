struct Mine;

#[locks::lock("user", wait = false)]
fn refresh() -> Result<u32, Mine> {
    Ok(1)
}

fn main() {
    let _ = refresh();
}
