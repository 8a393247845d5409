//! Where the names that expansions need mean something else.

pub mod core {}
pub mod std {}
pub mod locks {}
pub struct Result;
pub struct Option;
pub struct String;
#[allow(non_camel_case_types)]
pub enum E {
    Ok,
    Err,
    Some,
    None,
}
use E::{Err, None, Ok, Some};
pub fn all() -> [E; 4] {
    [Ok, Err, Some, None]
}
macro_rules! format_args {
    () => {};
}
macro_rules! concat {
    () => {};
}
macro_rules! module_path {
    () => {};
}
macro_rules! panic {
    () => {};
}
#[::locks::lock("a_{id}")]
pub fn plain(id: u8) -> E {
    format_args!();
    concat!();
    module_path!();
    panic!();
    if id == 1 {
        return Some;
    }
    Ok
}
#[::locks::lock("a_{id}", wait = "1s", otherwise = None)]
pub async fn asynchronous(id: u8) -> E {
    let _ = (Result, Option, String);
    let _ = id;
    Err
}
