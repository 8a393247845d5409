#[locks::lock("user_{ids[indx]}")]
fn refresh(ids: &[u32], index: usize) {
    drop((ids.len(), index));
}

fn main() {
    refresh(&[1], 0);
}
