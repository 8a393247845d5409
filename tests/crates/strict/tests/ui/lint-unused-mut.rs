#![deny(unused_mut)]

#[locks::lock("user")]
fn refresh(mut argument: u32) -> u32 {
    let mut local = 1;
    argument + local
}

#[locks::lock("user")]
async fn refresh_async(mut argument: u32) -> u32 {
    let mut local = 1;
    argument + local
}

fn main() {
    refresh(1);
    drop(refresh_async(1));
}
