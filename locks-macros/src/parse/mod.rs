//! Tokens into what they are, without asking whether that makes sense.

mod args;
mod block;
mod function;
mod hole;
mod template;

pub(crate) use args::{Args, Key, Setting, Value};
pub(crate) use block::Block;
pub(crate) use function::Function;
pub(crate) use template::{Piece, Template};
