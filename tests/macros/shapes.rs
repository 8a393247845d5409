//! A4: functions of every shape. Most of it is checked by compiling.
#![deny(warnings)]

use std::fmt::Display;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use locks::lock;

use crate::polling::now;

struct Point {
    x: u8,
    y: u8,
}

#[lock("shape_patterns_{a}_{n}_{x}_{h}_{r}")]
fn patterns(
    (a, b): (u8, u8),
    _: String,
    mut n: u8,
    Point { x, y: _ }: Point,
    [h, ..]: [u8; 3],
    &r: &u8,
) -> u8 {
    n += 1;
    a + b + n + x + h + r
}

#[lock("shape_patterns_{a}_{n}_{x}_{h}_{r}")]
async fn patterns_async(
    (a, b): (u8, u8),
    _: String,
    mut n: u8,
    Point { x, y: _ }: Point,
    [h, ..]: [u8; 3],
    &r: &u8,
) -> u8 {
    n += 1;
    a + b + n + x + h + r
}

#[test]
fn patterns_in_parameters() {
    let point = || Point { x: 4, y: 0 };
    assert_eq!(point().y, 0);
    assert_eq!(patterns((1, 2), String::new(), 2, point(), [5, 0, 0], &6), 21);
    assert_eq!(now(patterns_async((1, 2), String::new(), 2, point(), [5, 0, 0], &6)), 21);
}

#[lock("shape_mutable")]
fn reborrows(x: &mut u8) -> &mut u8 {
    *x += 1;
    x
}

#[lock("shape_mutable", on_lost = "error")]
fn reborrows_in_a_closure(x: &mut [u8]) -> Result<&mut u8, locks::LockError> {
    x[0] += 1;
    Ok(&mut x[0])
}

struct Service {
    name: &'static str,
    values: Vec<u8>,
}

trait Named {
    const KIND: &'static str;

    fn id(&self) -> u8;

    #[lock("shape_{Self::KIND}_{self.id()}")]
    fn by_default(&self) -> u8 {
        self.id()
    }

    #[lock("shape_{Self::KIND}_{self.id()}")]
    async fn by_default_async(&self) -> u8 {
        self.id()
    }
}

impl Named for Service {
    const KIND: &'static str = "service";

    #[lock("shape_in_trait_impl", reentrant)]
    fn id(&self) -> u8 {
        self.values[0]
    }
}

impl Service {
    #[lock("shape_{self.name}")]
    async fn first(&mut self, mut n: u8) -> Option<&mut u8> {
        n += 1;
        self.values.push(n);
        self.values.first_mut()
    }

    #[lock("shape_{self.name}")]
    fn rc(self: Rc<Self>) -> usize {
        self.values.len()
    }

    #[lock("shape_{self.name}")]
    async fn arc(self: Arc<Self>) -> usize {
        self.values.len()
    }

    #[lock("shape_{self.name}")]
    fn boxed(self: Box<Self>) -> Box<Self> {
        self
    }

    #[lock("shape_{self.name}")]
    fn pinned(self: Pin<&mut Self>) -> usize {
        self.values.len()
    }

    #[lock("shape_{self.name}")]
    fn by_value(self) -> Self {
        self
    }

    #[lock("shape_new")]
    fn new() -> Self {
        Self { name: "new", values: vec![1, 2] }
    }
}

#[test]
fn receivers_and_traits() {
    assert_eq!(*reborrows(&mut 1), 2);
    assert_eq!(*reborrows_in_a_closure(&mut [1]).unwrap(), 2);
    assert_eq!(Service::new().by_default(), 1);
    assert_eq!(now(Service::new().by_default_async()), 1);
    assert_eq!(now(Service::new().first(1)), Some(&mut 1));
    assert_eq!(Rc::new(Service::new()).rc(), 2);
    assert_eq!(now(Arc::new(Service::new()).arc()), 2);
    assert_eq!(Box::new(Service::new()).boxed().values, [1, 2]);
    assert_eq!(Pin::new(&mut Service::new()).pinned(), 2);
    assert_eq!(Service::new().by_value().name, "new");
}

#[expect(clippy::needless_lifetimes, reason = "they are what is tested")]
#[lock("shape_generic_{value}_{N}")]
fn generic<'a, T, const N: usize>(value: &'a T, list: [u8; N]) -> (&'a T, [u8; N])
where
    T: Display + PartialEq,
{
    (value, list)
}

#[lock("shape_iter")]
fn iterator(n: u8) -> impl Iterator<Item = u8> {
    0..n
}

#[lock("shape_pair")]
fn pair() -> (impl Fn() -> u8, impl Iterator<Item = u8>) {
    (|| 1, 0..2)
}

#[lock("shape_arg")]
fn argument(it: impl IntoIterator<Item = u8>) -> u8 {
    it.into_iter().sum()
}

#[lock("shape_async_iter")]
async fn iterator_async(n: u8) -> impl Iterator<Item = u8> {
    0..n
}

#[lock("shape_lifetime", wait = false)]
fn lifetime<'a>(s: &'a str, _other: &str) -> Option<&'a str> {
    s.get(1..)
}

macro_rules! byte {
    () => {
        u8
    };
}

#[lock("shape_macro_type")]
fn type_from_a_macro() -> byte!() {
    3
}

macro_rules! function {
    ($name:ident, $arg:ident, $key:literal, $ty:ty, $value:expr) => {
        #[lock($key, "shape_of_the_macro_{own}")]
        fn $name($arg: u8, own: u8) -> $ty {
            $value
        }
    };
}

function!(made_by_a_macro, id, "shape_made_{id}", Result<u8, locks::LockError>, Ok(4));

#[lock("shape_cfg")]
fn cfg(#[cfg(any())] _gone: u8, kept: u8) -> u8 {
    kept
}

#[lock("shape_unsafe")]
unsafe fn not_safe(p: *const u8) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { *p }
}

#[lock("shape_extern")]
extern "C" fn external(n: u8) -> u8 {
    n
}

#[lock("shape_no_mangle")]
#[unsafe(no_mangle)]
extern "C" fn locks_test_shape(n: u8) -> u8 {
    n
}

#[lock("shape_attributes")]
#[inline(never)]
#[must_use]
/// Documented below the attribute.
#[track_caller]
fn attributes() -> u32 {
    std::panic::Location::caller().line()
}

#[lock("shape_inner")]
fn inner_attributes() -> u8 {
    #![expect(unused_variables, reason = "to see the attribute work")]
    let unused = 1;
    2
}

#[lock("shape_names")]
fn names(__guard: u8, __error: u8, __acquired: u8) -> u8 {
    __guard + __error + __acquired
}

#[lock("shape_names_{__scope}")]
async fn names_async(__guard: u8, __scope: u8, __output: u8) -> u8 {
    __guard + __scope + __output
}

#[test]
fn generics_opaque_types_and_attributes() {
    assert_eq!(generic(&5, [1, 2]), (&5, [1, 2]));
    assert_eq!(iterator(3).count(), 3);
    assert_eq!(now(iterator_async(3)).count(), 3);
    let (one, two) = pair();
    assert_eq!(one() + two.sum::<u8>(), 2);
    assert_eq!(argument([1, 2]), 3);
    assert_eq!(lifetime("ab", ""), Some("b"));
    assert_eq!(type_from_a_macro(), 3);
    assert_eq!(made_by_a_macro(1, 2).unwrap(), 4);
    assert_eq!(cfg(6), 6);
    // SAFETY: it points to a byte.
    assert_eq!(unsafe { not_safe(&7) }, 7);
    assert_eq!(external(8), 8);
    assert_eq!(locks_test_shape(8), 8);
    assert_eq!(attributes(), line!());
    assert_eq!(inner_attributes(), 2);
    assert_eq!(names(1, 2, 3), 6);
    assert_eq!(now(names_async(1, 2, 3)), 6);
}

/// Names that an expansion could stumble over.
#[expect(dead_code, unused_macros, reason = "they are here to be in the way")]
mod shadowed {
    mod core {}
    mod std {}
    mod locks {}
    struct Result;
    struct Option;
    struct Some;
    struct None;
    struct Duration;
    struct Ok;
    struct Err;
    macro_rules! format_args {
        () => {};
    }
    macro_rules! panic {
        () => {};
    }

    #[::locks::lock("shape_shadowed_{n}", wait = "1s", otherwise = 5)]
    pub(super) fn function(n: u8) -> u8 {
        n
    }

    #[::locks::lock("shape_shadowed_{n}", "more", wait = "1s")]
    pub(super) async fn asynchronous(n: u8) -> ::core::option::Option<u8> {
        ::core::option::Option::Some(n)
    }
}

#[test]
fn a4_shadowed_names_do_no_harm() {
    assert_eq!(shadowed::function(3), 3);
    assert_eq!(now(shadowed::asynchronous(3)), Some(3));
}

#[lock("shape_closure")]
fn borrowing() -> impl Fn(&str) -> usize {
    |text| text.len()
}

#[lock("shape_closure", guard = held, otherwise = |error| panic!("{error}"))]
fn lending(from: usize) -> impl Fn(&[u8]) -> &[u8] {
    if held.is_lost() {
        panic!("it is not");
    }
    move |bytes| &bytes[from..]
}

#[lock("shape_closure")]
fn changing(by: u8) -> (impl FnMut(&mut Vec<u8>), u8) {
    (move |bytes: &mut Vec<u8>| bytes.push(by), by)
}

#[lock("shape_closure")]
async fn boxed() -> Box<dyn Fn(&str) -> usize> {
    Box::new(|text| text.len())
}

#[test]
fn a4_a_closure_is_told_what_it_takes() {
    assert_eq!(borrowing()("four"), 4);
    assert_eq!(lending(1)(&[1, 2]), [2]);
    let mut bytes = Vec::new();
    changing(3).0(&mut bytes);
    assert_eq!(bytes, [3]);
    assert_eq!(now(boxed())("four"), 4);
}
