//! What a key names may be anything that there is.

#![allow(non_upper_case_globals, non_snake_case, reason = "what this is about")]
use locks::lock;
trait Named {
    const NAME: &'static str;
    fn id() -> u8 {
        1
    }
}
fn id<T>(x: u8) -> u8 {
    x
}
struct Config {
    name: u8,
}
static conf: Config = Config { name: 1 };
const MARK: u8 = 1;
#[lock("{T::NAME}_{T::id()}_{N}_{std::mem::size_of::<T>()}_{id::<T>(x.0)}_{x.0}")]
fn generic<T: Named, const N: usize>(x: (u8,)) -> u8 {
    x.0
}
#[lock("{<T as Named>::NAME}_{<T>::id()}_{x.0}")]
async fn qualified<T: Named>(x: (u8,)) -> u8 {
    x.0
}
#[lock("{conf.name}_{self::conf.name}_{crate::named::conf.name}")]
fn lower_case(con: u8) -> u8 {
    con
}
#[lock("{width}_{x.0}_{x.0:width$}_{x.0:>0width$}")]
fn width<const width: usize>(x: (u8,), widt: u8) -> u8 {
    x.0 + widt
}
#[lock("{A.0}_{f(A.0)}_{MARK}_{A.0:gen$}_{A.0:.w$}")]
fn upper_case(A: (f32,), f: impl Fn(f32) -> u8, r#gen: usize, w: usize) -> u8 {
    let _unused = (r#gen, w);
    f(A.0)
}
fn outer() {
    const LOCAL: u8 = 1;
    struct Inner(u8);
    fn helper(n: u8) -> u8 {
        n
    }
    impl Inner {
        const A: u8 = 1;
        #[lock("{Self::A}_{Inner::A}_{self.n()}_{helper(self.n())}_{LOCAL}")]
        fn locked(&self) -> u8 {
            self.n()
        }
        fn n(&self) -> u8 {
            self.0
        }
    }
    #[lock("{LOCAL}_{helper(x.0)}_{helper(LOCAL)}_{Inner::A}")]
    fn inner(x: (u8,)) -> u8 {
        x.0
    }
    let _n = inner((1,)) + Inner(1).locked();
}
macro_rules! made {
    ($name:ident, $arg:ident, $key:literal) => {
        mod $name {
            const INNER: u8 = 3;
            fn twice(n: u8) -> u8 {
                n * 2
            }
            #[locks::lock("{INNER}_{twice(own.0)}_{own.0:w$}")]
            fn a(own: (u8,), w: usize) -> u8 {
                own.0
            }
            #[locks::lock($key)]
            async fn b($arg: (u8,)) -> u8 {
                $arg.0
            }
        }
    };
}
made!(within, x, "{super::id::<u8>(x.0)}_{x.0:>9}");
