#![deny(dead_code)]

#[locks::lock("user")]
fn refresh() {}

fn main() {}
