/// A mistake that is made on purpose, to see it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A grant is not written down: after a restart the key is granted to somebody else.
    GrantNotWritten,
    /// An end is not written down: what had ended is back after a restart.
    EndNotWritten,
    /// What is told leaves before it is written down.
    ToldBeforeWritten,
    /// After the journal is lost, tokens begin anew.
    FloorForgotten,
    /// Sessions expire before what has come in is read.
    ExpiredUnread,
    /// A late release of a hold that was taken away frees whoever has its key now.
    ReleasedByKey,
    /// On resume the server counts what it has acknowledged instead of what it has applied.
    AppliedTwice,
    /// Validity counts from the arrival of an acknowledgement.
    ValidFromReply,
    /// The server does not hear of it when an acquisition is given up.
    NotWithdrawn,
}
