//! Signatures and bodies of many kinds, which compile without a word: none is refused, none has a
//! lint.
#![deny(warnings)]
#![allow(dead_code, clippy::all, reason = "functions of odd kinds are what this is about")]
use locks::{LockError, lock};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

#[lock("cg_{N}_{id}")]
fn const_generic<const N: usize, T>(id: &T) -> [u8; N]
where
    T: Display + ?Sized,
{
    [0; N]
}
struct M<const N: usize>;
impl<const N: usize> M<N> {
    #[lock("m_{N}")]
    async fn size(&self) -> usize {
        N
    }
    #[lock("m_{Self::K}")]
    fn k(self: &Rc<Self>) -> usize {
        Self::K
    }
    const K: usize = N + 1;
}
#[lock("arr")]
fn arr(a: [u8; 1 + 2]) -> [u8; 1 + 2] {
    a
}
#[lock("it_{x:?}")]
fn it(x: impl Debug + Clone, f: impl Fn(u8) -> u8) -> impl Iterator<Item = u8> {
    let _x = x;
    std::iter::once(f(1))
}
#[lock("ia_{s}", wait = "1s", otherwise = None)]
async fn ia(s: impl AsRef<str> + Display, _cb: &mut dyn FnMut(&str) -> u8) -> Option<String> {
    Some(s.as_ref().to_owned())
}
#[lock("raw_{r#type}_{r#in.r#fn}")]
fn r#match(r#type: u8, r#in: Raw) -> u8 {
    r#type + r#in.r#fn
}
struct Raw {
    r#fn: u8,
}
/// Docs with `{braces}` and "quotes".
#[doc = concat!("more", " docs")]
#[cfg_attr(all(), doc = "hidden", inline)]
#[must_use = "reason"]
#[lock("doc")]
#[cfg_attr(any(), no_such_attribute)]
pub fn documented() -> u8 {
    1
}
#[must_use]
#[lock("mu")]
pub async fn mu() -> u8 {
    1
}
/// # Safety
/// none
#[lock("un")]
pub unsafe fn un(p: *const u8) -> u8 {
    unsafe { *p }
}
#[lock("ex")]
pub extern "C" fn ex(a: u8) -> u8 {
    a
}
#[lock("uex")]
#[cfg_attr(all(), allow(unsafe_op_in_unsafe_fn))]
pub unsafe extern "C" fn uex(a: *mut u8) -> u8 {
    *a
}
#[lock("aun")]
pub async unsafe fn aun(a: *mut u8) -> u8 {
    unsafe { *a }
}
struct S {
    id: u64,
    name: String,
    map: HashMap<String, Vec<u8>>,
}
impl S {
    #[lock("s_{self.id}")]
    fn by_ref(&self) -> &str {
        &self.name
    }
    #[lock("s_{self.id}")]
    fn by_mut(&mut self, n: u64) -> &mut u64 {
        self.id = n;
        &mut self.id
    }
    #[lock("s_{self.id}")]
    fn by_val(mut self) -> Self {
        self.id += 1;
        self
    }
    #[lock("s_{self.id}")]
    fn by_arc(self: Arc<Self>) -> Arc<Self> {
        self
    }
    #[lock("s_{self.id}")]
    fn by_box(self: Box<Self>) -> String {
        self.name
    }
    #[lock("s_{self.id}")]
    fn by_pin(self: Pin<&mut Self>) -> u64 {
        self.id
    }
    #[lock("s_{self.map[\"a\"][0]}_{self.name.len()}_{self.name.as_str():?}")]
    fn index(&self) {}
    #[lock("s_{self.id:>width$}_{name:.prec$}")]
    fn widths(&self, width: usize, prec: usize, name: &str) {
        let _ = (width, prec, name);
    }
    #[lock("s_{self.id}")]
    async fn a_ref<'a, 'b: 'a>(&'a self, other: &'b str) -> Cow<'a, str> {
        if other.is_empty() { Cow::Borrowed(&self.name) } else { Cow::Borrowed(other) }
    }
    #[lock("s_{self.id}")]
    async fn a_mut(&mut self) -> &mut Self {
        self.id += 1;
        self
    }
    #[lock("s_{self.id}")]
    async fn a_val(mut self, (a, b): (u8, u8), [x, .., y]: [u8; 4], S { id, .. }: S) -> u64 {
        self.id += 1;
        self.id + u64::from(a + b + x + y) + id
    }
    #[lock("s_{self.id}")]
    fn boxed<'a>(&'a self, n: u8) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>> {
        Box::pin(async move { n + self.name.len() as u8 })
    }
    #[lock("s_{n}", wait = false)]
    fn boxed_opt(n: u8) -> Pin<Box<dyn Future<Output = Option<u8>> + Send>> {
        let m = n;
        Box::pin(async move { Some(m) })
    }
    #[lock("s_{n}")]
    fn imp(n: u8) -> impl Future<Output = Result<u8, LockError>> + Send + 'static {
        async move {
            if n == 1 {
                return Ok(3);
            }
            Ok(n)
        }
    }
}
trait Tr {
    type Id: Display;
    const NAME: &'static str;
    fn id(&self) -> Self::Id;
    #[lock("tr_{Self::NAME}_{self.id()}")]
    fn run(&self) -> u8 {
        1
    }
    #[lock("tr_{self.id()}")]
    #[allow(async_fn_in_trait)]
    async fn go(&self) -> Self::Id {
        self.id()
    }
}
impl Tr for S {
    type Id = u64;
    const NAME: &'static str = "S";
    fn id(&self) -> u64 {
        self.id
    }
    #[lock("own_{self.id}")]
    fn run(&self) -> u8 {
        2
    }
    #[lock("own_{self.id}")]
    async fn go(&self) -> u64 {
        3
    }
}
macro_rules! make { ($(#[$m:meta])* $v:vis fn $n:ident($($a:ident : $t:ty),*) -> $r:ty = $k:literal $b:block) => { $(#[$m])* #[lock($k)] $v fn $n($($a: $t),*) -> $r $b } }
make!(/// doc
  #[inline] pub(crate) fn made(a: u8, b: Option<u8>) -> Result<u8, LockError> = "made_{a}" { b.ok_or(()).or(Ok(a)) });
macro_rules! amake {
    ($n:ident, $k:expr, $e:expr, $t:ty) => {
        #[lock(key = $k)]
        async fn $n() -> $t {
            $e
        }
    };
}
amake!(amade, format!("{}", 1), 1 + 1, u32);
macro_rules! meth { ($n:ident $body:block) => { #[lock("h")] fn $n(&self) -> u8 $body } }
impl S {
    meth!(mm { 1 });
}
#[lock("cl")]
fn cl(v: Vec<u8>) -> Option<u8> {
    let f = |x: u8| -> Option<u8> {
        if x > 3 {
            return None;
        }
        Some(x)
    };
    v.iter().copied().find_map(f)?;
    v.into_iter().max()
}
#[lock("ab_{n}")]
async fn ab(n: u8) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
    let x = async move {
        if n == 0 {
            return Err("z");
        }
        Ok(n)
    }
    .await?;
    let c = async |y: u8| y + x;
    Ok(c(1).await)
}
struct Ref<'a>(&'a str);
#[lock("hid_{r.0}")]
fn hid<'a>(r: &'a Ref<'a>) -> Ref<'a> {
    Ref(r.0)
}
#[lock("hr")]
fn hr<F>(f: F) -> for<'x> fn(&'x str) -> &'x str
where
    F: for<'y> Fn(&'y u8) -> &'y u8,
{
    let _ = f(&1);
    |s| s
}
#[lock("nv")]
fn nv() -> ! {
    std::process::exit(1)
}
#[lock("nva")]
async fn nva() -> ! {
    loop {
        std::future::pending::<()>().await
    }
}
const D: std::time::Duration = std::time::Duration::from_secs(1);
#[lock("opt_{n}", wait = D * 2, permits = if n > 1 { 2 } else { 3 })]
fn opt(n: u32) -> Option<()> {
    Some(())
}
#[lock("a", "b_{n}", "c", shared, wait = "1m 30s", otherwise = |e| { let _ = e; Err(fmt_err()) })]
fn many(n: u8) -> Result<u8, std::fmt::Error> {
    Ok(n)
}
fn fmt_err() -> std::fmt::Error {
    std::fmt::Error
}
#[lock("g_{n}", guard = held)]
fn g(n: u8) -> bool {
    n == 1 || held.is_lost()
}
#[lock("g_{n}", guard = held, on_lost = "error")]
async fn ga(n: u8) -> Result<bool, LockError> {
    held.check()?;
    Ok(n == 1)
}
#[lock("g_{n}", on_lost = "cancel")]
async fn gc(n: u8) -> Result<bool, LockError> {
    Ok(n == 1)
}
#[lock("inner")]
fn inner() -> u8 {
    #![allow(clippy::all)]
    static X: u8 = 1;
    const Y: u8 = 2;
    fn z() -> u8 {
        return X;
    }
    struct W;
    impl W {
        fn w(self) -> u8 {
            Y
        }
    }
    W.w() + z()
}
#[lock("lb")]
fn lb() -> u8 {
    let r = 'a: {
        if true {
            break 'a 1;
        }
        2
    };
    'b: loop {
        break 'b r;
    }
}
type Res<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
#[lock("res", wait = false)]
fn res() -> Res {
    Ok(())
}
#[lock("res", wait = false)]
async fn ares<T: Default + Send>() -> Res<T> {
    Ok(T::default())
}
#[path = "signatures/named.rs"]
mod named;
#[path = "signatures/shadows.rs"]
mod shadows;
/// Reads and writes, and yields nothing.
trait Stream: std::io::Read + std::io::Write {}
impl Stream for std::net::TcpStream {}
#[lock("stream")]
fn connect() -> std::io::Result<Box<dyn Stream>> {
    Ok(Box::new(std::net::TcpStream::connect("localhost:1")?))
}
#[lock("stream")]
async fn connected(stream: Box<dyn Stream + Send>) -> (Box<dyn Stream + Send>, u8) {
    (stream, 1)
}
#[lock("stream")]
fn opaque(stream: std::net::TcpStream) -> impl Stream {
    stream
}
#[lock("label")]
fn label() -> [u8; {
    let x = 'a: loop {
        break 'a 3;
    };
    x
}] {
    [0; 3]
}
#[lock("label")]
async fn label_async<'a>(x: &'a [u8; 3], _: &u8) -> Option<&'a [u8; 'b: { break 'b 3 }]> {
    Some(x)
}
#[lock("label")]
async fn label_braced<'a>(
    x: &'a [u8; 3],
    _: &u8,
) -> Option<
    &'a [u8; {
            let n = 'b: { break 'b 3 };
            n
        }],
> {
    Some(x)
}
macro_rules! byte {
    ($($t:ty)?) => {
        u8
    };
}
#[lock("braced")]
fn braced() -> byte! { u8 } {
    5
}
#[lock("braced", on_lost = "error")]
async fn braced_async<T>(t: T) -> Result<byte! { T }, LockError>
where
    T: Into<u8>,
{
    Ok(t.into())
}
/// What it waits for runs already.
struct JoinHandle(u8);
impl Future for JoinHandle {
    type Output = u8;
    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<u8> {
        std::task::Poll::Ready(self.0)
    }
}
#[lock("begun_{n}")]
fn begun(n: u8) -> JoinHandle {
    JoinHandle(n)
}
#[lock("begun_{n}")]
async fn begun_async(n: u8) -> JoinHandle {
    JoinHandle(n)
}
#[lock("any")]
async fn any<T>(t: T) -> T {
    t
}
#[lock("associated")]
async fn associated<I: IntoIterator>(t: I) -> I::IntoIter {
    t.into_iter()
}
/// The body has the word of a parameter that only the key uses.
#[lock("a_{id}")]
async fn in_a_loop(id: String, ids: &[u8]) -> u8 {
    let mut n = 0;
    for id in ids {
        n += id;
    }
    n
}
#[lock("a_{id}", once_per = "1s")]
fn in_a_block(id: String) -> Option<u8> {
    {
        let id = 5;
        return Some(id);
    }
}
#[lock("a_{name}")]
async fn in_a_closure(name: String, ids: Vec<u8>) -> usize {
    ids.iter().filter(|name| **name > 1).count()
}
#[lock("a_{name}")]
async fn in_a_pattern(name: String, y: Option<u8>) -> u8 {
    match y {
        Some(name) => name,
        None => 1,
    }
}
#[lock("a_{name}")]
async fn in_a_format(name: String) -> String {
    format!("{name}", name = 5)
}
#[lock("a_{n}", wait = format!("{name}").len() < 3, otherwise = 5)]
async fn in_an_option(n: u8, name: String) -> u8 {
    (|name: u8| name + 1)(n)
}
/// The guard has the word of a parameter.
#[lock("a_{id}", guard = id, on_lost = "error")]
fn as_guard(id: String) -> Result<u64, LockError> {
    Ok(id.token().get())
}
#[lock("a_{id}", guard = id)]
async fn as_guard_async(id: String) -> u64 {
    id.token().get()
}
/// Constants in patterns.
#[lock("a_{x}")]
async fn constants(x: u8, (None | Some(_)): Option<String>) -> Option<u8> {
    if x > 3 {
        return None;
    }
    Some(x)
}
struct Phantom<T>(std::marker::PhantomData<T>);
#[lock("a_{x}")]
async fn unit<T>(x: u8, Phantom(std::marker::PhantomData): Phantom<T>) -> u8 {
    use std::marker::PhantomData;
    let _: PhantomData<T> = PhantomData;
    x
}
/// `<=` behind a type.
#[lock("a", wait = n as u16 <= 3, permits = 2)]
fn compared(n: u8) -> Option<()> {
    None.filter(|()| n > 3)
}
fn compared_block(n: u8) -> Result<u8, LockError> {
    locks::block::lock!("a", wait = n as u16 <= 3 => { n + 1 })
}
/// A closure's own ways out.
fn ways_out() -> impl Future<Output = Result<usize, LockError>> {
    async {
        locks::block::lock!(async "a", on_lost = "cancel" => {
            let read = |text: &str| Ok::<u8, std::num::ParseIntError>(text.parse::<u8>()? + 1);
            ["1", "x"].into_iter().filter_map(|text| read(text).ok()).filter(|n| { return *n > 1; }).count()
        })
    }
}
/// By-value methods of everything.
mod blanket {
    pub trait Marks: Sized {
        fn mark_done(self) -> u8 {
            0
        }
    }
    impl<T> Marks for T {}
    #[locks::lock("e", once_per = "1s")]
    pub fn marked(n: u8) -> Option<u8> {
        Some(n.mark_done())
    }
}
/// The key is made of what the function finds out before its future.
struct Service {
    id: u8,
}
impl Service {
    #[lock("s_{id}")]
    fn call(&mut self) -> Pin<Box<dyn Future<Output = u8> + Send>> {
        let id = self.id;
        Box::pin(async move { id })
    }
}
fn is_send<T: Send>(t: T) -> T {
    t
}
fn main() {
    drop(is_send(ares::<u8>()));
    drop(is_send(ab(1)));
    drop(is_send(ga(1)));
    drop(is_send(gc(1)));
    drop(is_send(S::imp(1)));
    let _ = documented();
    let _ = (shadows::plain(1), shadows::all());
    drop(shadows::asynchronous(1));
}
