//! The contract of a [`LeaseStore`](locks_core::LeaseStore) as cases, asked of two clients without
//! an adapter in front: what an adapter orders, remembers or repeats hides what a store gets wrong.
//!
//! ```
//! use locks::conformance::{StoreFixture, lease_store};
//! # fn docs(make: fn() -> Box<dyn StoreFixture>) { let _ = make; }
//! // In the tests of a store: `lease_store!(table, Table::new);`
//! ```

mod bounds;
mod case;
mod exclusion;
mod fixture;
mod leases;
mod lists;
mod permits;
mod queue;
mod repeats;
mod sets;
mod steals;
mod stores;
mod tokens;

pub use case::{StoreCase, StoreMade};
pub use fixture::StoreFixture;

/// Every case of a store, in the order of the clauses; as `__conformance_cases`.
#[doc(hidden)]
#[macro_export]
macro_rules! __lease_store_cases {
    ($then:ident $($rest:tt)*) => {
        $crate::$then! {
            { $($rest)* }
            exclusion {
                c1_claims_of_two_clients_exclude_each_other,
                c1_a_shared_claim_is_refused_beside_an_exclusive_hold,
                c1_an_exclusive_claim_is_refused_beside_shared_holds,
                c1_shared_claims_are_granted_together,
                c1_of_racing_claims_one_is_granted,
                c1_keys_are_compared_byte_for_byte,
                c1_a_refusal_names_what_is_in_the_way,
                c5_a_refused_claim_leaves_nothing,
            }
            repeats {
                c4_a_repeated_claim_is_granted_with_the_same_token,
                c4_a_repeated_claim_does_not_steal_from_itself,
                c4_a_repeated_claim_makes_no_second_hold,
                c4_an_end_is_told_once,
                c4_an_end_concerns_the_hold_it_names,
                c4_a_late_end_touches_no_successor,
                c4_what_was_never_claimed_is_not_there,
                c5_a_removed_acquisition_leaves_nothing,
            }
            leases {
                c8_a_lease_runs_out_and_not_before,
                c8_a_renewed_lease_begins_again,
                c8_what_has_run_out_is_not_there,
                c8_a_renewal_after_the_end_revives_nothing,
                c8_a_renewal_concerns_the_hold_it_names,
                c8_a_batch_of_renewals_is_answered_in_order,
                c8_a_refusal_tells_when_the_lease_runs_out,
                c8_a_lost_hold_tells_how_it_was_lost,
            }
            tokens {
                c7_tokens_grow_across_clients,
                c7_tokens_grow_whatever_ends_a_hold,
                c7_sharers_have_tokens_of_their_own,
                c7_tokens_leave_room,
                c7_tokens_outlive_the_store_as_declared,
            }
            steals {
                c6_a_hold_is_stolen_when_due_and_not_before,
                c6_a_theft_names_the_holds_that_it_ends,
                c6_all_in_the_way_are_stolen_or_none,
                c6_what_is_reserved_is_not_stolen,
                c6_a_hold_is_not_stolen_before_its_least,
                c6_a_renewal_keeps_the_age_and_a_refresh_does_not,
                c6_a_steal_takes_only_what_is_in_the_way,
                c6_a_robbed_hold_is_gone,
                c6_a_permit_takes_the_oldest_holds_that_suffice,
            }
            sets {
                c11_keys_are_granted_together_or_not_at_all,
                c11_a_set_ends_key_by_key_as_asked,
                c11_a_set_has_one_token_above_those_of_its_keys,
                c11_a_repeated_set_is_the_same,
                c11_a_set_steals_from_all_or_none,
                c11_the_loss_of_one_key_shows_at_the_renewal,
                c11_a_renewal_beside_the_end_of_one_key_costs_no_other,
            }
            lists {
                c12_holds_and_reservations_are_listed,
                c12_a_list_is_what_was_asked_for,
                c12_ages_are_those_of_the_holds,
            }
            bounds {
                c14_a_release_keeps_the_reservation,
                c14_a_release_without_it_keeps_none,
                c14_a_reservation_outlives_a_lease_that_runs_out,
                c14_a_reservation_binds_whoever_made_it,
                c14_a_reservation_can_be_removed,
                c14_what_was_not_done_leaves_no_reservation,
                c14_what_was_done_stays_reserved,
                c14_what_is_done_again_stays_reserved,
                c14_what_may_be_done_is_not_stolen_before,
                c14_no_renewal_carries_a_hold_beyond_its_most,
            }
            permits {
                c16_each_claim_obeys_its_own_number,
                c16_permits_are_counted_across_clients,
                c16_a_reserved_permit_counts,
                c16_locks_and_permits_do_not_mix,
            }
            queue {
                c3_the_older_place_goes_first,
                c3_a_claim_that_does_not_wait_takes_no_place,
                c3_an_unfair_claim_ignores_the_queue,
                c3_a_waiter_of_the_releasing_client_keeps_its_turn,
                c3_an_older_place_goes_before_the_releasing_client,
                c3_a_place_ends_with_its_time,
                c3_a_withdrawn_place_is_in_nobodys_way,
                c3_a_place_that_is_called_and_absent_is_lost,
                c6_a_due_steal_does_not_queue,
                c12_places_are_listed,
            }
        }
    };
}

/// Makes a module of tests, one for each case that a [`LeaseStore`](locks_core::LeaseStore) has to
/// pass.
///
/// Takes the module's name, and a function or closure that makes a [`StoreFixture`]: a fresh one
/// for each case. Run [`conformance!`](crate::conformance!) over a `Leased` of the store as well.
///
/// ```
/// use std::sync::Arc;
/// use locks::backend::LeaseStore;
/// use locks::conformance::StoreFixture;
///
/// # fn open(name: &str) -> Arc<dyn LeaseStore> { unimplemented!("{name}") }
/// struct TwoClients([Arc<dyn LeaseStore>; 2]);
///
/// impl StoreFixture for TwoClients {
///     fn store(&self) -> Arc<dyn LeaseStore> {
///         self.0[0].clone()
///     }
///
///     fn rival(&self) -> Arc<dyn LeaseStore> {
///         self.0[1].clone()
///     }
/// }
///
/// fn fresh() -> TwoClients {
///     // `open` is yours: two connections to one database that no other case uses.
///     let name = format!("locks-{:?}", std::time::Instant::now());
///     TwoClients([open(&name), open(&name)])
/// }
///
/// locks::conformance::lease_store!(my_store, fresh);
/// ```
#[macro_export]
macro_rules! lease_store {
    ($name:ident, $make:expr $(,)?) => {
        $crate::__lease_store_cases! { __lease_store_tests $name, $make }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __lease_store_tests {
    ({ $name:ident, $make:expr } $($area:ident { $($case:ident,)* })*) => {
        mod $name {
            pub(super) struct FixtureMaker;

            $($(
                #[test]
                fn $case() {
                    let fixture = <FixtureMaker as $crate::StoreMade>::make();
                    $crate::StoreCase::named(stringify!($case)).run(fixture);
                }
            )*)*
        }

        impl $crate::StoreMade for $name::FixtureMaker {
            fn make() -> ::std::sync::Arc<dyn $crate::StoreFixture> {
                ::std::sync::Arc::new(($make)())
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __lease_store_table {
    ({} $($area:ident { $($case:ident,)* })*) => {
        const CASES: &[StoreCase] =
            &[$($(StoreCase { name: stringify!($case), body: $area::$case },)*)*];
    };
}

__lease_store_cases!(__lease_store_table);
