use super::{OwnerId, OwnerKind, thread_number, with_scope};

/// The identity that a slot's record has room for, in one word. Zero is nobody.
///
/// * Of this process, a thread or a scope: the number, and whether it is a scope in the lowest bit.
/// * Of another realm: the highest bit, two bits of kind, 21 of realm and 40 of number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SmallOwner(u64);

const REMOTE: u64 = 1 << 63;
const KIND_SHIFT: u32 = 61;
const REALM_SHIFT: u32 = 40;
const REALM_MASK: u64 = (1 << (KIND_SHIFT - REALM_SHIFT)) - 1;
const NUMBER_MASK: u64 = (1 << REALM_SHIFT) - 1;

const THREAD: u64 = 0;
const SCOPE: u64 = 1;
const ACQUISITION: u64 = 2;

impl SmallOwner {
    pub(crate) const NOBODY: Self = Self(0);

    /// Whoever runs now: the innermost scope, else the thread.
    #[inline]
    pub(crate) fn current() -> Self {
        with_scope(|scope| match scope {
            Some(scope) => scope.small(),
            None => Self(thread_number() << 1),
        })
    }

    pub(crate) const fn scope(number: u64) -> Self {
        Self(number << 1 | 1)
    }

    pub(crate) const fn to_raw(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    pub(crate) fn full(self) -> Option<OwnerId> {
        if self.0 & REMOTE == 0 {
            let kind = if self.0 & 1 == 1 { OwnerKind::Scope } else { OwnerKind::Thread };
            return (self != Self::NOBODY).then(|| OwnerId::local(kind, self.0 >> 1));
        }
        let kind = match (self.0 & !REMOTE) >> KIND_SHIFT {
            THREAD => OwnerKind::Thread,
            SCOPE => OwnerKind::Scope,
            _ => OwnerKind::Acquisition,
        };
        let realm = (self.0 >> REALM_SHIFT & REALM_MASK) as u32;
        Some(OwnerId { realm, kind, number: self.0 & NUMBER_MASK })
    }
}

impl OwnerId {
    /// As a slot's record holds it; `None` if it has no room for it.
    pub(crate) const fn small(self) -> Option<SmallOwner> {
        match (self.realm, self.kind) {
            // Its number comes from outside only if somebody made it up; zero would be nobody.
            (0, OwnerKind::Thread | OwnerKind::Scope)
                if self.number == 0 || self.number >= REMOTE >> 1 =>
            {
                None
            }
            (0, OwnerKind::Thread) => Some(SmallOwner(self.number << 1)),
            (0, OwnerKind::Scope) => Some(SmallOwner::scope(self.number)),
            (0, _) => None,
            (_, OwnerKind::Thread) => self.afar(THREAD),
            (_, OwnerKind::Scope) => self.afar(SCOPE),
            (_, OwnerKind::Acquisition) => self.afar(ACQUISITION),
            (_, OwnerKind::Explicit | OwnerKind::Unique | OwnerKind::Shared) => None,
        }
    }

    const fn afar(self, kind: u64) -> Option<SmallOwner> {
        let realm = self.realm as u64;
        if realm > REALM_MASK || self.number > NUMBER_MASK {
            return None;
        }
        Some(SmallOwner(REMOTE | kind << KIND_SHIFT | realm << REALM_SHIFT | self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scope, current};
    use super::*;

    #[test]
    fn c9_what_has_room_in_a_record_is_read_back_and_the_rest_has_none() {
        let thread = |realm, number| OwnerId::from_parts(realm, 1, number).unwrap();
        let kinds = [thread(0, 5), Scope::open().owner(), OwnerId::acquisition()];
        for (kind, realm) in kinds.iter().flat_map(|kind| [1, 77, (1 << 21) - 1].map(|r| (kind, r)))
        {
            let owner = kind.in_realm(realm);
            assert_eq!(owner.small().and_then(SmallOwner::full), Some(owner));
        }
        let (largest, zero) = (thread(7, (1 << 40) - 1), thread(7, 0));
        for owner in [current(), Scope::open().owner(), thread(0, REMOTE / 2 - 1), largest, zero] {
            assert_eq!(owner.small().and_then(SmallOwner::full), Some(owner));
        }
        let none = [
            thread(0, 0),
            thread(0, REMOTE / 2),
            thread(1 << 21, 5),
            thread(7, 1 << 40),
            OwnerId::acquisition(),
            OwnerId::from(5).in_realm(7),
            OwnerId::unique().in_realm(7),
        ];
        for owner in none {
            assert_eq!(owner.small(), None, "{owner:?}");
        }
    }

    #[test]
    fn c9_numbers_of_another_realm_are_nobody_else_here() {
        let owners = [current(), Scope::open().owner()];
        let all = owners.iter().flat_map(|owner| [0, 1, 2].map(|realm| owner.in_realm(realm)));
        let raws = all.map(|owner| owner.small().unwrap().to_raw());
        let raws = raws.collect::<std::collections::BTreeSet<_>>();
        assert_eq!(raws.len(), 6);
    }
}
