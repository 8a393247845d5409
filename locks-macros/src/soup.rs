//! Token soup, and real code that somebody has cut or mistyped: whatever comes in, there is no
//! panic, the body goes out again, and no mistake is told of twice.
//!
//! The same inputs in each run. `LOCKS_SOUP_SECONDS=600 cargo test -p locks-macros soup` goes on
//! for so long.

use std::time::{Duration, Instant};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What is put together.
const WORDS: [&str; 63] = [
    "\"k\"",
    "\"user_{id}\"",
    "\"{aé.x:zz}\"",
    "\"{id:>5}\"",
    "\"<id>\"",
    "r#\"{m[\"a:b\"]}\"#",
    "\"{\"",
    "\"}\"",
    "\"{id.}\"",
    "\"日本{id}\"",
    "\"{s.gen}\"",
    "\"{id:é^7}\"",
    "b\"k\"",
    "5",
    "1.5",
    "'a'",
    "wait",
    "=",
    "false",
    "true",
    "\"2s\"",
    "\"5 parsecs\"",
    "shared",
    "permits",
    "take",
    "-",
    "fair",
    "lease",
    "on_lost",
    "\"error\"",
    "\"cancel\"",
    "otherwise",
    "|error|",
    "|",
    "guard",
    "held",
    "backend",
    "kind",
    "crate",
    "::",
    "locks",
    "key",
    "id",
    "self",
    "<",
    ">",
    "=>",
    ",",
    ",",
    ";",
    "?",
    ".",
    "await",
    "async",
    "move",
    "&",
    "*",
    "!",
    "#",
    "fn",
    "return",
    "let",
    "if",
];

const ARGS: [&str; 8] = [
    "\"user_{id}\", wait = false",
    "\"k\", on_lost = \"error\", guard = held",
    "key = id, shared",
    "\"a\", \"b_{id:>4}\", wait = \"2s\", steal_after = \"5s\"",
    "\"k\", otherwise = |e| panic!(\"{e}\")",
    "\"{id}_{s.gen}_<s.x>\", permits = 3",
    "\"k\", on_lost = \"cancel\"",
    "\"k\", backend = be(), crate = ::locks",
];

const FUNCTIONS: [&str; 9] = [
    "fn f(id: u32, s: S) { let x = id; }",
    "pub async fn f(id: u32, (a, b): (u8, u8)) -> Result<u8, E> { if id > 3 { return Ok(3); } g(id).await?; Ok(a) }",
    "fn f<'a>(&'a mut self, id: u8) -> Pin<Box<dyn Future<Output = u8> + 'a>> { let x = 1; Box::pin(async move { id }) }",
    "unsafe extern \"C\" fn f(id: u8) -> ! { std::process::exit(0) }",
    "#[inline] async fn f<T: Clone, const N: usize>(mut id: T) -> impl Sized where T: A { #![allow(x)] id.clone() }",
    "fn f(pair!(a, b): P, Of::<u8> { x, .. }: Of<u8>) -> Told<impl Sized> { match x { 1 => return, _ => {} } }",
    "const fn f(id: u8) {}",
    "struct S { x: u8 }",
    "{ let x = 5; }",
];

/// A sequence of numbers that depends on nothing else (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (end.max(1) as u64)).unwrap()
    }

    fn tokens(&mut self, most: usize) -> TokenStream {
        let count = self.below(most + 1);
        (0..count).flat_map(|_| self.token()).collect()
    }

    fn token(&mut self) -> TokenStream {
        let delimiter = match self.below(12) {
            0 => Delimiter::Parenthesis,
            1 => Delimiter::Brace,
            2 => Delimiter::Bracket,
            3 => Delimiter::None,
            _ => return WORDS[self.below(WORDS.len())].parse().unwrap(),
        };
        TokenTree::from(Group::new(delimiter, self.tokens(4))).into()
    }

    /// `text` with some of its tokens cut out, replaced, or joined by others.
    fn mistyped(&mut self, text: &str) -> TokenStream {
        let mut tokens = text.parse().unwrap();
        for _ in 0..self.below(4) {
            tokens = self.changed(tokens);
        }
        tokens
    }

    fn changed(&mut self, tokens: TokenStream) -> TokenStream {
        let mut tokens = tokens.into_iter().collect::<Vec<_>>();
        let at = self.below(tokens.len());
        match (self.below(6), tokens.get(at).cloned()) {
            (0..=2, Some(TokenTree::Group(group))) => {
                let inner = self.changed(group.stream());
                tokens[at] = Group::new(group.delimiter(), inner).into();
            }
            (0, _) => tokens.truncate(at),
            (1, Some(_)) => drop(tokens.remove(at)),
            (2, Some(_)) => drop(tokens.splice(at..=at, self.token())),
            _ => drop(tokens.splice(at..at, self.token())),
        }
        tokens.into_iter().collect()
    }
}

/// Functions without a mistake, each with arguments that suit it.
const WELL: [(&str, &str); 6] = [
    ("\"user_{id}\", wait = false", "fn f(id: u32) { let x = id; }"),
    (
        "\"k\", on_lost = \"error\", guard = held",
        "fn f(id: u32) -> Result<u8, locks::LockError> { held.check()?; Ok(1) }",
    ),
    ("key = id, shared, fair = false", "async fn f(id: u32) -> Option<u8> { g(id).await }"),
    (
        "\"a\", \"b_{id:>4}\", wait = \"2s\", steal_after = \"5s\", lease = \"1m\"",
        "async fn f(&self, id: u32) {}",
    ),
    ("\"{id}_<s.x>\", permits = 3, otherwise = |e| 5", "fn f(id: u8, s: S) -> u8 { s.x }"),
    (
        "\"k\", on_lost = \"cancel\", backend = be(), crate = ::locks, kind = \"weak\"",
        "async fn f() -> Result<u8, locks::LockError> { Ok(1) }",
    ),
];

/// Whether it is what a macro has put together, and shows no delimiters.
fn is_invisible(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::None)
}

/// One mistake gives one message: a token of valid arguments is cut out, replaced, doubled or
/// joined by another.
fn one_mistake(numbers: &mut Numbers) {
    let (args, function) = WELL[numbers.below(WELL.len())];
    let right = args.parse::<TokenStream>().unwrap();
    let wrong = numbers.changed(right);
    // Several tokens at once are several mistakes.
    if wrong.clone().into_iter().any(|token| is_invisible(&token)) {
        return;
    }
    let shown = wrong.to_string();
    let output = crate::attribute(wrong.clone(), function.parse().unwrap()).to_string();
    let errors = output.matches("compile_error").count();
    assert!(errors <= 1, "{errors} errors: #[lock({shown})] {function}\n{output}");
    let input = format!("{shown} => {{ body(id) }}");
    let Ok(input) = input.parse() else { return };
    let output = crate::block(input).to_string();
    let errors = output.matches("compile_error").count();
    assert!(errors <= 1, "{errors} errors: lock!({shown} => {{ body(id) }})\n{output}");
}

/// How many errors `output` has in it, and whether two of them say the same.
fn check_errors(output: &TokenStream) {
    let text = output.to_string();
    let mut errors = text.split("compile_error").skip(1).collect::<Vec<_>>();
    let all = errors.len();
    errors.iter_mut().for_each(|error| *error = error.split('}').next().unwrap_or_default());
    errors.sort_unstable();
    errors.dedup();
    assert!(all <= 8, "{all} errors: {text}");
}

/// The text of the last braces of `tokens`: a function's body.
fn body_of(tokens: &TokenStream) -> Option<String> {
    match tokens.clone().into_iter().last()? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
            Some(group.stream().to_string())
        }
        _ => None,
    }
}

fn one_function(numbers: &mut Numbers) {
    let args = match numbers.below(3) {
        0 => numbers.tokens(8),
        _ => {
            let text = ARGS[numbers.below(ARGS.len())];
            numbers.mistyped(text)
        }
    };
    let text = FUNCTIONS[numbers.below(FUNCTIONS.len())];
    let item = if numbers.below(8) == 0 { numbers.tokens(20) } else { numbers.mistyped(text) };
    let (shown_args, shown) = (args.to_string(), item.to_string());
    let output = crate::attribute(args, item.clone());
    check_errors(&output);
    // The block at the end of a function that returns a future has a new first word, and inner
    // attributes go to the function.
    let Some(body) =
        body_of(&item).filter(|body| !body.contains("async") && !body.starts_with('#'))
    else {
        return;
    };
    let text = output.to_string();
    assert!(text.contains(&body), "#[lock({shown_args})] {shown}\n{text}");
}

fn one_block(numbers: &mut Numbers) {
    let args = match numbers.below(3) {
        0 => numbers.tokens(8),
        _ => {
            let text = ARGS[numbers.below(ARGS.len())];
            numbers.mistyped(text)
        }
    };
    let body = numbers.tokens(8);
    let braces = TokenTree::from(Group::new(Delimiter::Brace, body.clone()));
    let arrow = "=>".parse::<TokenStream>().unwrap();
    let whole = args.clone().into_iter().chain(arrow).chain([braces]).collect::<TokenStream>();
    let shown = whole.to_string();
    let output = crate::block(whole);
    check_errors(&output);
    // An arrow among the arguments may begin the body earlier; and an await may be put right.
    if !args.to_string().contains("=>") && !body.to_string().contains("await") {
        let text = output.to_string();
        assert!(text.contains(body.to_string().trim()), "lock!({shown})\n{text}");
    }
    check_errors(&crate::block(numbers.tokens(12)));
}

#[test]
fn a5_soup_goes_in_and_its_body_comes_out() {
    let seconds = std::env::var("LOCKS_SOUP_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut rounds = 0_u64;
    while end.map_or(rounds < 2_000, |end| Instant::now() < end) {
        one_function(&mut numbers);
        one_block(&mut numbers);
        one_mistake(&mut numbers);
        rounds += 1;
    }
    assert!(rounds > 0);
}
