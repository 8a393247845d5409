//! Each flaw fails the cases that name it, and each case is failed by a flaw.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use locks_conformance::StoreCase;

use crate::flaw::Flaw;
use crate::store::Shared;

fn passes(shared: Shared, case: &str) -> bool {
    catch_unwind(AssertUnwindSafe(|| StoreCase::named(case).run(Arc::new(shared)))).is_ok()
}

macro_rules! controls {
    ($($flaw:ident fails $($case:ident),+;)*) => {
        const CONTROLS: &[(Flaw, &[&str])] = &[$((Flaw::$flaw, &[$(stringify!($case)),+]),)*];
    };
}

controls! {
    SharedBesideTheirs fails
        c1_a_shared_claim_is_refused_beside_an_exclusive_hold;
    ExclusiveBesideShared fails c1_an_exclusive_claim_is_refused_beside_shared_holds;
    SharedExcludesShared fails
        c1_shared_claims_are_granted_together;
    LooksThenWrites fails c1_of_racing_claims_one_is_granted;
    ClientsApart fails c1_claims_of_two_clients_exclude_each_other;
    KeysFoldCase fails c1_keys_are_compared_byte_for_byte;
    KeysAreComposed fails c1_keys_are_compared_byte_for_byte;
    RefusalNamesNobody fails c1_a_refusal_names_what_is_in_the_way;
    NoteForgotten fails
        c1_a_refusal_names_what_is_in_the_way,
        c12_holds_and_reservations_are_listed;
    RefusedLeavesPlace fails c5_a_refused_claim_leaves_nothing;
    LocalWaiterForgotten fails c3_a_waiter_of_the_releasing_client_keeps_its_turn;
    LocalWaiterFirst fails c3_an_older_place_goes_before_the_releasing_client;
    PlacesByArrival fails c3_the_older_place_goes_first;
    LooksTakeAPlace fails c3_a_claim_that_does_not_wait_takes_no_place;
    UnfairQueues fails c3_an_unfair_claim_ignores_the_queue;
    PlacesStandForEver fails c3_a_place_ends_with_its_time;
    WithdrawnKeepsPlace fails c3_a_withdrawn_place_is_in_nobodys_way;
    CalledForEver fails c3_a_place_that_is_called_and_absent_is_lost;
    RepeatRefused fails
        c4_a_repeated_claim_is_granted_with_the_same_token,
        c11_a_repeated_set_is_the_same;
    RepeatGetsNewToken fails c4_a_repeated_claim_is_granted_with_the_same_token;
    RepeatStealsFromItself fails c4_a_repeated_claim_does_not_steal_from_itself;
    RepeatMakesSecondHold fails c4_a_repeated_claim_makes_no_second_hold;
    EndAlwaysThere fails
        c4_an_end_is_told_once,
        c4_what_was_never_claimed_is_not_there;
    EndByKey fails
        c4_an_end_concerns_the_hold_it_names,
        c4_a_late_end_touches_no_successor;
    EndByToken fails c4_an_end_concerns_the_hold_it_names;
    RemoveReserves fails
        c5_a_removed_acquisition_leaves_nothing,
        c14_a_reservation_can_be_removed;
    TheftNamesNobody fails c6_a_theft_names_the_holds_that_it_ends;
    StealsEarly fails c6_a_hold_is_stolen_when_due_and_not_before;
    StealsReservation fails c6_what_is_reserved_is_not_stolen;
    StealsAllForOneOld fails c6_all_in_the_way_are_stolen_or_none;
    StealsWithinLeast fails
        c6_a_hold_is_not_stolen_before_its_least,
        c14_what_may_be_done_is_not_stolen_before;
    RenewalRefreshes fails c6_a_renewal_keeps_the_age_and_a_refresh_does_not;
    RefreshForgotten fails c6_a_renewal_keeps_the_age_and_a_refresh_does_not;
    StealsFromReaders fails c6_a_steal_takes_only_what_is_in_the_way;
    RobbedLivesOn fails c6_a_robbed_hold_is_gone;
    StealsYoungestPermit fails c6_a_permit_takes_the_oldest_holds_that_suffice;
    StealsQueue fails c6_a_due_steal_does_not_queue;
    TokensOfClients fails c7_tokens_grow_across_clients;
    TokenRepeatsAfterExpiry fails c7_tokens_grow_whatever_ends_a_hold;
    SharersShareToken fails c7_sharers_have_tokens_of_their_own;
    TokensAreClocks fails c7_tokens_leave_room;
    TokensForgottenByRestart fails c7_tokens_outlive_the_store_as_declared;
    ExpiresEarly fails c8_a_lease_runs_out_and_not_before;
    NeverExpires fails c8_what_has_run_out_is_not_there;
    RenewalForgotten fails c8_a_renewed_lease_begins_again;
    RenewalRevives fails
        c8_a_renewal_after_the_end_revives_nothing,
        c8_what_has_run_out_is_not_there;
    RenewalByKey fails c8_a_renewal_concerns_the_hold_it_names;
    BatchReversed fails c8_a_batch_of_renewals_is_answered_in_order;
    AsksToComeLate fails c8_a_refusal_tells_when_the_lease_runs_out;
    EndsInIsLate fails c8_a_refusal_tells_when_the_lease_runs_out;
    GoneByEviction fails c8_a_lost_hold_tells_how_it_was_lost;
    SetGrantsHalf fails c11_keys_are_granted_together_or_not_at_all;
    SetEndsAltogether fails c11_a_set_ends_key_by_key_as_asked;
    SetTokenOfEachKey fails c11_a_set_has_one_token_above_those_of_its_keys;
    SetStealsHalf fails c11_a_set_steals_from_all_or_none;
    SetLossUnnoticed fails c11_the_loss_of_one_key_shows_at_the_renewal;
    SetLossEndsTheRest fails c11_a_renewal_beside_the_end_of_one_key_costs_no_other;
    ListOmitsReservations fails c12_holds_and_reservations_are_listed;
    ListOmitsPlaces fails c12_places_are_listed;
    ListByPattern fails c12_a_list_is_what_was_asked_for;
    AgesBackwards fails c12_ages_are_those_of_the_holds;
    ReleaseDropsReservation fails c14_a_release_keeps_the_reservation;
    ReleaseAlwaysReserves fails c14_a_release_without_it_keeps_none;
    ExpiryDropsReservation fails c14_a_reservation_outlives_a_lease_that_runs_out;
    ReservationFreeForClient fails c14_a_reservation_binds_whoever_made_it;
    ReservesTheUndone fails c14_what_was_not_done_leaves_no_reservation;
    DoneIsForgotten fails
        c14_what_was_done_stays_reserved,
        c14_what_is_done_again_stays_reserved;
    MostIgnoredByRenewal fails c14_no_renewal_carries_a_hold_beyond_its_most;
    PermitsAgree fails c16_each_claim_obeys_its_own_number;
    PermitsOfClients fails c16_permits_are_counted_across_clients;
    ReservedPermitsFree fails c16_a_reserved_permit_counts;
    ModesMix fails c16_locks_and_permits_do_not_mix;
}

#[test]
fn each_flaw_fails_the_cases_that_name_it() {
    let pairs = CONTROLS.iter().flat_map(|(flaw, cases)| cases.iter().map(move |c| (*flaw, *c)));
    let blind = pairs.filter(|(flaw, case)| passes(Shared::with(*flaw), case)).collect::<Vec<_>>();
    assert!(blind.is_empty(), "these cases do not notice these flaws: {blind:#?}");
}

#[test]
fn every_case_has_a_control() {
    let controlled = CONTROLS.iter().flat_map(|(_, cases)| *cases).collect::<Vec<_>>();
    for case in StoreCase::all() {
        assert!(controlled.contains(&&case.name()), "nothing shows that {case:?} can fail");
    }
}
