//! A1 as attributes met it whose argument is a template or a function's parts:
//! <https://github.com/dtolnay/thiserror/issues>, <https://github.com/elastio/bon/issues>.
#![deny(warnings)]

use std::fmt::Debug;

use locks::{LockError, lock};

use crate::polling::{is_free, now};
use crate::templates::keys;

const KIND: &str = "const";
static STATIC: u8 = 9;

struct Order {
    r#fn: u8,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "order {}", self.r#fn)
    }
}

impl Order {
    #[lock("peer_me_{self}_{self.fn}_{Self::double(self)}")]
    fn by_self(&self) -> bool {
        is_free("peer_me_order 4_4_8")
    }

    fn double(&self) -> u8 {
        self.r#fn * 2
    }
}

#[test]
fn a1_a_key_by_the_name_of_a_keyword() {
    assert!(!Order { r#fn: 4 }.by_self());
}

// The texts of thiserror's own tests: constants, braces as escapes, a line that goes on, pointers.
keys! {
    a1_templates_that_messages_met:
    constants() "peer_me_{KIND}_{STATIC:02}" => "peer_me_const_09", constants();
    braces() "peer_me_\x7B\x7B\u{7D}\u{7D}" => "peer_me_{}", braces();
    hole_of_escapes(id: u8) "peer_me_\u{7B}id\u{7D}" => "peer_me_3", hole_of_escapes(3);
    lines(id: u8) "peer_me_\
        line_{id}" => "peer_me_line_3", lines(3);
    raw(id: u8) r#"peer_me_\x7B_"{id}""# => r#"peer_me_\x7B_"3""#, raw(3);
    spaced(id: u8) "peer_me_{ id }_{ id : >3}" => "peer_me_3_  3", spaced(3);
    empty_format(id: u8) "peer_me_{id:}_" => "peer_me_3_", empty_format(3);
    alternate(list: &[u8]) "peer_me_{list:#?}" => "peer_me_[\n    1,\n]", alternate(&[1]);
    exponent(x: f64) "peer_me_{x:.1e}" => "peer_me_1.5e3", exponent(1500.0);
    precision(x: f64, digits: usize) "peer_me_{x:+.digits$}" => "peer_me_+1.50", precision(1.5, 2);
    in_a_call(a: u8, b: u8) "peer_me_{u8::max(a, b)}_max" => "peer_me_7_max", in_a_call(5, 7);
    literals() "peer_me_{1_u8}_{'c'}_{true}" => "peer_me_1_c_true", literals();
    letters(größe: u8) "peer_me_{größe}_✓" => "peer_me_3_✓", letters(3);
}

// thiserror 398 and 86: text and names from different macros.
macro_rules! from_the_call {
    ($name:ident, $arg:ident, $($key:tt)*) => {
        #[lock($($key)*)]
        fn $name($arg: u8, own: u8) -> (bool, u8) {
            (is_free("peer_me_call_2"), $arg + own)
        }
    };
}

macro_rules! from_the_macro {
    ($name:ident $(, $option:ident = $value:expr)*) => {
        #[lock("peer_me_call_{own}" $(, $option = $value)*)]
        fn $name(own: u8) -> Option<bool> {
            Some(is_free("peer_me_call_2"))
        }
    };
}

macro_rules! whole {
    ($(#[$attr:meta])* $vis:vis fn $name:ident($arg:pat => $ty:ty) -> $out:ty $body:block) => {
        $(#[$attr])* $vis fn $name($arg: $ty) -> $out $body
    };
}

from_the_call!(text_of_the_call, id, "peer_me_call_{id}");
from_the_call!(value_of_the_call, id, key = format_args!("peer_me_call_{id}"));
from_the_macro!(text_of_the_macro);
from_the_macro!(with_options, wait = false, otherwise = None);
whole! {
    #[lock("peer_me_call_{n}")]
    pub(super) fn wholly((n, _m) => (u8, u8)) -> Result<bool, LockError> {
        Ok(is_free("peer_me_call_2"))
    }
}

macro_rules! body {
    ($name:ident, $key:literal, $body:block) => {
        #[lock($key)]
        async fn $name() -> bool $body
    };
}

body!(body_of_the_call, "peer_me_call_2", { is_free("peer_me_call_2") });

macro_rules! block {
    ($key:expr, $body:block) => {
        locks::block::lock!(key = $key => $body)
    };
    ($key:literal; $body:block) => {
        locks::block::lock!($key => $body)
    };
}

#[test]
fn a4_functions_and_blocks_from_macros() {
    assert_eq!(text_of_the_call(2, 1), (false, 3));
    assert_eq!(value_of_the_call(2, 1), (false, 3));
    assert_eq!(text_of_the_macro(2), Some(false));
    assert_eq!(with_options(2), Some(false));
    assert!(!wholly((2, 0)).unwrap());
    assert!(!now(body_of_the_call()));
    assert!(!block!(format!("peer_me_call_{}", 2), { is_free("peer_me_call_2") }).unwrap());
    assert!(!block!("peer_me_call_2"; { is_free("peer_me_call_2") }).unwrap());
}

// bon: a parameter without a name of its own in parentheses (its test of `unused_parens`), raw
// identifiers (pull requests 9 and 175), `mut self` (197), a lifetime that only bounds name (206),
// `target_feature` (284), `cfg` beside other attributes on parameters (145).
#[lock("peer_me_parens")]
fn in_parentheses(arg: &(impl Clone + Default)) -> impl Clone {
    arg.clone()
}

#[lock("peer_me_{type}_{try}")]
fn r#match(r#type: u8, r#try: u8) -> String {
    locks::list()
        .unwrap()
        .into_iter()
        .filter(|info| &*info.key == "peer_me_1_2")
        .map(|info| info.holders[0].to_string())
        .collect()
}

trait Borrowing<'a> {
    fn borrowing(text: &'a str) -> Self;
}

impl<'a> Borrowing<'a> for &'a str {
    fn borrowing(text: &'a str) -> Self {
        text
    }
}

#[lock("peer_me_bound")]
fn bounded<'a, T: Borrowing<'a> + Debug>(arg: T) -> T {
    arg
}

impl Order {
    #[lock("peer_me_{self.fn}")]
    fn counted(mut self) -> Self {
        self.r#fn += 1;
        self
    }

    #[lock("peer_me_{self.fn}", on_lost = "error")]
    async fn counted_async(mut self) -> Result<Self, LockError> {
        self.r#fn += 1;
        Ok(self)
    }
}

#[lock("peer_me_cfg_{kept}")]
fn with_cfg(
    #[cfg(test)]
    #[cfg_attr(test, expect(unused_variables, reason = "to see the attribute work"))]
    unused: u8,
    #[cfg(not(test))] kept: u32,
    #[cfg(test)] kept: u8,
) -> u8 {
    kept
}

#[cfg(target_arch = "x86_64")]
#[lock("peer_me_wide", on_lost = "error")]
#[target_feature(enable = "sse2")]
fn wide(x: u8) -> Result<u8, LockError> {
    Ok(x)
}

#[test]
fn a4_parts_that_builders_met() {
    let _ = in_parentheses(&3_u8);
    let holder = r#match(1, 2);
    assert!(holder.contains("`macros::peers::messages::match`"), "{holder}");
    assert_eq!(bounded(<&str>::borrowing("text")), "text");
    assert_eq!(Order { r#fn: 1 }.counted().r#fn, 2);
    assert_eq!(now(Order { r#fn: 1 }.counted_async()).unwrap().r#fn, 2);
    assert_eq!(with_cfg(1, 2), 2);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: each such processor has it.
    assert_eq!(unsafe { wide(3) }.unwrap(), 3);
}
