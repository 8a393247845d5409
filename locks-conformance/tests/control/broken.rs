//! The control: a defect has to fail the cases that name it, and the same cases pass without it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use locks_conformance::{Case, Fixture};

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

/// How often a case may miss its defect: where threads race, they do not always meet.
const ATTEMPTS: usize = 300;

/// The case notices the defect, and nothing without it.
fn notices(case: &str, defect: Defect) {
    assert!(passes(Arbiter::sound(), case), "`{case}` fails without a defect");
    assert!(
        !(0..ATTEMPTS).all(|_| passes(Arbiter::with(defect), case)),
        "`{case}` does not notice {defect:?}"
    );
}

macro_rules! control {
    ($($test:ident: $defect:ident fails $($case:ident),+;)*) => {
        /// The cases that have been seen to fail.
        const CONTROLLED: &[&str] = &[$($(stringify!($case),)+)*];

        $(
            #[test]
            fn $test() {
                $(notices(stringify!($case), Defect::$defect);)+
            }
        )*
    };
}

control! {
    c1_two_holders: TwoHolders fails
        c1_exclusive_beside_nobody,
        c1_threads_never_overlap,
        c13_clones_are_the_same_arbiter,
        c1_clients_exclude_each_other;
    c1_shared_beside_exclusive: SharedBesideExclusive fails c1_shared_not_beside_exclusive;
    c1_shared_excludes_shared: SharedExcludesShared fails
        c1_shared_beside_shared,
        c11_sets_can_be_shared,
        c1_readers_of_two_clients_share;
    c1_keys_fold_case: KeysFoldCase fails c1_keys_are_compared_byte_for_byte;
    c1_keys_are_cut: KeysAreCut fails c1_the_longest_key_is_one;
    c1_bad_keys_taken: BadKeysTaken fails
        c1_refuses_what_cannot_be_a_key,
        c1_a_bad_key_is_found_before_anything_is_touched;
    c1_keys_end_at_separator: KeysEndAtSeparator fails
        c1_a_prefix_is_another_key,
        c1_keys_are_compared_byte_for_byte;
    c1_exclusive_beside_shared: ExclusiveBesideShared fails
        c1_exclusive_waits_for_every_shared,
        c1_readers_and_writers_never_overlap;
    c2_no_wait_queues: NoWaitQueues fails
        c2_without_waiting_it_never_queues,
        c2_without_waiting_it_leaves_the_queue_alone;
    c2_timeout_early: TimeoutEarly fails
        c2_a_timeout_comes_neither_early_nor_late,
        c2_each_timeout_is_its_own,
        c2_the_deadline_starts_at_the_first_poll;
    c2_timeout_never: TimeoutNever fails
        c2_a_timeout_comes_neither_early_nor_late,
        c2_a_blocking_timeout_ends,
        c2_extreme_limits_are_limits,
        c2_a_timeout_lets_those_behind_it_through;
    c2_timeout_leaks_grant: TimeoutLeaksGrant fails
        c2_a_grant_that_races_the_timeout_is_not_leaked,
        c2_threads_race_their_timeouts;
    c2_forever_ends: ForeverEnds fails c2_waiting_for_ever_is_for_ever;
    c3_last_come_first_served: LastComeFirstServed fails
        c3_waiters_are_served_in_their_order,
        c3_an_older_waiter_of_the_holders_client_goes_first,
        c3_clients_are_served_in_order,
        c16_permits_are_handed_on_in_order;
    c3_newcomers_overtake: NewcomersOvertake fails c3_newcomers_do_not_overtake_who_has_waited,
        c3_newcomers_do_not_overtake_who_was_woken_long_ago;
    c3_fair_ignored: FairIgnored fails c3_a_fair_newcomer_overtakes_nobody;
    c3_fair_waiter_overtaken: FairWaiterOvertaken fails c3_nobody_overtakes_a_fair_waiter;
    c3_unfair_queues: UnfairQueues fails
        c3_an_unfair_reader_goes_in_past_the_queue,
        c3_an_unfair_waiter_does_not_stand_in_line;
    c3_waiting_readers_one_by_one: WaitingReadersOneByOne fails
        c3_adjacent_shared_waiters_are_granted_together,
        c6_a_shared_thief_lets_waiting_readers_in;
    c3_readers_overtake: ReadersOvertake fails c3_readers_do_not_starve_a_writer;
    c3_writers_overtake: WritersOvertake fails c3_writers_do_not_starve_a_reader;
    c3_one_queue_for_all: OneQueueForAll fails c3_keys_have_queues_of_their_own;
    c4_lazy_release: LazyRelease fails
        c4_dropping_a_guard_releases_it,
        c4_an_abandoned_release_is_a_release,
        c4_a_panic_releases,
        c4_a_cancelled_future_releases,
        c4_a_thread_that_ends_releases,
        c5_dropped_while_free_after_any_number_of_polls,
        c9_an_ending_thread_can_lock;
    c4_wakers_panic_through: WakersPanicThrough fails c4_a_waker_that_panics_costs_nobody_else;
    c8_hands_over_lost: HandsOverLost fails
        c8_a_grant_that_ran_out_before_its_hand_over_is_asked_for_again;
    c8_watchers_stay: WatchersStay fails c8_a_dropped_watch_leaves_nothing;
    c12_list_waits: ListWaits fails c12_the_list_tells_who_holds_and_who_waits;
    c4_lost_wake_up: LostWakeUp fails
        c6_many_waiting_thieves_are_served_one_by_one,
        c4_every_release_wakes_the_next,
        c3_a_busy_thread_does_not_starve_a_waiter,
        c11_overlapping_sets_do_not_deadlock,
        c9_an_upgrade_outlives_the_loss_of_its_reader;
    c4_release_by_non_owner: ReleaseByNonOwner fails
        c4_releasing_a_lost_hold_does_not_touch_the_next,
        c6_a_late_release_of_the_victim_frees_nothing,
        c4_dropping_a_lost_guard_does_not_touch_the_next,
        c8_a_loss_concerns_one_hold;
    c4_release_reports_loss: ReleaseReportsLoss fails c4_release_confirms;
    c4_release_on_its_thread_only: ReleaseOnItsThreadOnly fails c4_another_thread_can_release;
    c5_leak_on_cancel: LeakOnCancel fails
        c5_dropped_while_waiting_after_any_number_of_polls,
        c5_dropped_anywhere_in_the_queue,
        c5_a_dropped_thief_steals_nothing,
        c5_a_dropped_set_gives_back_what_it_has,
        c5_many_dropped_waiters_leave_nothing,
        c5_a_dropped_wait_of_another_client_leaves_nothing;
    c5_leak_grant_on_cancel: LeakGrantOnCancel fails
        c5_dropped_after_the_grant_passes_it_on,
        c5_dropped_after_the_grant_frees_it;
    c5_cancel_wakes_nobody: CancelWakesNobody fails c5_a_dropped_writer_lets_readers_through;
    c6_steal_early: StealEarly fails
        c6_a_waiting_thief_is_served_when_due_and_never_early,
        c6_without_waiting_it_steals_now_or_fails_now,
        c6_the_timeout_of_a_thief_counts_as_well,
        c6_one_permit_is_stolen_when_due,
        c6_clients_steal_from_each_other;
    c6_steal_only_on_arrival: StealOnlyOnArrival fails
        c6_a_waiting_thief_is_served_when_due_and_never_early,
        c6_each_thief_is_due_in_its_own_time,
        c6_a_shared_thief_takes_an_exclusive_hold,
        c6_a_newcomer_does_not_overtake_a_due_thief,
        c6_a_thief_judges_who_came_in_after_it;
    c6_steal_by_key_age: StealByKeyAge fails
        c6_a_successor_is_not_judged_by_its_predecessor,
        c6_a_new_hold_is_young;
    c6_steal_behind_queue: StealBehindQueue fails c6_a_due_thief_goes_ahead_of_the_queue,
        c6_a_due_thief_goes_ahead_of_a_fair_waiter;
    c6_last_thief_wins: LastThiefWins fails c6_the_first_of_the_due_thieves_wins;
    c6_steals_the_old_only: StealsTheOldOnly fails
        c6_an_exclusive_thief_takes_all_shared_holds_or_none;
    c6_steals_youngest_permit: StealsYoungestPermit fails c6_of_two_old_permits_the_older_is_stolen;
    c6_steals_one_permit: StealsOnePermit fails c6_a_permit_steals_as_many_as_it_takes;
    c6_steals_as_many_holds: StealsAsManyHolds fails
        c6_several_permits_are_stolen_from_whom_it_takes;
    c6_robs_in_vain: RobsInVain fails c6_several_permits_are_stolen_from_whom_it_takes;
    c6_refresh_forgotten: RefreshForgotten fails
        c6_refresh_renews_the_age,
        c12_the_age_is_that_of_the_hold;
    c6_victim_keeps_hold: VictimKeepsHold fails
        c6_a_waiting_thief_is_served_when_due_and_never_early,
        c6_racing_thieves_win_one_at_a_time,
        c6_an_age_of_nothing_steals_at_once,
        c11_a_set_can_steal;
    c6_steals_needlessly: StealsNeedlessly fails c6_compatible_holds_are_left_alone;
    c7_tokens_start_again: TokensStartAgain fails
        c7_a_forgotten_key_does_not_start_again,
        c7_tokens_grow_with_every_grant,
        c7_a_thief_has_a_greater_token,
        c7_tokens_grow_across_eviction,
        c7_no_token_is_given_twice,
        c7_tokens_of_two_clients_grow_together;
    c7_readers_share_token: ReadersShareToken fails c7_readers_have_tokens_of_their_own;
    c7_set_token_of_first_key: SetTokenOfFirstKey fails
        c7_the_token_of_a_set_is_above_those_of_its_keys;
    c7_listed_token_is_another: ListedTokenIsAnother fails c7_the_guard_and_the_list_agree;
    c8_loss_not_told: LossNotTold fails c8_a_lost_guard_says_so;
    c8_loss_wakes_nobody: LossWakesNobody fails
        c8_lost_resolves_on_loss_and_only_then,
        c8_all_who_wait_for_a_loss_hear_of_it;
    c8_loss_without_cause: LossWithoutCause fails c8_nothing_is_lost_without_a_cause;
    c8_refresh_revives: RefreshRevives fails c8_refresh_does_not_bring_back_what_is_lost;
    c8_lease_not_renewed: LeaseNotRenewed fails c8_a_living_hold_outlives_its_lease;
    c9_nests_unasked: NestsUnasked fails
        c9_by_default_the_holder_does_not_nest,
        c9_the_holder_steals_from_itself_when_due,
        c9_a_scope_cannot_wait_for_its_parent;
    c9_anybody_nests: AnybodyNests fails
        c9_others_do_not_nest,
        c9_scopes_on_one_thread_are_apart,
        c9_what_is_spawned_starts_fresh;
    c9_anonymous_nests: AnonymousNests fails c9_the_anonymous_cannot_nest;
    c9_disown_ignored: DisownIgnored fails c9_a_guard_that_may_leave_its_thread_is_nobodys;
    c9_siblings_nest: SiblingsNest fails c9_siblings_wait_for_each_other;
    c9_nest_ends_with_first: NestEndsWithFirst fails c9_a_nest_is_released_with_its_last_guard;
    c9_nest_keeps_strongest: NestKeepsStrongest fails c9_a_nest_has_the_strongest_mode_that_remains;
    c9_reentry_new_token: ReentryNewToken fails
        c9_reentry_overtakes_the_queue_and_keeps_the_token,
        c9_a_scope_is_one_holder,
        c9_a_thread_is_one_holder;
    c9_reentry_renews_age: ReentryRenewsAge fails
        c9_reentry_does_not_renew_the_age,
        c9_an_upgrade_does_not_renew_the_age;
    c9_upgrade_loses_lock: UpgradeLosesLock fails
        c9_an_upgrade_waits_at_the_head_and_keeps_the_lock,
        c9_a_cancelled_upgrade_leaves_the_reader;
    c9_upgrade_queues_last: UpgradeQueuesLast fails
        c9_an_upgrade_waits_at_the_head_and_keeps_the_lock;
    c9_upgrade_keeps_token: UpgradeKeepsToken fails c9_a_sole_reader_is_upgraded;
    c9_second_upgrade_waits: SecondUpgradeWaits fails c9_a_second_upgrade_is_a_deadlock;
    c9_owners_of_clients_meet: OwnersOfClientsMeet fails c9_owners_of_two_clients_are_apart;
    c9_shared_owners_are_apart: SharedOwnersAreApart fails
        c9_a_shared_owner_holds_until_its_last_guard_goes;
    c9_a_loss_of_a_shared_owner_not_told: LossNotTold fails
        c9_a_thief_takes_all_guards_of_a_shared_owner;
    c9_shared_owners_are_their_ids: SharedOwnersAreTheirIds fails
        c9_the_id_of_a_shared_owner_is_not_the_owner;
    c9_shared_owners_do_not_wait: SharedOwnersDoNotWait fails
        c9_a_shared_owner_waits_where_it_does_not_nest,
        c10_a_shared_owner_closes_no_cycle_by_its_name;
    c9_anonymous_are_one: AnonymousAreOne fails c10_anonymous_holds_are_in_no_cycle;
    c10_deadlock_not_found: DeadlockNotFound fails
        c10_two_that_wait_for_each_other,
        c10_of_two_threads_exactly_one_is_told,
        c10_a_wait_with_a_timeout_is_told_as_well,
        c10_a_cycle_through_an_earlier_waiter,
        c10_a_set_that_waits_holds_what_it_has;
    c10_deadlock_told_to_both: DeadlockToldToBoth fails
        c10_two_that_wait_for_each_other,
        c10_of_two_threads_exactly_one_is_told;
    c10_deadlock_unnamed: DeadlockUnnamed fails
        c10_two_that_wait_for_each_other,
        c10_a_cycle_of_three_with_a_reader;
    c10_deadlock_despite_steal: DeadlockDespiteSteal fails
        c10_a_thief_in_the_cycle_ends_it,
        c10_a_thief_ahead_in_the_queue_lets_those_behind_it_through;
    c10_deadlock_despite_bound: DeadlockDespiteBound fails c10_a_bounded_hold_in_the_cycle_ends_it;
    c10_deadlock_by_one_permit: DeadlockByOnePermit fails
        c10_a_permit_is_deadlocked_only_if_every_holder_leads_back;
    c10_deadlock_by_all_permits: DeadlockByAllPermits fails
        c10_a_permit_counts_the_holders_that_lead_back;
    c10_deadlock_by_holders: DeadlockByHolders fails c10_several_permits_are_counted_each;
    c10_chain_is_deadlock: ChainIsDeadlock fails
        c10_a_chain_is_no_cycle,
        c10_no_false_alarm_under_load;
    c10_owner_is_blocked: OwnerIsBlocked fails
        c10_an_owner_of_several_threads_is_not_what_waits,
        c10_who_acts_for_another_does_not_block_it;
    c10_disowned_blocks: DisownedBlocks fails c10_a_guard_that_is_given_away_blocks_no_thread;
    c11_set_keeps_first: SetKeepsFirst fails c11_all_or_nothing;
    c11_set_deadline_per_key: SetDeadlinePerKey fails c11_one_deadline_covers_all_keys;
    c11_set_unsorted: SetUnsorted fails c11_keys_are_taken_in_their_order;
    c11_set_loses_one: SetLosesOne fails c11_the_loss_of_one_is_the_loss_of_all;
    c11_set_ages_from_first: SetAgesFromFirst fails c11_the_age_begins_when_the_set_is_complete;
    c11_set_forgets_key: SetForgetsKey fails c11_all_keys_are_held_and_released;
    c11_set_completes_without_lost: SetCompletesWithoutLost fails
        c11_a_key_lost_while_waiting_is_taken_again;
    c12_errors_name_nobody: ErrorsNameNobody fails
        c12_contended_says_who_where_and_since_when,
        c12_timeout_says_who_it_waited_for;
    c12_list_omits_waiters: ListOmitsWaiters fails c12_the_list_tells_who_holds_and_who_waits;
    c12_list_reversed: ListReversed fails c12_the_list_tells_who_holds_and_who_waits;
    c12_lists_everything_exclusive: ListsEverythingExclusive fails
        c12_the_list_tells_how_it_is_held;
    c12_list_ignores_query: ListIgnoresQuery fails c12_the_list_can_be_narrowed;
    c12_scopes_unnamed: ScopesUnnamed fails c12_a_scope_is_named_as_one;
    c12_labels_forgotten: LabelsForgotten fails c12_labels_are_told;
    c12_depth_unknown: DepthUnknown fails c12_the_list_tells_how_deep_a_nest_is;
    c13_keys_remembered: KeysRemembered fails
        c13_unused_keys_are_forgotten,
        c13_keys_that_were_waited_for_are_forgotten,
        c13_keys_that_were_lost_are_forgotten,
        c13_keys_with_everything_on_are_forgotten;
    c14_at_least_forgotten: AtLeastForgotten fails
        c14_hold_at_least_reserves_the_key,
        c14_a_reservation_is_listed,
        c14_a_reservation_outlives_a_panic,
        c14_the_bounds_go_together,
        c14_a_reserved_permit_is_one_permit,
        c14_a_thief_waits_for_reservations;
    c14_at_least_free_for_owner: AtLeastFreeForOwner fails
        c14_a_reservation_binds_its_former_owner_too;
    c14_at_least_stolen: AtLeastStolen fails
        c14_hold_at_least_protects_from_theft,
        c14_once_per_protects_from_theft;
    c14_reserves_one_permit: ReservesOnePermit fails c14_several_permits_are_reserved_together;
    c14_undone_reserved: UndoneReserved fails
        c14_once_per_leaves_free_what_was_not_done;
    c14_done_forgotten: DoneForgotten fails
        c14_once_per_reserves_what_was_done,
        c14_once_per_of_a_set_reserves_all_of_it;
    c14_at_most_forgotten: AtMostForgotten fails
        c14_hold_at_most_ends_the_hold,
        c14_hold_at_most_needs_no_waiter,
        c14_hold_at_most_a_moment_is_lost_at_once,
        c11_the_bounds_begin_when_the_set_is_complete,
        c7_tokens_grow_across_the_end_of_a_hold;
    c14_at_most_ends_successor: AtMostEndsSuccessor fails c14_hold_at_most_ends_with_the_hold;
    c14_endless_is_nothing: EndlessIsNothing fails c14_bounds_without_an_end_are_kept;
    c14_bounds_round_up: BoundsRoundUp fails c14_bounds_of_a_moment_are_over_at_once;
    c14_at_least_from_release: AtLeastFromRelease fails c14_hold_at_least_is_over_when_the_time_is;
    c6_robbed_unnamed: RobbedUnnamed fails c6_a_thief_knows_whom_it_has_robbed;
    c9_takes_where_it_is_to_nest: TakesWhereItIsToNest fails c9_the_guard_around_is_found;
    c9_downgrade_ignored: DowngradeIgnored fails c9_a_downgraded_hold_is_shared;
    c15_option_ignored: OptionIgnored fails
        c15_options_are_granted_or_refused_as_declared,
        c6_a_new_hold_is_young,
        c15_refusals_come_first;
    c15_evict_ignored: EvictIgnored fails
        c15_listing_and_eviction_as_declared,
        c15_eviction_serves_the_next,
        c14_eviction_ends_a_reservation;
    c15_evict_any_token: EvictAnyToken fails
        c15_listing_and_eviction_as_declared,
        c8_one_reader_of_several_can_lose_its_hold;
    c15_description_varies: DescriptionVaries fails c15_the_description_is_constant;
    c16_one_permit_too_many: OnePermitTooMany fails
        c16_as_many_as_there_are_and_no_more,
        c16_threads_never_exceed_the_number;
    c16_mismatch_ignored: MismatchIgnored fails
        c16_locks_and_permits_do_not_mix,
        c16_locks_and_waiting_permits_do_not_mix;
    c16_permits_agree: PermitsAgree fails
        c16_each_request_obeys_its_own_number,
        c16_a_fleet_is_rolled_to_another_number,
        c16_one_and_very_many;
    c16_permits_of_the_first: PermitsOfTheFirst fails c16_each_request_obeys_its_own_number;
    c16_takes_one_permit: TakesOnePermit fails
        c16_several_are_acquired_at_once_or_not_at_all,
        c16_a_release_of_several_serves_all_that_fit;
    c16_light_overtakes_heavy: LightOvertakesHeavy fails
        c16_a_large_request_is_not_starved_by_small_ones;
    c16_nonsense_taken: NonsenseTaken fails
        c14_hold_at_most_nothing_is_refused,
        c14_once_per_is_not_for_shared_holds,
        c16_nonsense_is_refused;
}

/// What the cases fail that are put to two clients, and do not fail merely because the two know
/// nothing of each other.
const BETWEEN_CLIENTS: [(Defect, &[&str]); 8] = [
    (Defect::TimeoutLeaksGrant, &["rival::c2_threads_race_their_timeouts"]),
    (
        Defect::LostWakeUp,
        &[
            "rival::c3_a_busy_thread_does_not_starve_a_waiter",
            "rival::c11_overlapping_sets_do_not_deadlock",
        ],
    ),
    (Defect::LazyRelease, &["rival::c5_dropped_while_free_after_any_number_of_polls"]),
    (Defect::LeakOnCancel, &["rival::c5_many_dropped_waiters_leave_nothing"]),
    (Defect::StealsNeedlessly, &["rival::c6_compatible_holds_are_left_alone"]),
    (
        Defect::TokensOfClients,
        &[
            "rival::c7_a_forgotten_key_does_not_start_again",
            "rival::c7_no_token_is_given_twice",
            "c7_tokens_of_two_clients_grow_together",
        ],
    ),
    (Defect::SharedOwnersAreApart, &["rival::c9_a_shared_owner_holds_until_its_last_guard_goes"]),
    (Defect::SetTokenOfFirstKey, &["rival::c7_the_token_of_a_set_is_above_those_of_its_keys"]),
];

#[test]
fn defects_between_clients_are_noticed() {
    for (defect, cases) in BETWEEN_CLIENTS {
        cases.iter().for_each(|case| notices(case, defect));
    }
}

/// A case that is put to two clients has a conflict between them.
#[test]
fn clients_that_know_nothing_of_each_other_are_noticed() {
    let others = || BETWEEN_CLIENTS.iter().flat_map(|(_, cases)| *cases);
    let cases = Case::all().iter().map(Case::name).filter(|name| name.starts_with("rival::"));
    for case in cases.filter(|case| others().all(|other| other != case)) {
        notices(case, Defect::ClientsApart);
    }
}

/// Every case can fail: a defect here, or a flaw between processes, names it.
#[cfg(target_os = "linux")]
#[test]
fn every_case_has_a_control() {
    let between = crate::processes::CONTROLS.iter().flat_map(|(_, cases)| *cases);
    let controlled = Vec::from_iter(CONTROLLED.iter().chain(between));
    // Those of two clients have the test above.
    let alone = Case::all().iter().map(Case::name).filter(|name| !name.starts_with("rival::"));
    for case in alone {
        assert!(controlled.contains(&&case), "nothing shows that `{case}` can fail");
    }
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
