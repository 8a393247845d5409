//! The conformance kit: every clause of the contract as cases that any backend can be put to.
//!
//! [`conformance!`] makes one `#[test]` of each case, so that none is left out. What a case asks
//! depends on what the backend [declares](locks_core::Capabilities): where it declares that it
//! cannot, the case asserts that the request is refused
//! ([C15](locks_core::contract#c15-capabilities)).
//!
//! ```
//! use locks::conformance::conformance;
//! use locks::Backend;
//! use locks::backend::Engine;
//!
//! // One line in the tests of a backend: a name, and what makes a fixture.
//! conformance!(the_engine, || Backend::new(Engine::new()));
//! # fn main() {}
//! ```
//!
//! A [`Fixture`] tells the kit about clocks, other clients and other processes. The names of
//! cases begin with the number of their clause.
//!
//! A store with leases is put to `lease_store!` as well (feature `leases`), which asks it step by
//! step and without an adapter in front.

mod bounds;
mod cancel;
mod capabilities;
mod case;
mod child;
mod children;
mod clients;
mod deadlock;
mod exclusion;
mod extremes;
mod fairness;
mod fencing;
mod fixture;
mod forked;
mod handed;
mod holders;
mod keys;
mod leaks;
mod loss;
mod pending;
mod permits;
mod reentry;
mod release;
mod running;
mod scopes;
mod several;
mod stalls;
mod stealing;
#[cfg(feature = "leases")]
mod store;
mod subject;
mod upgrade;
mod victims;
mod waiting;

pub use case::{Case, Made};
pub use child::serve;
pub use fixture::Fixture;
#[cfg(feature = "leases")]
pub use store::{StoreCase, StoreFixture, StoreMade};

/// Every case there is, in the order of the clauses: the one place that lists them. `+ rival`: it
/// has a conflict, and is run once more with the other side of it at another client.
///
/// Hands the list to the macro named first, together with whatever else it was given.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($then:ident $($rest:tt)*) => {
        $crate::$then! {
            { $($rest)* }
            keys {
                c1_keys_are_compared_byte_for_byte + rival,
                c1_the_longest_key_is_one + rival,
                c1_a_prefix_is_another_key + rival,
                c1_refuses_what_cannot_be_a_key,
                c1_a_bad_key_is_found_before_anything_is_touched,
            }
            exclusion {
                c1_exclusive_beside_nobody + rival,
                c1_shared_beside_shared + rival,
                c1_shared_not_beside_exclusive + rival,
                c1_exclusive_waits_for_every_shared + rival,
                c1_threads_never_overlap + rival,
                c1_readers_and_writers_never_overlap + rival,
            }
            waiting {
                c2_without_waiting_it_never_queues + rival,
                c2_without_waiting_it_leaves_the_queue_alone + rival,
                c2_a_timeout_comes_neither_early_nor_late + rival,
                c2_a_blocking_timeout_ends + rival,
                c2_each_timeout_is_its_own + rival,
                c2_extreme_limits_are_limits + rival,
                c2_the_deadline_starts_at_the_first_poll + rival,
                c2_a_grant_that_races_the_timeout_is_not_leaked + rival,
                c2_threads_race_their_timeouts + rival,
                c2_a_timeout_lets_those_behind_it_through + rival,
                c2_waiting_for_ever_is_for_ever + rival,
            }
            fairness {
                c3_waiters_are_served_in_their_order + rival,
                c3_adjacent_shared_waiters_are_granted_together + rival,
                c3_readers_do_not_starve_a_writer + rival,
                c3_writers_do_not_starve_a_reader + rival,
                c3_newcomers_do_not_overtake_who_has_waited + rival,
                c3_newcomers_do_not_overtake_who_was_woken_long_ago + rival,
                c3_a_fair_newcomer_overtakes_nobody + rival,
                c3_nobody_overtakes_a_fair_waiter + rival,
                c3_an_unfair_reader_goes_in_past_the_queue + rival,
                c3_an_unfair_waiter_does_not_stand_in_line + rival,
                c3_an_older_waiter_of_the_holders_client_goes_first + rival,
                c3_keys_have_queues_of_their_own + rival,
                c3_a_busy_thread_does_not_starve_a_waiter + rival,
            }
            release {
                c4_dropping_a_guard_releases_it + rival,
                c4_release_confirms + rival,
                c4_an_abandoned_release_is_a_release + rival,
                c4_a_panic_releases + rival,
                c4_a_cancelled_future_releases + rival,
                c4_another_thread_can_release + rival,
                c4_a_thread_that_ends_releases + rival,
                c4_every_release_wakes_the_next + rival,
                c4_a_waker_that_panics_costs_nobody_else + rival,
                c4_releasing_a_lost_hold_does_not_touch_the_next + rival,
                c4_dropping_a_lost_guard_does_not_touch_the_next + rival,
            }
            cancel {
                c5_dropped_while_waiting_after_any_number_of_polls + rival,
                c5_dropped_while_free_after_any_number_of_polls + rival,
                c5_dropped_anywhere_in_the_queue + rival,
                c5_dropped_after_the_grant_passes_it_on + rival,
                c5_dropped_after_the_grant_frees_it + rival,
                c5_a_dropped_writer_lets_readers_through + rival,
                c5_a_dropped_thief_steals_nothing + rival,
                c5_a_dropped_set_gives_back_what_it_has + rival,
                c5_many_dropped_waiters_leave_nothing + rival,
            }
            stealing {
                c6_a_waiting_thief_is_served_when_due_and_never_early + rival,
                c6_without_waiting_it_steals_now_or_fails_now + rival,
                c6_the_timeout_of_a_thief_counts_as_well + rival,
                c6_a_successor_is_not_judged_by_its_predecessor + rival,
                c6_a_new_hold_is_young + rival,
                c6_a_due_thief_goes_ahead_of_the_queue + rival,
                c6_a_due_thief_goes_ahead_of_a_fair_waiter + rival,
                c6_the_first_of_the_due_thieves_wins + rival,
                c6_each_thief_is_due_in_its_own_time + rival,
                c6_refresh_renews_the_age + rival,
                c6_racing_thieves_win_one_at_a_time + rival,
                c6_many_waiting_thieves_are_served_one_by_one + rival,
                c6_an_age_of_nothing_steals_at_once + rival,
                c6_a_newcomer_does_not_overtake_a_due_thief + rival,
                c6_a_thief_judges_who_came_in_after_it + rival,
            }
            victims {
                c6_an_exclusive_thief_takes_all_shared_holds_or_none + rival,
                c6_a_shared_thief_takes_an_exclusive_hold + rival,
                c6_a_shared_thief_lets_waiting_readers_in + rival,
                c6_compatible_holds_are_left_alone + rival,
                c6_one_permit_is_stolen_when_due + rival,
                c6_of_two_old_permits_the_older_is_stolen + rival,
                c6_a_permit_steals_as_many_as_it_takes + rival,
                c6_several_permits_are_stolen_from_whom_it_takes + rival,
                c6_a_late_release_of_the_victim_frees_nothing + rival,
                c6_a_thief_knows_whom_it_has_robbed + rival,
            }
            fencing {
                c7_tokens_grow_with_every_grant + rival,
                c7_a_forgotten_key_does_not_start_again + rival,
                c7_readers_have_tokens_of_their_own + rival,
                c7_a_thief_has_a_greater_token + rival,
                c7_tokens_grow_across_eviction + rival,
                c7_tokens_grow_across_the_end_of_a_hold + rival,
                c7_no_token_is_given_twice + rival,
                c7_the_token_of_a_set_is_above_those_of_its_keys + rival,
                c7_the_guard_and_the_list_agree + rival,
                c7_tokens_outlive_the_arbiter_as_declared,
            }
            loss {
                c8_a_lost_guard_says_so + rival,
                c8_lost_resolves_on_loss_and_only_then + rival,
                c8_all_who_wait_for_a_loss_hear_of_it + rival,
                c8_a_dropped_watch_leaves_nothing,
                c8_a_grant_that_ran_out_before_its_hand_over_is_asked_for_again + rival,
                c8_nothing_is_lost_without_a_cause + rival,
                c8_a_loss_concerns_one_hold + rival,
                c8_one_reader_of_several_can_lose_its_hold + rival,
                c8_refresh_does_not_bring_back_what_is_lost + rival,
                c8_a_living_hold_outlives_its_lease + rival,
            }
            reentry {
                c9_by_default_the_holder_does_not_nest,
                c9_a_thread_is_one_holder,
                c9_a_nest_is_released_with_its_last_guard + rival,
                c9_reentry_overtakes_the_queue_and_keeps_the_token + rival,
                c9_reentry_does_not_renew_the_age + rival,
                c9_the_holder_steals_from_itself_when_due,
                c9_others_do_not_nest,
                c9_the_anonymous_cannot_nest,
                c9_a_guard_that_may_leave_its_thread_is_nobodys,
                c9_a_nest_has_the_strongest_mode_that_remains + rival,
                c9_an_ending_thread_can_lock,
                c9_the_guard_around_is_found,
            }
            upgrade {
                c9_a_sole_reader_is_upgraded + rival,
                c9_an_upgrade_waits_at_the_head_and_keeps_the_lock + rival,
                c9_a_cancelled_upgrade_leaves_the_reader + rival,
                c9_a_second_upgrade_is_a_deadlock,
                c9_an_upgrade_does_not_renew_the_age + rival,
                c9_an_upgrade_outlives_the_loss_of_its_reader + rival,
                c9_a_downgraded_hold_is_shared + rival,
            }
            scopes {
                c9_a_scope_is_one_holder,
                c9_scopes_on_one_thread_are_apart,
                c9_siblings_wait_for_each_other,
                c9_what_is_spawned_starts_fresh,
                c9_a_scope_cannot_wait_for_its_parent,
            }
            deadlock {
                c10_two_that_wait_for_each_other,
                c10_of_two_threads_exactly_one_is_told,
                c10_an_owner_of_several_threads_is_not_what_waits,
                c10_a_guard_that_is_given_away_blocks_no_thread,
                c10_who_acts_for_another_does_not_block_it,
                c10_a_wait_with_a_timeout_is_told_as_well,
                c10_a_cycle_of_three_with_a_reader,
                c10_a_cycle_through_an_earlier_waiter,
                c10_a_chain_is_no_cycle,
                c10_anonymous_holds_are_in_no_cycle,
                c10_a_permit_is_deadlocked_only_if_every_holder_leads_back,
                c10_a_permit_counts_the_holders_that_lead_back,
                c10_several_permits_are_counted_each,
                c10_a_thief_ahead_in_the_queue_lets_those_behind_it_through,
                c10_a_thief_in_the_cycle_ends_it,
                c10_a_bounded_hold_in_the_cycle_ends_it,
                c10_a_set_that_waits_holds_what_it_has,
                c10_no_false_alarm_under_load,
            }
            several {
                c11_all_keys_are_held_and_released + rival,
                c11_all_or_nothing + rival,
                c11_keys_are_taken_in_their_order,
                c11_one_deadline_covers_all_keys + rival,
                c11_overlapping_sets_do_not_deadlock + rival,
                c11_the_loss_of_one_is_the_loss_of_all + rival,
                c11_the_age_begins_when_the_set_is_complete + rival,
                c11_the_bounds_begin_when_the_set_is_complete + rival,
                c11_a_key_lost_while_waiting_is_taken_again + rival,
                c11_a_set_can_steal + rival,
                c11_sets_can_be_shared + rival,
            }
            holders {
                c12_contended_says_who_where_and_since_when + rival,
                c12_timeout_says_who_it_waited_for + rival,
                c12_the_list_tells_who_holds_and_who_waits,
                c12_the_list_tells_how_it_is_held + rival,
                c12_the_list_can_be_narrowed,
                c12_a_scope_is_named_as_one,
                c12_the_age_is_that_of_the_hold + rival,
                c12_labels_are_told + rival,
                c12_the_list_tells_how_deep_a_nest_is,
            }
            leaks {
                c13_unused_keys_are_forgotten,
                c13_keys_that_were_waited_for_are_forgotten,
                c13_keys_that_were_lost_are_forgotten,
                c13_keys_with_everything_on_are_forgotten,
                c13_clones_are_the_same_arbiter,
            }
            bounds {
                c14_hold_at_least_reserves_the_key + rival,
                c14_a_reservation_binds_its_former_owner_too,
                c14_a_reservation_is_listed + rival,
                c14_hold_at_least_is_over_when_the_time_is + rival,
                c14_a_reservation_outlives_a_panic + rival,
                c14_hold_at_least_protects_from_theft + rival,
                c14_a_thief_waits_for_reservations + rival,
                c14_once_per_reserves_what_was_done + rival,
                c14_once_per_leaves_free_what_was_not_done + rival,
                c14_once_per_protects_from_theft + rival,
                c14_once_per_of_a_set_reserves_all_of_it + rival,
                c14_once_per_is_not_for_shared_holds,
                c14_eviction_ends_a_reservation + rival,
                c14_hold_at_most_ends_the_hold + rival,
                c14_hold_at_most_nothing_is_refused,
                c14_hold_at_most_needs_no_waiter + rival,
                c14_hold_at_most_ends_with_the_hold + rival,
                c14_the_bounds_go_together + rival,
                c14_a_reserved_permit_is_one_permit + rival,
                c14_several_permits_are_reserved_together + rival,
            }
            extremes {
                c14_bounds_without_an_end_are_kept + rival,
                c14_bounds_of_a_moment_are_over_at_once + rival,
                c14_hold_at_most_a_moment_is_lost_at_once,
            }
            capabilities {
                c15_options_are_granted_or_refused_as_declared,
                c15_refusals_come_first,
                c15_the_description_is_constant,
                c15_listing_and_eviction_as_declared + rival,
                c15_eviction_serves_the_next + rival,
            }
            permits {
                c16_as_many_as_there_are_and_no_more + rival,
                c16_threads_never_exceed_the_number + rival,
                c16_locks_and_permits_do_not_mix + rival,
                c16_locks_and_waiting_permits_do_not_mix + rival,
                c16_each_request_obeys_its_own_number + rival,
                c16_a_fleet_is_rolled_to_another_number + rival,
                c16_nonsense_is_refused,
                c16_one_and_very_many + rival,
                c16_permits_are_handed_on_in_order + rival,
                c16_several_are_acquired_at_once_or_not_at_all + rival,
                c16_a_large_request_is_not_starved_by_small_ones + rival,
                c16_a_release_of_several_serves_all_that_fit + rival,
            }
            clients {
                c1_clients_exclude_each_other,
                c1_readers_of_two_clients_share,
                c2_an_arbiter_that_does_not_answer_is_unavailable,
                c3_clients_are_served_in_order,
                c5_a_dropped_wait_of_another_client_leaves_nothing,
                c6_clients_steal_from_each_other,
                c7_tokens_of_two_clients_grow_together,
                c9_owners_of_two_clients_are_apart,
            }
            handed {
                c9_a_shared_owner_holds_until_its_last_guard_goes + rival,
                c9_the_id_of_a_shared_owner_is_not_the_owner,
                c9_a_shared_owner_waits_where_it_does_not_nest + rival,
                c9_a_thief_takes_all_guards_of_a_shared_owner + rival,
                c10_a_shared_owner_closes_no_cycle_by_its_name + rival,
            }
            children {
                c1_processes_exclude_each_other,
                c4_a_killed_process_frees_its_locks,
                c4_a_process_that_ends_after_its_release_keeps_nothing,
                c4_a_forked_child_holds_nothing_of_its_parents,
                c5_a_killed_process_leaves_the_queue,
                c8_a_stopped_process_learns_of_its_loss,
                c9_a_killed_process_leaves_a_shared_owner_its_hold,
            }
        }
    };
}

/// Makes a module of tests, one for each case of the [kit](crate).
///
/// Takes the module's name, and a function or closure that makes a
/// [`Fixture`](crate::Fixture): a fresh one for each case. A
/// [`Backend`](locks_core::Backend) is one.
///
/// ```
/// use locks::Backend;
/// use locks::backend::Engine;
/// locks::conformance::conformance!(engine, || Backend::new(Engine::new()));
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($name:ident, $make:expr $(,)?) => {
        $crate::__conformance_cases! { __conformance_tests $name, $make }
    };
}

/// The tests of one fixture. The fixture is made outside of their module, where the caller's
/// names mean what they meant.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ({ $name:ident, $make:expr } $($area:ident { $($case:ident $(+ $rival:ident)?,)* })*) => {
        mod $name {
            pub(super) struct FixtureMaker;

            $($(
                #[test]
                fn $case() {
                    $crate::Case::named(stringify!($case)).run_fresh(<FixtureMaker as $crate::Made>::make);
                }
            )*)*

            mod rival {
                $($($(
                    #[test]
                    fn $case() {
                        let name = concat!(stringify!($rival), "::", stringify!($case));
                        $crate::Case::named(name).run_fresh(<super::FixtureMaker as $crate::Made>::make);
                    }
                )?)*)*
            }
        }

        impl $crate::Made for $name::FixtureMaker {
            fn make() -> ::std::sync::Arc<dyn $crate::Fixture> {
                ::std::sync::Arc::new(($make)())
            }
        }
    };
}

/// The table of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_table {
    ({} $($area:ident { $($case:ident $(+ $rival:ident)?,)* })*) => {
        const CASES: &[Case] = &[
            $($(
                Case {
                    name: stringify!($case),
                    area: stringify!($area),
                    body: $area::$case,
                    with_rival: false,
                },
            )*)*
            $($($(
                Case {
                    name: concat!(stringify!($rival), "::", stringify!($case)),
                    area: stringify!($area),
                    body: $area::$case,
                    with_rival: true,
                },
            )?)*)*
        ];
    };
}

__conformance_cases!(__conformance_table);
