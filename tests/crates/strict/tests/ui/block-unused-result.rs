#![deny(unused_must_use)]
use locks::block::lock;

fn main() {
    lock!("user" => { 1 });
}
