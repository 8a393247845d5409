use std::iter::Peekable;
use std::str::CharIndices;

use syn::{Error, Expr, LitStr, Result};

use super::{hole, spec};

/// `user_{user.id}`: text with holes.
pub(crate) struct Template {
    pub(crate) literal: LitStr,
    pub(crate) pieces: Vec<Piece>,
    /// Written with `<` somewhere, so that `format_args!` would read the literal otherwise.
    pub(crate) angled: bool,
}

pub(crate) enum Piece {
    /// As it appears in the key.
    Text(String),
    Hole {
        expr: Expr,
        /// Written with blanks around it, which `format_args!` does not read.
        spaced: bool,
        /// What follows the colon, if there is one.
        spec: Option<String>,
        /// The least number of bytes that the value takes by it.
        width: usize,
    },
}

impl Template {
    /// Reads the holes of `literal` (A1).
    ///
    /// # Errors
    /// They show the template and where in it they arose.
    pub(crate) fn parse(literal: LitStr) -> Result<Self> {
        let text = literal.value();
        let mut reader = Reader {
            literal: &literal,
            text: &text,
            chars: text.char_indices().peekable(),
            pieces: Vec::new(),
            plain: String::new(),
            angled: false,
        };
        reader.read()?;
        let (pieces, angled) = (reader.pieces, reader.angled);
        Ok(Self { literal, pieces, angled })
    }

    /// The key, if it has no holes.
    pub(crate) fn constant(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the compiler reads it as we do: every hole is a name, as `format_args!` takes them.
    pub(crate) fn is_format(&self) -> bool {
        let simple = |piece: &Piece| match piece {
            Piece::Text(_) => true,
            Piece::Hole { expr: Expr::Path(path), spaced: false, .. } => {
                path.path.get_ident().is_some_and(|name| name != "self" && name != "Self")
            }
            Piece::Hole { .. } => false,
        };
        !self.angled && self.pieces.iter().all(simple)
    }

    /// The least number of bytes that a key takes which is made of it.
    pub(crate) fn least_len(&self) -> usize {
        let len = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Hole { width, .. } => *width,
        };
        self.pieces.iter().map(len).sum()
    }

    /// Whether a NUL byte is in every key that is made of it.
    pub(crate) fn has_nul(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Text(text) if text.contains('\0')))
    }
}

struct Reader<'a> {
    literal: &'a LitStr,
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    pieces: Vec<Piece>,
    plain: String,
    angled: bool,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<()> {
        while let Some((at, char)) = self.chars.next() {
            match char {
                '{' | '<' if self.next_is(char) => self.plain.push(char),
                '}' if self.next_is('}') => self.plain.push('}'),
                '{' => self.hole(at, '}')?,
                '<' => self.hole(at, '>')?,
                '}' => {
                    return Err(self.wrong(at, "`}` closes nothing: for a literal one write `}}`"));
                }
                _ => self.plain.push(char),
            }
            self.angled |= char == '<';
        }
        self.end_text();
        Ok(())
    }

    fn next_is(&mut self, char: char) -> bool {
        self.chars.next_if(|&(_, next)| next == char).is_some()
    }

    fn hole(&mut self, at: usize, close: char) -> Result<()> {
        let Some(extent) = hole::extent(&self.text[at + 1..], close) else {
            let missing = if hole::nests(&self.text[at + 1..]) {
                "a format has no hole of its own: name its width or precision with a `$` behind it, as in \
                 `{id:width$}`"
            } else if close == '}' {
                "this hole is not closed: write `}` after it, or `{{` for a literal `{`"
            } else {
                "this hole is not closed: write `>` after it, or `<<` for a literal `<`"
            };
            return Err(self.wrong(at, missing));
        };
        let end = at + 1 + extent.len;
        let inner = &self.text[at + 1..end];
        let (source, spec) = match extent.colon {
            Some(colon) => (&inner[..colon], Some(&inner[colon + 1..])),
            None => (inner, None),
        };
        let expr = hole::expression(source, self.literal.span())
            .map_err(|why| self.wrong(at + 1 + leading_space(inner), &why))?;
        let width = spec.map_or(Ok(0), spec::check).map_err(|why| {
            let colon = extent.colon.unwrap_or_default();
            self.wrong(at + 1 + colon + 1, &why)
        })?;
        self.end_text();
        let spaced = source.contains(char::is_whitespace);
        self.pieces.push(Piece::Hole { expr, spaced, spec: spec.map(str::to_owned), width });
        // The closing bracket is one byte long.
        while self.chars.next_if(|&(next, _)| next <= end).is_some() {}
        Ok(())
    }

    fn end_text(&mut self) {
        if !self.plain.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.plain)));
        }
    }

    /// The compiler cannot underline a part of a literal for us, so the message draws it: below the
    /// text where each character is as wide as the next, else by quoting what begins there.
    fn wrong(&self, at: usize, why: &str) -> Error {
        let drawn = if self.text.chars().all(|char| matches!(char, ' '..='~')) {
            format!("\n    {}\n    {}^", self.text, " ".repeat(at))
        } else {
            let rest = self.text[at..].chars().take(QUOTED + 1).collect::<String>();
            let more = rest.chars().count() > QUOTED;
            let shown = rest.chars().take(QUOTED).flat_map(char::escape_debug).collect::<String>();
            format!("\n    at `{shown}{}`", if more { "…" } else { "" })
        };
        Error::new(self.literal.span(), format!("{why}{drawn}"))
    }
}

/// How many characters of a template are quoted to show a place in it.
const QUOTED: usize = 24;

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;
    use quote::ToTokens as _;

    use super::*;

    fn read(text: &str) -> std::result::Result<Vec<String>, String> {
        let template = Template::parse(LitStr::new(text, Span::call_site()))
            .map_err(|error| error.to_string())?;
        let show = |piece: &Piece| match piece {
            Piece::Text(text) => format!("text {text}"),
            Piece::Hole { expr, spec, .. } => {
                let expr = expr.to_token_stream().to_string().replace(' ', "");
                format!("hole {expr}|{}", spec.as_deref().unwrap_or("-"))
            }
        };
        Ok(template.pieces.iter().map(show).collect())
    }

    #[test]
    fn a1_a_keyword_that_is_no_name_is_an_error_wherever_it_stands() {
        for text in ["{id.super}", "{id.self}", "{id.Self}", "{id.crate}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a1_reads_holes_of_both_spellings() {
        for (text, pieces) in [
            ("plain", &["text plain"][..]),
            ("u_{user.id}", &["text u_", "hole user.id|-"]),
            ("u_<user.id>", &["text u_", "hole user.id|-"]),
            ("{id:08}", &["hole id|08"]),
            ("<id:08>", &["hole id|08"]),
            ("{id:>5}", &["hole id|>5"]),
            ("<id:>5>", &["hole id|>5"]),
            ("<id>>5", &["hole id|-", "text >5"]),
            ("{p:?}", &["hole p|?"]),
            ("{{{id}}}", &["text {", "hole id|-", "text }"]),
            ("<<{id}>", &["text <", "hole id|-", "text >"]),
            ("{t.1.0}{v[1]}{*n}", &["hole t.1.0|-", "hole v[1]|-", "hole *n|-"]),
            (r#"{m["a:b}"]}"#, &[r#"hole m["a:b}"]|-"#]),
            ("{Self::NAME}", &["hole Self::NAME|-"]),
            ("{f::<u8>(':')}", &["hole f::<u8>(':')|-"]),
            ("<f::<u8>()>", &["hole f::<u8>()|-"]),
            ("{type}", &["hole r#type|-"]),
            ("{self.type.fn()}", &["hole self.r#type.r#fn()|-"]),
            ("{ id }{ id : >3}", &["hole id|-", "hole id| >3"]),
            ("{s.gen}{gen.x}{&gen}", &["hole s.r#gen|-", "hole r#gen.x|-", "hole &r#gen|-"]),
            ("{match}{if.async}", &["hole r#match|-", "hole r#if.r#async|-"]),
            ("{type::x()}{loop[0]}", &["hole r#type::x()|-", "hole r#loop[0]|-"]),
            ("{crate::type::gen()}", &["hole crate::r#type::r#gen()|-"]),
            ("{f(s.gen, type)}", &["hole f(s.r#gen,r#type)|-"]),
            ("job->step", &["text job->step"]),
            ("é{ä}ö", &["text é", "hole ä|-", "text ö"]),
        ] {
            assert_eq!(read(text).unwrap(), pieces, "{text}");
        }
    }

    #[test]
    fn a1_refuses_what_is_no_hole_and_draws_where() {
        for (text, why) in [
            ("user_{id", "not closed"),
            ("{id:{width}}", "`{id:width$}`"),
            ("{id: {x", "not closed"),
            ("{id}: {x:{y", "not closed"),
            ("a<b", "`<<`"),
            ("{}", "is empty"),
            ("{0}", "by its position"),
            ("}", "closes nothing"),
            ("{id.}", "not an expression"),
            ("{id?}", "`?`"),
            (r"{'\é'}", "not an expression"),
            ("{a + b}", "operators"),
            ("{id:1$}", "by its position"),
            ("{id:.*}", "`.*`"),
            ("{f().await}", "`.await`"),
            ("{if a { b } else { c }}", "`key = format!(..)`"),
            ("{match a { _ => b }}", "`key = format!(..)`"),
            ("{a.x:zz}", "`zz` is no format"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let drawn = read("user_{id").unwrap_err();
        assert!(drawn.ends_with("\n    user_{id\n         ^"), "{drawn}");
        for (text, place) in [
            ("é_{id", "at `{id`"),
            ("日本\t{id.}", "at `id.}`"),
            ("e\u{301}}", "at `}`"),
            ("ä{a.b:zz} and more than one would read of it", "at `zz} and more than one wo…`"),
        ] {
            let drawn = read(text).unwrap_err();
            assert!(drawn.ends_with(place), "{text}: {drawn}");
        }
    }
}
