//! The parts that transactions are made of.

use super::layout::Span;
use super::wire::{Compare, DeleteRequest, Operation, PutRequest, RangeRequest, Request, Revision};

/// There is nothing in this span.
pub(super) fn is_empty(Span(key, range_end): Span) -> Compare {
    Compare { result: 0, target: 1, key, range_end, revision: Some(Revision::Create(0)) }
}

/// How many comparisons, and how many operations either way, etcd takes unless told otherwise.
pub(super) const MOST: usize = 128;

/// Compares: nothing in this span was put since that revision. Removals do not show. A caller has
/// more room then than it found, and learns what it removed from the answer.
pub(super) fn is_unchanged(Span(key, range_end): Span, since: i64) -> Compare {
    Compare { result: 2, target: 2, key, range_end, revision: Some(Revision::Change(since + 1)) }
}

/// Everything in this span was created in this revision or later. False of an empty one.
pub(super) fn is_not_before(Span(key, range_end): Span, created: i64) -> Compare {
    Compare { result: 1, target: 1, key, range_end, revision: Some(Revision::Create(created - 1)) }
}

/// This entry is there, and was created in that revision.
pub(super) fn was_created(key: Vec<u8>, created: i64) -> Compare {
    let revision = Some(Revision::Create(created));
    Compare { result: 0, target: 1, key, range_end: Vec::new(), revision }
}

/// This entry is there.
pub(super) fn is_there(key: Vec<u8>) -> Compare {
    let revision = Some(Revision::Create(0));
    Compare { result: 1, target: 1, key, range_end: Vec::new(), revision }
}

pub(super) fn range(Span(key, range_end): Span) -> Operation {
    Request::Range(RangeRequest { key, range_end, limit: 0, revision: 0 }).into()
}

pub(super) fn get(key: Vec<u8>) -> Operation {
    range(Span(key, Vec::new()))
}

pub(super) fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> Operation {
    Request::Put(PutRequest { key, value, lease, ignore_lease: false }).into()
}

/// Changes the value of what is there and stays with its lease.
pub(super) fn change(key: Vec<u8>, value: Vec<u8>) -> Operation {
    Request::Put(PutRequest { key, value, lease: 0, ignore_lease: true }).into()
}

pub(super) fn delete(key: Vec<u8>) -> Operation {
    delete_all(Span(key, Vec::new()))
}

pub(super) fn delete_all(Span(key, range_end): Span) -> Operation {
    Request::Delete(DeleteRequest { key, range_end, prev_kv: true }).into()
}
