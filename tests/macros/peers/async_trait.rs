//! A4 beside and under `#[async_trait]`: <https://github.com/dtolnay/async-trait/issues>.
#![deny(warnings)]

use std::fmt::Debug;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use locks::{LockError, lock};

use crate::polling::{is_free, now, pause, poll};

/// The whole of it: on a trait's own methods, on those of an implementation, and what they name.
#[async_trait]
trait Store {
    const KIND: &'static str;

    fn id(&self) -> u8;

    async fn put(&mut self, value: u8) -> Result<u8, LockError>;

    async fn shared(self: Arc<Self>) -> u8;

    // Issues 73 and 283: associated constants and functions.
    #[lock("peer_at_{Self::KIND}_{self.id()}", wait = false)]
    async fn by_default(&self) -> Option<bool>
    where
        Self: Sync,
    {
        pause().await;
        Some(is_free("peer_at_memory_7"))
    }

    // Issues 9, 42 and 44: no receiver.
    async fn open(name: &str) -> Self
    where
        Self: Sized;
}

struct Memory {
    id: u8,
    values: Vec<u8>,
}

#[async_trait]
impl Store for Memory {
    const KIND: &'static str = "memory";

    fn id(&self) -> u8 {
        self.id
    }

    #[lock("peer_at_put_{self.id}_{value}")]
    async fn put(&mut self, mut value: u8) -> Result<u8, LockError> {
        pause().await;
        assert!(!is_free(&format!("peer_at_put_{}_{value}", self.id)));
        value += 1;
        self.values.push(value);
        Ok(value)
    }

    // Issues 11 and 210.
    #[lock("peer_at_shared_{self.id}")]
    async fn shared(self: Arc<Self>) -> u8 {
        self.id
    }

    #[lock("peer_at_{name}")]
    async fn open(name: &str) -> Self {
        assert!(!is_free("peer_at_new"));
        Memory { id: 7, values: name.bytes().collect() }
    }
}

fn finish<F: Future>(future: F) -> F::Output {
    let mut future = Box::pin(future);
    loop {
        if let std::task::Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
}

#[test]
fn a4_methods_under_async_trait() {
    let mut store = now(Memory::open("new"));
    let put = store.put(1);
    assert!(is_free("peer_at_put_7_1"), "not locked before it is polled");
    assert_eq!(finish(put).unwrap(), 2);
    assert!(is_free("peer_at_put_7_1"));
    assert_eq!(finish(store.by_default()), Some(false));
    let held = locks::named("peer_at_memory_7").acquire().unwrap();
    assert_eq!(finish(store.by_default()), None);
    drop(held);
    assert_eq!(finish(Arc::new(store).shared()), 7);
}

#[test]
fn a4_dropped_between_polls_under_async_trait() {
    let mut store = Memory { id: 8, values: Vec::new() };
    let mut put = store.put(1);
    assert!(poll(put.as_mut()).is_pending());
    assert!(!is_free("peer_at_put_8_1"));
    drop(put);
    assert!(is_free("peer_at_put_8_1"));
}

struct Tuple<T, U>(T, U);

enum Kind {
    One {},
}

struct Unit;

#[async_trait]
trait Shapes<'a, T = ()> {
    // Issue 123: a default parameter. Issue 28: lifetimes of the trait.
    async fn borrowed(&self, text: &'a str) -> &'a str
    where
        T: 'async_trait;
    // Issues 57, 134, 288: const parameters, and `cfg` on parameters.
    async fn list<const N: usize, const B: bool>(
        #[cfg(not(test))] gone: u8,
        #[cfg(test)] list: [u8; N],
    ) -> usize;
    // Issues 204 and 177: `impl Trait` in parameters.
    async fn printed(value: &(impl Debug + Sync), call: impl Fn(u8) -> u8 + Send) -> String;
    // Issues 199, 232, 234: patterns that leave something out.
    async fn patterns(one: Tuple<Unit, u8>, two: &(u8, u8), three: Unit) -> u8;
    // Issue 15: a trait object in a parameter.
    async fn object(&self, _: PhantomData<dyn Debug + Send>) {}
    // Issue 149: a `return` that has to coerce.
    async fn coerced(&self) -> &'static (dyn Debug + Sync);
    // Issue 106: a future that the caller brings.
    async fn run<F, Fut>(&self, work: F) -> u8
    where
        F: FnOnce(u8) -> Fut + Send,
        Fut: Future<Output = u8> + Send;
}

#[async_trait]
impl<'a, T> Shapes<'a, T> for Kind {
    #[lock("peer_at_{text}")]
    async fn borrowed(&self, text: &'a str) -> &'a str
    where
        T: 'async_trait,
    {
        // Issues 81 and 87: `Self` in patterns.
        let Self::One {} = self;
        text
    }

    #[lock("peer_at_{N}_{B}")]
    async fn list<const N: usize, const B: bool>(
        #[cfg(not(test))] gone: u8,
        #[cfg(test)] list: [u8; N],
    ) -> usize {
        list.len()
    }

    #[lock("peer_at_{value:?}")]
    async fn printed(value: &(impl Debug + Sync), call: impl Fn(u8) -> u8 + Send) -> String {
        format!("{value:?}{}", call(1))
    }

    #[lock("peer_at_patterns")]
    async fn patterns(Tuple { 1: b, .. }: Tuple<Unit, u8>, (_, c): &(u8, u8), _: Unit) -> u8 {
        b + c
    }

    #[lock("peer_at_coerced")]
    async fn coerced(&self) -> &'static (dyn Debug + Sync) {
        return &5_u8;
    }

    #[lock("peer_at_run")]
    async fn run<F, Fut>(&self, work: F) -> u8
    where
        F: FnOnce(u8) -> Fut + Send,
        Fut: Future<Output = u8> + Send,
    {
        work(1).await
    }
}

#[test]
fn a4_signatures_under_async_trait() {
    type Asked = dyn Fn(&Kind) -> Pin<Box<dyn Future<Output = &'static str> + Send + '_>>;
    let ask: &Asked = &|kind| <Kind as Shapes<'static>>::borrowed(kind, "text");
    assert_eq!(now(ask(&Kind::One {})), "text");
    assert_eq!(now(<Kind as Shapes<'_>>::list::<2, true>([1, 2])), 2);
    assert_eq!(now(<Kind as Shapes<'_>>::printed(&'a', |n| n + 1)), "'a'2");
    let pair = Tuple(Unit, 1);
    let Unit = pair.0;
    assert_eq!(now(<Kind as Shapes<'_>>::patterns(Tuple(Unit, 1), &(0, 2), Unit)), 3);
    now(<Kind as Shapes<'_>>::object(&Kind::One {}, PhantomData));
    let shown = now(<Kind as Shapes<'_>>::coerced(&Kind::One {}));
    assert_eq!(format!("{shown:?}"), "5");
    let run = <Kind as Shapes<'_>>::run(&Kind::One {}, |n| async move { n + 1 });
    assert_eq!(now(run), 2);
}

/// Issues 83 and 277: a receiver that is spelt out, and `mut`.
#[async_trait]
trait Receivers {
    async fn again(&self) -> u8;

    async fn consumed(mut self) -> u8
    where
        Self: Sized;
}

#[async_trait]
impl Receivers for u8 {
    #[lock("peer_at_{self}")]
    async fn again(mut self: &Self) -> u8 {
        let other = &mut self;
        **other
    }

    #[lock("peer_at_{self}")]
    async fn consumed(mut self) -> u8 {
        self += 1;
        self
    }
}

#[async_trait(?Send)]
trait Local {
    async fn stays(&self, list: std::rc::Rc<u8>) -> u8;
}

#[async_trait(?Send)]
impl Local for Unit {
    #[lock("peer_at_local_{list}")]
    async fn stays(&self, list: std::rc::Rc<u8>) -> u8 {
        pause().await;
        *list
    }
}

macro_rules! implement {
    ($ty:ty, $id:expr) => {
        #[async_trait]
        impl Numbered for $ty {
            #[lock("peer_at_numbered_{self.0}")]
            async fn number(&self) -> u8 {
                $id + self.0
            }
        }
    };
}

#[async_trait]
trait Numbered {
    async fn number(&self) -> u8;
}

struct Number(u8);

// Issue 104: made by a macro.
implement!(Number, 1);

#[test]
fn a4_receivers_without_send_and_from_macros() {
    assert_eq!(now(5.again()), 5);
    assert_eq!(now(5.consumed()), 6);
    assert_eq!(finish(Unit.stays(std::rc::Rc::new(3))), 3);
    assert_eq!(now(Number(1).number()), 2);
}

/// Issue 281: an opaque type in a `Result`. Issue 53: `Self` as a constructor. Issue 45, and
/// tokio-rs/tracing 711 and 875: `#[instrument]` on the same method, naming `self`.
#[async_trait]
trait Others: Sized {
    async fn text(&self) -> Result<impl AsRef<str> + Send + Sync, LockError>;

    async fn made(n: u8) -> Self;

    async fn traced(&mut self, n: u8) -> Result<u8, LockError>;
}

#[async_trait]
impl Others for Number {
    #[lock("peer_at_text_{self.0}", wait = false)]
    async fn text(&self) -> Result<impl AsRef<str> + Send + Sync, LockError> {
        Ok("text")
    }

    #[lock("peer_at_made_{n}")]
    async fn made(n: u8) -> Self {
        Self(n)
    }

    #[lock("peer_at_traced_{self.0}_{n}", wait = false)]
    #[tracing::instrument(skip(self), fields(id = self.0), ret, err)]
    async fn traced(&mut self, n: u8) -> Result<u8, LockError> {
        pause().await;
        self.0 += n;
        Ok(u8::from(is_free("peer_at_traced_1_2")) + self.0)
    }
}

#[test]
fn a4_opaque_types_constructors_and_instrument_under_async_trait() {
    let mut number = now(Number::made(1));
    assert_eq!(now(number.text()).unwrap().as_ref(), "text");
    assert_eq!(finish(number.traced(2)).unwrap(), 3);
    number = Number(1);
    let held = locks::named("peer_at_text_1").acquire().unwrap();
    assert!(now(number.text()).is_err_and(|error| error.is_contended()));
    drop(held);
    let _held = locks::named("peer_at_traced_1_2").acquire().unwrap();
    assert!(now(number.traced(2)).unwrap_err().is_contended());
}
