//! A1: what a template becomes.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use locks::lock;

use crate::polling::is_free;

struct User {
    id: u64,
    tags: (u8, (u8, u8)),
}

impl User {
    const KIND: &str = "user";

    fn name(&self) -> &str {
        "ada"
    }

    #[lock("tpl_{self.id}_{self.name()}_{Self::KIND}")]
    fn by_self(&self) -> bool {
        is_free("tpl_7_ada_user")
    }

    #[lock("tpl_<self.id>_<self.name()>_<Self::KIND>")]
    fn by_self_angled(&self) -> bool {
        is_free("tpl_7_ada_user")
    }
}

const USER: User = User { id: 7, tags: (1, (2, 3)) };

#[test]
fn a1_fields_methods_and_constants() {
    assert!(!USER.by_self());
    assert!(!USER.by_self_angled());
}

/// Functions with a template each; a test, which is named first, sees what key each one locks.
macro_rules! keys {
    ($test:ident: $($name:ident($($arg:ident: $ty:ty),*) $template:literal => $key:expr, $call:expr;)*) => {
        $(
            #[lock($template)]
            fn $name($($arg: $ty),*) -> bool {
                $(let _ = &$arg;)*
                is_free($key)
            }
        )*

        #[test]
        fn $test() {
            $(
                assert!(!$call, "{} is not {}", $template, $key);
                assert!(is_free($key), "{} is kept", $key);
            )*
        }
    };
}

pub(crate) use keys;

keys! {
    a1_templates_become_keys:
    padded(id: u8) "tpl_{id:08}" => "tpl_00000007", padded(7);
    hex(id: u8) "tpl_{id:x}|{id:>5}" => "tpl_a|   10", hex(10);
    debug(path: &Path) "tpl_{path:?}" => "tpl_\"a b\"", debug(Path::new("a b"));
    escaped(id: u8) "tpl_{{{id}}}" => "tpl_{7}", escaped(7);
    escaped_field(user: &User) "tpl_{{{user.id}}}_f" => "tpl_{7}_f", escaped_field(&USER);
    angle_escaped(id: u8) "tpl_<<{id}>" => "tpl_<7>", angle_escaped(7);
    arrow(id: u8) "tpl_<id>->step" => "tpl_7->step", arrow(7);
    angle_format(id: u8) "tpl_<id:03>" => "tpl_007", angle_format(7);
    angle_arrow(id: u8) "tpl_<id:x>->step" => "tpl_a->step", angle_arrow(10);
    angle_apart(id: u8) "tpl_<id:x> -> step" => "tpl_a -> step", angle_apart(10);
    angle_greater(id: u8) "tpl_<id:?>>5" => "tpl_10>5", angle_greater(10);
    angle_two(a: u8, b: u8) "tpl_<a:?> => <b>" => "tpl_1 => 2", angle_two(1, 2);
    angle_aligned(id: u8) "tpl_<id:x>5>|" => "tpl_xxxx7|", angle_aligned(7);
    awaits(r#await: u8) "tpl_{await}_kw" => "tpl_4_kw", awaits(4);
    index(ids: &[u8]) "tpl_idx_{ids[0]}{ids[1]}" => "tpl_idx_45", index(&[4, 5]);
    tuple(user: &User) "tpl_{user.tags.1.0}" => "tpl_2", tuple(&USER);
    star(n: &u8) "tpl_star_{*n}" => "tpl_star_8", star(&8);
    reference(n: u8) "tpl_{&n}_ref" => "tpl_8_ref", reference(8);
    width(id: u8, w: usize) "tpl_{id:w$}|" => "tpl_   7|", width(7, 4);
    width_of_field(user: &User, w: usize) "tpl_{user.id:w$}|f" => "tpl_   7|f",
        width_of_field(&USER, 4);
    quoted(map: &Map) r#"tpl_{map["a:b}"]}"# => "tpl_5", quoted(&Map);
    called(n: u8) "tpl_{double(n)}_call" => "tpl_12_call", called(6);
    twice(n: u8) "tpl_{n}_{n}" => "tpl_3_3", twice(3);
    keyword(r#type: u8) "tpl_{type}_kw" => "tpl_4_kw", keyword(4);
    no_holes() "tpl_{{plain}}" => "tpl_{plain}", no_holes();
    turbofish(n: u8) "tpl_{max::<u8>(n, 9)}_t" => "tpl_9_t", turbofish(6);
}

fn max<T: Ord>(a: T, b: T) -> T {
    a.max(b)
}

fn double(n: u8) -> u8 {
    n * 2
}

struct Map;

impl std::ops::Index<&str> for Map {
    type Output = u8;

    fn index(&self, key: &str) -> &u8 {
        assert_eq!(key, "a:b}");
        &5
    }
}

#[lock("tpl_moved_{path.display()}")]
fn moves(path: PathBuf) -> PathBuf {
    path
}

#[lock("tpl_moved_{path.display()}")]
async fn moves_async(path: PathBuf) -> PathBuf {
    path
}

#[test]
fn a1_the_body_may_move_what_the_key_names() {
    assert_eq!(moves("a".into()), Path::new("a"));
    assert_eq!(crate::polling::now(moves_async("a".into())), Path::new("a"));
}

#[lock("tpl_long_{text}")]
fn long(text: &str) -> Result<(), locks::LockError> {
    Ok(())
}

#[test]
fn c1_a_key_that_is_too_long_is_refused() {
    long(&"x".repeat(1_000)).unwrap();
    let error = long(&"x".repeat(1_020)).unwrap_err();
    assert_eq!(error.kind(), locks::ErrorKind::InvalidKey);
}

#[lock("tpl_borrowed_{count.borrow()}")]
fn borrows_again(count: &RefCell<u8>) -> u8 {
    *count.borrow_mut() += 1;
    count.replace(0)
}

#[lock("tpl_borrowed_{count.borrow()}")]
async fn borrows_again_async(count: &RefCell<u8>) -> u8 {
    *count.borrow_mut() += 1;
    count.replace(0)
}

#[test]
fn a1_what_the_key_borrows_is_given_back_before_the_body_runs() {
    assert_eq!(borrows_again(&RefCell::new(1)), 2);
    assert_eq!(crate::polling::now(borrows_again_async(&RefCell::new(1))), 2);
    let count = RefCell::new(1);
    locks::block::lock!("tpl_borrowed_{count.borrow()}" => { *count.borrow_mut() += 1 }).unwrap();
    assert_eq!(count.take(), 2);
}

struct Words {
    r#gen: u8,
    r#async: u8,
    r#match: u8,
}

impl Words {
    #[lock("words_{self.gen}_{self.async}_<self.match>")]
    fn members(&self) -> bool {
        is_free("words_1_2_3")
    }
}

#[lock("words_{gen}_{match:>2}_{type}")]
fn names(r#gen: u8, r#match: u8, r#type: u8) -> bool {
    let _used = (r#gen, r#match, r#type);
    is_free("words_1_ 2_3")
}

#[lock("words_<gen.x>_{&gen.x}_{loop[0]}_{*async}")]
fn expressions(r#gen: Words2, r#loop: [u8; 1], r#async: &u8) -> bool {
    let _used = (&r#gen, r#loop, r#async);
    is_free("words_4_4_5_6")
}

struct Words2 {
    x: u8,
}

#[test]
fn a1_keywords_of_every_edition_name_what_they_name_raw() {
    assert!(!Words { r#gen: 1, r#async: 2, r#match: 3 }.members());
    assert!(!names(1, 2, 3));
    assert!(!expressions(Words2 { x: 4 }, [5], &6));
}
