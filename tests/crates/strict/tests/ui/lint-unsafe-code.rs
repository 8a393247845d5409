#![deny(unsafe_code)]

#[locks::lock("user")]
fn refresh(byte: &u8) -> u8 {
    unsafe { *std::ptr::from_ref(byte) }
}

fn main() {
    refresh(&1);
}
