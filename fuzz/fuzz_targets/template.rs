//! Templates of keys (A1), as `#[lock]` reads them.
#![no_main]

use proc_macro2::Span;
use quote::ToTokens as _;
use syn::LitStr;

#[path = "../../locks-macros/src/parse/hole.rs"]
mod hole;
#[path = "../../locks-macros/src/parse/spec.rs"]
mod spec;
#[path = "../../locks-macros/src/parse/template.rs"]
mod template;

use template::{Piece, Template};

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Template::parse(LitStr::new(text, Span::call_site())) {
        Ok(template) => {
            assert_eq!(template.literal.value(), text);
            assert!(!template.angled || text.contains('<'));
            assert!(!template.has_nul() || text.contains('\0'));
            assert!(template.is_format() || text.contains(['{', '<']));
            assert!(template.least_len() == 0 || !text.is_empty());
            let holes = template.pieces.iter().filter(|piece| is_hole(piece, text)).count() > 0;
            assert!(holes || text.contains(['{', '}', '<']) || template.constant() == Some(text));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

/// Whether it is a hole, which has something in it that is in the text.
fn is_hole(piece: &Piece, text: &str) -> bool {
    let Piece::Hole { expr, spaced, spec, width } = piece else { return false };
    assert!(*width <= usize::from(u16::MAX));
    assert!(!expr.to_token_stream().is_empty());
    assert!(!spaced || text.contains(char::is_whitespace));
    assert!(spec.as_ref().is_none_or(|spec| text.contains(&format!(":{spec}"))));
    true
}
