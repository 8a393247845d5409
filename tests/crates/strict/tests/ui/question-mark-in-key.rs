#[locks::lock("user_{id?}")]
fn refresh(id: Option<u32>) -> Option<()> {
    id.map(drop)
}

fn main() {
    refresh(None);
}
