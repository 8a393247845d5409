//! Templates of keys (A1), as `#[lock]` reads them.
#![no_main]

use proc_macro2::Span;
use syn::LitStr;

#[path = "../../locks-macros/src/parse/hole.rs"]
#[allow(dead_code)]
mod hole;
#[path = "../../locks-macros/src/parse/template.rs"]
#[allow(dead_code)]
mod template;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match template::Template::parse(LitStr::new(text, Span::call_site())) {
        Ok(template) => {
            let holes = !template.pieces.iter().all(|it| matches!(it, template::Piece::Text(_)));
            assert!(holes || text.contains(['{', '}', '<']) || template.constant() == Some(text));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
