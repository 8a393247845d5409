use crate::Token;

/// A source of fencing tokens for an [`Engine`](crate::Engine), if they are not to start anew with
/// each process ([C7](crate::contract#c7-fencing-tokens)).
///
/// # Contract
/// `next` is greater than `after`, greater than any token handed out before for the same key, and
/// below 2^61. It is called without any mutex of the engine, by several threads at once, and before
/// it is known which grant its token is for: a token that is no longer above the last one of its
/// key is discarded.
pub trait TokenSource: Send + Sync + 'static {
    /// Returns the next token of a key whose greatest one so far is `after`.
    fn next(&self, after: Token) -> Token;
}
