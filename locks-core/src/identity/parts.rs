//! Identities as numbers, for those who write them down or send them.

use super::{OwnerId, OwnerKind};

impl OwnerId {
    /// Returns the realm, the number of the kind, and the number within that kind.
    ///
    /// The kinds keep their numbers: 1 a thread, 2 a scope, 3 a single acquisition, 4 one made from
    /// a number, 5 a [unique](Self::unique) one, 6 a [shared](crate::SharedOwner) one.
    pub const fn to_parts(self) -> (u32, u8, u64) {
        let kind = match self.kind {
            OwnerKind::Thread => 1,
            OwnerKind::Scope => 2,
            OwnerKind::Acquisition => 3,
            OwnerKind::Explicit => 4,
            OwnerKind::Unique => 5,
            OwnerKind::Shared => 6,
        };
        (self.realm, kind, self.number)
    }

    /// Returns the identity with these [parts](Self::to_parts); `None` if there is no such kind.
    ///
    /// Parts that come from another process belong in a realm of their own.
    pub const fn from_parts(realm: u32, kind: u8, number: u64) -> Option<Self> {
        let kind = match kind {
            1 => OwnerKind::Thread,
            2 => OwnerKind::Scope,
            3 => OwnerKind::Acquisition,
            4 => OwnerKind::Explicit,
            5 => OwnerKind::Unique,
            6 => OwnerKind::Shared,
            _ => return None,
        };
        Some(Self { realm, kind, number })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Scope, SharedOwner, current};
    use super::*;

    #[test]
    fn c9_an_owner_is_what_its_parts_say_and_the_kinds_keep_their_numbers() {
        let owners = [
            current(),
            Scope::open().owner(),
            OwnerId::acquisition(),
            OwnerId::from(u64::MAX),
            OwnerId::unique(),
            SharedOwner::random().id(),
        ];
        for (owner, number) in owners.into_iter().zip(1..) {
            for owner in [owner, owner.in_realm(u32::MAX)] {
                let (realm, kind, inner) = owner.to_parts();
                assert_eq!((realm, kind), (owner.realm(), number));
                assert_eq!(OwnerId::from_parts(realm, kind, inner), Some(owner));
            }
        }
        assert_eq!(OwnerId::from_parts(0, 0, 1), None);
        assert_eq!(OwnerId::from_parts(0, 7, 1), None);
    }
}
