/// One thing that the arbiter gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    // C1
    TwoHolders,
    SharedBesideExclusive,
    SharedExcludesShared,
    KeysFoldCase,
    KeysAreCut,
    BadKeysTaken,
    // C2
    NoWaitQueues,
    TimeoutEarly,
    TimeoutNever,
    TimeoutLeaksGrant,
    // C3
    LastComeFirstServed,
    NewcomersOvertake,
    FairIgnored,
    FairWaiterOvertaken,
    UnfairQueues,
    WaitingReadersOneByOne,
    ReadersOvertake,
    WritersOvertake,
    // C4
    LazyRelease,
    LostWakeUp,
    ReleaseByNonOwner,
    // C5
    LeakOnCancel,
    LeakGrantOnCancel,
    CancelWakesNobody,
    // C6
    StealEarly,
    StealOnlyOnArrival,
    StealByKeyAge,
    StealBehindQueue,
    LastThiefWins,
    StealsTheOldOnly,
    StealsYoungestPermit,
    RefreshForgotten,
    VictimKeepsHold,
    // C7
    TokensStartAgain,
    ReadersShareToken,
    SetTokenOfFirstKey,
    // C8
    LossNotTold,
    LossWakesNobody,
    LossWithoutCause,
    RefreshRevives,
    // C9
    NestsUnasked,
    AnybodyNests,
    AnonymousNests,
    SiblingsNest,
    NestEndsWithFirst,
    NestKeepsStrongest,
    ReentryNewToken,
    ReentryRenewsAge,
    UpgradeLosesLock,
    UpgradeQueuesLast,
    UpgradeKeepsToken,
    SecondUpgradeWaits,
    // C10
    DeadlockNotFound,
    DeadlockToldToBoth,
    DeadlockUnnamed,
    DeadlockDespiteSteal,
    DeadlockDespiteBound,
    DeadlockByOnePermit,
    ChainIsDeadlock,
    // C11
    SetKeepsFirst,
    SetDeadlinePerKey,
    SetUnsorted,
    SetLosesOne,
    SetAgesFromFirst,
    // C12
    ErrorsNameNobody,
    ListOmitsWaiters,
    ListReversed,
    // C13
    KeysRemembered,
    // C14
    AtLeastForgotten,
    AtLeastFreeForOwner,
    AtLeastStolen,
    AtMostForgotten,
    AtMostEndsSuccessor,
    // C15
    OptionIgnored,
    EvictIgnored,
    EvictAnyToken,
    // C16
    OnePermitTooMany,
    MismatchIgnored,
}
