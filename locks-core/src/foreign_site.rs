//! Call sites of other processes, which are texts here.

use std::collections::HashMap;

use crate::fork::PerProcess;
use crate::sync::plain::Mutex;

/// The text of a call site of another process; there is one of these for each text, for ever.
pub(super) struct ForeignSite {
    text: Box<str>,
}

/// How many texts are kept, and how long each may be: what comes from outside is not to fill the
/// memory.
const ROOM: usize = 16_384;
const LONGEST: usize = 512;

static KNOWN: PerProcess<Mutex<Known>> = PerProcess::new();

#[derive(Default)]
struct Known(HashMap<&'static str, &'static ForeignSite>);

impl ForeignSite {
    pub(super) fn interned(text: &str) -> Option<&'static Self> {
        KNOWN.get_or_init(Mutex::default).lock().intern(text)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Known {
    fn intern(&mut self, text: &str) -> Option<&'static ForeignSite> {
        if let Some(site) = self.0.get(text) {
            return Some(site);
        }
        if text.is_empty() || text.len() > LONGEST || self.0.len() >= ROOM {
            return None;
        }
        let site: &'static ForeignSite = Box::leak(Box::new(ForeignSite { text: text.into() }));
        self.0.insert(site.text(), site);
        Some(site)
    }
}

#[cfg(test)]
mod tests {
    use super::super::CallSite;
    use super::*;

    #[test]
    fn c12_a_site_of_another_process_is_its_text() {
        let text = "src/pay.rs:88 in `pay::settle`";
        let site = CallSite::interned(text).unwrap();
        assert_eq!((site.to_string().as_str(), format!("{site:?}").as_str()), (text, text));
        assert_eq!((site.file(), site.line(), site.function()), (text, 0, None));
        assert_eq!(CallSite::interned(text).unwrap().to_raw(), site.to_raw(), "kept once");
        // SAFETY: it comes from `to_raw`.
        let read_back = unsafe { CallSite::from_raw(site.to_raw()) };
        assert_eq!(read_back.unwrap().to_string(), text);
    }

    #[test]
    fn c13_there_is_room_for_so_many_texts_and_no_more() {
        let mut known = Known::default();
        for number in 0..ROOM {
            known.intern(&number.to_string()).unwrap();
        }
        assert!(known.intern("one more").is_none());
        assert_eq!(known.intern("7").unwrap().text(), "7", "what is known stays known");
        let mut known = Known::default();
        assert!(known.intern("").is_none() && known.intern(&"x".repeat(LONGEST + 1)).is_none());
        known.intern(&"x".repeat(LONGEST)).unwrap();
    }
}
