//! The control: a defect has to fail the cases that name it, and the same cases pass without it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use locks_core::conformance::{Case, Fixture};

use crate::arbiter::{Arbiter, Defect};

/// Whether the arbiter passes the case; a hang is a failure, by the kit's own patience.
///
/// # Panics
/// If it is the arbiter that panics: then the case has noticed nothing.
fn passes(arbiter: Arbiter, case: &str) -> bool {
    let passes = passes_case(Arc::new(arbiter.clone()), case);
    assert!(!arbiter.has_panicked(), "the arbiter itself panicked in `{case}`");
    passes
}

/// Whether the fixture passes the case.
pub(crate) fn passes_case(fixture: Arc<dyn Fixture>, case: &str) -> bool {
    catch_unwind(AssertUnwindSafe(|| Case::named(case).run(fixture))).is_ok()
}

macro_rules! control {
    ($($test:ident: $defect:ident fails $($case:ident),+;)*) => {
        $(
            #[test]
            fn $test() {
                $(
                    let case = stringify!($case);
                    assert!(passes(Arbiter::sound(), case), "`{case}` fails without a defect");
                    assert!(
                        !passes(Arbiter::with(Defect::$defect), case),
                        "`{case}` does not notice {:?}", Defect::$defect
                    );
                )+
            }
        )*
    };
}

control! {
    c1_two_holders: TwoHolders fails c1_exclusive_beside_nobody, c1_threads_never_overlap;
    c1_shared_beside_exclusive: SharedBesideExclusive fails c1_shared_not_beside_exclusive;
    c1_shared_excludes_shared: SharedExcludesShared fails c1_shared_beside_shared;
    c1_keys_fold_case: KeysFoldCase fails c1_keys_are_compared_byte_for_byte;
    c1_keys_are_cut: KeysAreCut fails c1_the_longest_key_is_one;
    c1_bad_keys_taken: BadKeysTaken fails c1_refuses_what_cannot_be_a_key,
        c1_a_bad_key_is_found_before_anything_is_touched;
    c2_no_wait_queues: NoWaitQueues fails c2_without_waiting_it_never_queues;
    c2_timeout_early: TimeoutEarly fails c2_a_timeout_comes_neither_early_nor_late;
    c2_timeout_never: TimeoutNever fails c2_a_timeout_comes_neither_early_nor_late,
        c2_a_blocking_timeout_ends;
    c2_timeout_leaks_grant: TimeoutLeaksGrant fails
        c2_a_grant_that_races_the_timeout_is_not_leaked;
    c3_last_come_first_served: LastComeFirstServed fails c3_waiters_are_served_in_their_order;
    c3_newcomers_overtake: NewcomersOvertake fails c3_newcomers_do_not_overtake_who_has_waited;
    c3_fair_ignored: FairIgnored fails c3_a_fair_newcomer_overtakes_nobody;
    c3_fair_waiter_overtaken: FairWaiterOvertaken fails c3_nobody_overtakes_a_fair_waiter;
    c3_unfair_queues: UnfairQueues fails c3_an_unfair_reader_goes_in_past_the_queue;
    c3_waiting_readers_one_by_one: WaitingReadersOneByOne fails
        c3_adjacent_shared_waiters_are_granted_together;
    c3_readers_overtake: ReadersOvertake fails c3_readers_do_not_starve_a_writer;
    c3_writers_overtake: WritersOvertake fails c3_writers_do_not_starve_a_reader;
    c4_lazy_release: LazyRelease fails c4_dropping_a_guard_releases_it,
        c4_an_abandoned_release_is_a_release;
    c4_lost_wake_up: LostWakeUp fails c4_every_release_wakes_the_next;
    c4_release_by_non_owner: ReleaseByNonOwner fails
        c4_releasing_a_lost_hold_does_not_touch_the_next,
        c6_a_late_release_of_the_victim_frees_nothing;
    c5_leak_on_cancel: LeakOnCancel fails c5_dropped_while_waiting_after_any_number_of_polls;
    c5_leak_grant_on_cancel: LeakGrantOnCancel fails c5_dropped_after_the_grant_passes_it_on,
        c5_dropped_after_the_grant_frees_it;
    c5_cancel_wakes_nobody: CancelWakesNobody fails c5_a_dropped_writer_lets_readers_through;
    c6_steal_early: StealEarly fails c6_a_waiting_thief_is_served_when_due_and_never_early,
        c6_without_waiting_it_steals_now_or_fails_now;
    c6_steal_only_on_arrival: StealOnlyOnArrival fails
        c6_a_waiting_thief_is_served_when_due_and_never_early;
    c6_steal_by_key_age: StealByKeyAge fails c6_a_successor_is_not_judged_by_its_predecessor,
        c6_a_new_hold_is_young;
    c6_steal_behind_queue: StealBehindQueue fails c6_a_due_thief_goes_ahead_of_the_queue;
    c6_last_thief_wins: LastThiefWins fails c6_the_first_of_the_due_thieves_wins;
    c6_steals_the_old_only: StealsTheOldOnly fails
        c6_an_exclusive_thief_takes_all_shared_holds_or_none;
    c6_steals_youngest_permit: StealsYoungestPermit fails
        c6_of_two_old_permits_the_older_is_stolen;
    c6_refresh_forgotten: RefreshForgotten fails c6_refresh_renews_the_age;
    c6_victim_keeps_hold: VictimKeepsHold fails
        c6_a_waiting_thief_is_served_when_due_and_never_early;
    c7_tokens_start_again: TokensStartAgain fails c7_a_forgotten_key_does_not_start_again,
        c7_tokens_grow_with_every_grant;
    c7_readers_share_token: ReadersShareToken fails c7_readers_have_tokens_of_their_own;
    c7_set_token_of_first_key: SetTokenOfFirstKey fails
        c7_the_token_of_a_set_is_above_those_of_its_keys;
    c8_loss_not_told: LossNotTold fails c8_a_lost_guard_says_so;
    c8_loss_wakes_nobody: LossWakesNobody fails c8_lost_resolves_on_loss_and_only_then,
        c8_all_who_wait_for_a_loss_hear_of_it;
    c8_loss_without_cause: LossWithoutCause fails c8_nothing_is_lost_without_a_cause;
    c8_refresh_revives: RefreshRevives fails c8_refresh_does_not_bring_back_what_is_lost;
    c9_nests_unasked: NestsUnasked fails c9_by_default_the_holder_does_not_nest;
    c9_anybody_nests: AnybodyNests fails c9_others_do_not_nest;
    c9_anonymous_nests: AnonymousNests fails c9_the_anonymous_cannot_nest;
    c9_siblings_nest: SiblingsNest fails c9_siblings_wait_for_each_other;
    c9_nest_ends_with_first: NestEndsWithFirst fails c9_a_nest_is_released_with_its_last_guard;
    c9_nest_keeps_strongest: NestKeepsStrongest fails
        c9_a_nest_has_the_strongest_mode_that_remains;
    c9_reentry_new_token: ReentryNewToken fails
        c9_reentry_overtakes_the_queue_and_keeps_the_token;
    c9_reentry_renews_age: ReentryRenewsAge fails c9_reentry_does_not_renew_the_age,
        c9_an_upgrade_does_not_renew_the_age;
    c9_upgrade_loses_lock: UpgradeLosesLock fails
        c9_an_upgrade_waits_at_the_head_and_keeps_the_lock;
    c9_upgrade_queues_last: UpgradeQueuesLast fails
        c9_an_upgrade_waits_at_the_head_and_keeps_the_lock;
    c9_upgrade_keeps_token: UpgradeKeepsToken fails c9_a_sole_reader_is_upgraded;
    c9_second_upgrade_waits: SecondUpgradeWaits fails c9_a_second_upgrade_is_a_deadlock;
    c10_deadlock_not_found: DeadlockNotFound fails c10_two_that_wait_for_each_other,
        c10_of_two_threads_exactly_one_is_told, c10_a_wait_with_a_timeout_is_told_as_well;
    c10_deadlock_told_to_both: DeadlockToldToBoth fails c10_two_that_wait_for_each_other,
        c10_of_two_threads_exactly_one_is_told;
    c10_deadlock_unnamed: DeadlockUnnamed fails c10_two_that_wait_for_each_other,
        c10_a_cycle_of_three_with_a_reader;
    c10_deadlock_despite_steal: DeadlockDespiteSteal fails c10_a_thief_in_the_cycle_ends_it;
    c10_deadlock_despite_bound: DeadlockDespiteBound fails
        c10_a_bounded_hold_in_the_cycle_ends_it;
    c10_deadlock_by_one_permit: DeadlockByOnePermit fails
        c10_a_permit_is_deadlocked_only_if_every_holder_leads_back;
    c10_chain_is_deadlock: ChainIsDeadlock fails c10_a_chain_is_no_cycle;
    c11_set_keeps_first: SetKeepsFirst fails c11_all_or_nothing;
    c11_set_deadline_per_key: SetDeadlinePerKey fails c11_one_deadline_covers_all_keys;
    c11_set_unsorted: SetUnsorted fails c11_keys_are_taken_in_their_order;
    c11_set_loses_one: SetLosesOne fails c11_the_loss_of_one_is_the_loss_of_all;
    c11_set_ages_from_first: SetAgesFromFirst fails
        c11_the_age_begins_when_the_set_is_complete;
    c12_errors_name_nobody: ErrorsNameNobody fails c12_contended_says_who_where_and_since_when,
        c12_timeout_says_who_it_waited_for;
    c12_list_omits_waiters: ListOmitsWaiters fails c12_the_list_tells_who_holds_and_who_waits;
    c12_list_reversed: ListReversed fails c12_the_list_tells_who_holds_and_who_waits;
    c13_keys_remembered: KeysRemembered fails c13_unused_keys_are_forgotten;
    c14_at_least_forgotten: AtLeastForgotten fails c14_hold_at_least_reserves_the_key;
    c14_at_least_free_for_owner: AtLeastFreeForOwner fails
        c14_a_reservation_binds_its_former_owner_too;
    c14_at_least_stolen: AtLeastStolen fails c14_hold_at_least_protects_from_theft;
    c14_at_most_forgotten: AtMostForgotten fails c14_hold_at_most_ends_the_hold,
        c14_hold_at_most_needs_no_waiter;
    c14_at_most_ends_successor: AtMostEndsSuccessor fails c14_hold_at_most_ends_with_the_hold;
    c15_option_ignored: OptionIgnored fails c15_options_are_granted_or_refused_as_declared,
        c6_a_new_hold_is_young;
    c15_evict_ignored: EvictIgnored fails c15_listing_and_eviction_as_declared,
        c15_eviction_serves_the_next;
    c15_evict_any_token: EvictAnyToken fails c15_listing_and_eviction_as_declared;
    c16_one_permit_too_many: OnePermitTooMany fails c16_as_many_as_there_are_and_no_more,
        c16_threads_never_exceed_the_number;
    c16_mismatch_ignored: MismatchIgnored fails c16_everybody_agrees_on_the_number;
}

/// The list of cases is whole: each name once, for each of the sixteen clauses.
#[test]
fn every_clause_has_cases() {
    let mut names = Vec::from_iter(Case::all().iter().map(Case::name));
    names.sort_unstable();
    assert!(names.is_sorted_by(|one, next| one < next), "a case is listed twice");
    for clause in 1..=16 {
        let prefix = format!("c{clause}_");
        assert!(names.iter().any(|name| name.starts_with(&prefix)), "nothing checks C{clause}");
    }
}
