use std::fmt;
use std::ops::Deref;
use std::slice;

use smallvec::SmallVec;

use super::OwnerId;

/// The identities that a wait blocks, innermost first: their holds are the waiter's own
/// ([C9](crate::contract#c9-re-entry)) and are not released before the wait ends
/// ([C10](crate::contract#c10-deadlocks)).
///
/// Read it as the slice that it dereferences to. Up to two identities take no memory of their own.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct OwnerChain(SmallVec<[OwnerId; 2]>);

impl OwnerChain {
    /// Creates an empty chain.
    #[inline]
    pub fn new() -> Self {
        Self(SmallVec::new())
    }

    /// Adds the outermost identity.
    #[inline]
    pub fn push(&mut self, owner: OwnerId) {
        self.0.push(owner);
    }

    /// Inserts `owner` at `index`; 0 is the innermost.
    ///
    /// # Panics
    /// If `index` is greater than the length.
    pub fn insert(&mut self, index: usize, owner: OwnerId) {
        self.0.insert(index, owner);
    }

    /// Inserts `owners`, innermost first, from `index` on.
    ///
    /// # Panics
    /// If `index` is greater than the length.
    pub fn insert_many(&mut self, index: usize, owners: impl IntoIterator<Item = OwnerId>) {
        self.0.insert_many(index, owners);
    }

    /// Keeps the identities for which `keep` returns `true`.
    pub fn retain(&mut self, mut keep: impl FnMut(&OwnerId) -> bool) {
        self.0.retain(|owner| keep(owner));
    }

    /// Returns an iterator over the identities, by which they can be replaced.
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, OwnerId> {
        self.0.iter_mut()
    }

    /// Removes all identities.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Deref for OwnerChain {
    type Target = [OwnerId];

    #[inline]
    fn deref(&self) -> &[OwnerId] {
        &self.0
    }
}

impl FromIterator<OwnerId> for OwnerChain {
    #[inline]
    fn from_iter<I: IntoIterator<Item = OwnerId>>(owners: I) -> Self {
        Self(owners.into_iter().collect())
    }
}

impl From<Vec<OwnerId>> for OwnerChain {
    fn from(owners: Vec<OwnerId>) -> Self {
        Self(owners.into())
    }
}

impl<'a> IntoIterator for &'a OwnerChain {
    type Item = &'a OwnerId;
    type IntoIter = slice::Iter<'a, OwnerId>;

    #[inline]
    fn into_iter(self) -> slice::Iter<'a, OwnerId> {
        self.iter()
    }
}

impl fmt::Debug for OwnerChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
