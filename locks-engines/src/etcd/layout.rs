//! The names of what a namespace has in a cluster.
//!
//! A key's entries are `<namespace> 00 <key> 00 <letter> <mode> <id>`: no key has a NUL in it, so
//! no key's entries are among another's. Letters: `h` a hold, `r` a reservation, `w` a place in the
//! queue; modes: `0` exclusive, `1` a permit, `2` shared; so that one range holds what is in the
//! way of a request. No namespace has a space in it, so the range from `<namespace>` to
//! `<namespace> 20` is its own: a user is granted that. What a client has to hear of is
//! `<namespace> 02 <client> 00 <id> 00 <key>`.

use locks_core::{AcquisitionId, Mode};

/// From the first key, and up to the second, which is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Vec<u8>, pub(super) Vec<u8>);

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hold,
    Reservation,
    Place,
}

/// Where things are.
#[derive(Clone, Debug)]
pub(super) struct EtcdLayout {
    namespace: String,
}

/// An entry's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) key: &'a str,
    pub(super) kind: Kind,
    pub(super) mode: u8,
    pub(super) id: AcquisitionId,
}

/// The digit of a mode.
pub(super) fn digit(mode: Mode) -> u8 {
    match mode {
        Mode::Exclusive => b'0',
        Mode::Permit { .. } => b'1',
        Mode::Shared => b'2',
    }
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Kind::Hold => b'h',
            Kind::Reservation => b'r',
            Kind::Place => b'w',
        }
    }
}

impl EtcdLayout {
    pub(super) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    pub(super) fn entry(&self, key: &str, kind: Kind, mode: Mode, id: AcquisitionId) -> Vec<u8> {
        let mut name = self.of(key, &[kind.letter(), digit(mode)]);
        name.extend_from_slice(id.to_string().as_bytes());
        name
    }

    /// Everything of a key.
    pub(super) fn key(&self, key: &str) -> Span {
        Span(self.of(key, b""), self.joined(0, &[key.as_bytes(), &[1]]))
    }

    /// Its holds and reservations.
    pub(super) fn held(&self, key: &str) -> Span {
        Span(self.of(key, b"h"), self.of(key, b"s"))
    }

    /// Its entries of this kind that a shared request does not fit beside.
    pub(super) fn unshared(&self, key: &str, kind: Kind) -> Span {
        let letter = kind.letter();
        Span(self.of(key, &[letter, b'0']), self.of(key, &[letter, b'2']))
    }

    /// Its places.
    pub(super) fn places(&self, key: &str) -> Span {
        Span(self.of(key, b"w"), self.of(key, b"x"))
    }

    /// All keys that begin so.
    pub(super) fn prefix(&self, prefix: &str) -> Span {
        let begin = self.joined(0, &[prefix.as_bytes()]);
        let mut end = begin.clone();
        // The zero byte in front of the key can always be counted up.
        while let Some(255) = end.last() {
            end.pop();
        }
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Span(begin, end)
    }

    /// What a client has to hear of.
    pub(super) fn inbox(&self, client: &str) -> Span {
        let of = |end| self.joined(2, &[client.as_bytes(), &[end]]);
        Span(of(0), of(1))
    }

    /// What has become of an acquisition of it.
    pub(super) fn notices(&self, client: &str, id: AcquisitionId) -> Span {
        let of =
            |end| self.joined(2, &[client.as_bytes(), &[0], id.to_string().as_bytes(), &[end]]);
        Span(of(0), of(1))
    }

    pub(super) fn notice(&self, client: &str, id: AcquisitionId, key: &str) -> Vec<u8> {
        let Span(mut name, _) = self.notices(client, id);
        name.extend_from_slice(key.as_bytes());
        name
    }

    /// The key that a notice is about.
    pub(super) fn noticed(name: &[u8]) -> Option<&str> {
        let mut parts = name.splitn(3, |byte| *byte == 0);
        std::str::from_utf8(parts.nth(2)?).ok()
    }

    /// Takes an entry's name apart; `None` if it is none of ours.
    pub(super) fn name<'a>(&self, name: &'a [u8]) -> Option<Name<'a>> {
        let rest = name.strip_prefix(self.namespace.as_bytes())?.strip_prefix(&[0])?;
        let at = rest.iter().position(|byte| *byte == 0)?;
        let (key, rest) = (std::str::from_utf8(&rest[..at]).ok()?, &rest[at + 1..]);
        let kind = match rest.first()? {
            b'h' => Kind::Hold,
            b'r' => Kind::Reservation,
            b'w' => Kind::Place,
            _ => return None,
        };
        let mode = *rest.get(1)?;
        let id = std::str::from_utf8(&rest[2..]).ok()?.parse().ok()?;
        Some(Name { key, kind, mode, id })
    }

    fn of(&self, key: &str, rest: &[u8]) -> Vec<u8> {
        self.joined(0, &[key.as_bytes(), &[0], rest])
    }

    fn joined(&self, section: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut name = self.namespace.clone().into_bytes();
        name.push(section);
        parts.iter().for_each(|part| name.extend_from_slice(part));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(Span(from, to): &Span, name: &[u8]) -> bool {
        from.as_slice() <= name && name < to.as_slice()
    }

    #[test]
    fn a_keys_entries_are_its_own() {
        let layout = EtcdLayout::new("ns");
        let id = AcquisitionId::new(7);
        for (key, other) in [("a", "a\u{1}"), ("a", "ab"), ("a", "a0"), ("\u{1}", "\u{2}")] {
            let entry = layout.entry(key, Kind::Hold, Mode::Shared, id);
            assert!(within(&layout.key(key), &entry));
            assert!(!within(&layout.key(other), &entry), "{key:?} {other:?}");
            assert_eq!(layout.name(&entry).unwrap().key, key);
            assert!(within(&layout.prefix(""), &entry) && within(&layout.prefix(key), &entry));
            assert!(!within(&EtcdLayout::new("n").prefix(""), &entry));
        }
    }

    #[test]
    fn ranges_hold_what_is_in_the_way() {
        let layout = EtcdLayout::new("ns");
        let entry = |kind, mode| layout.entry("k", kind, mode, AcquisitionId::new(7));
        let modes = [Mode::Exclusive, Mode::Permit { take: 1, of: 3 }, Mode::Shared];
        for (mode, unshared) in modes.into_iter().zip([true, true, false]) {
            for kind in [Kind::Hold, Kind::Reservation, Kind::Place] {
                let entry = entry(kind, mode);
                assert_eq!(within(&layout.held("k"), &entry), kind != Kind::Place);
                assert_eq!(within(&layout.places("k"), &entry), kind == Kind::Place);
                assert_eq!(within(&layout.unshared("k", kind), &entry), unshared);
            }
        }
    }

    #[test]
    fn a_notice_names_its_key() {
        let layout = EtcdLayout::new("ns");
        let name = layout.notice("c1", AcquisitionId::new(7), "a key");
        assert!(within(&layout.inbox("c1"), &name) && !within(&layout.inbox("c"), &name));
        assert_eq!(EtcdLayout::noticed(&name), Some("a key"));
    }
}
