use std::time::Duration;

use strongroom_seal::{Moment, NoAnswer};

use super::{Answer, Ending, LeaseState, Silence, Terms};

mod properties;

const BOUND: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(60);
const REFUSED: Answer = Answer::No(NoAnswer::Refused);
const UNREACHABLE: Answer = Answer::No(NoAnswer::Unreachable);

fn at(seconds: f64) -> Moment {
    let time = Duration::from_secs_f64(1000.0 + seconds);
    Moment {
        boot: time,
        wall: time,
    }
}

fn state(grace: Duration) -> LeaseState {
    LeaseState::new(Terms::new(BOUND, grace))
}

/// A lease won by a question sent at 0 and answered at 0.1.
fn held(grace: Duration) -> LeaseState {
    let mut state = state(grace);
    let ticket = state.send(at(0.0));
    state.hear(ticket, Answer::Granted, at(0.1));
    state
}

#[test]
fn a_lease_starts_when_its_question_was_sent_and_not_when_it_was_answered() {
    let mut state = state(GRACE);
    let ticket = state.send(at(0.0));
    state.hear(ticket, Answer::Granted, at(9.0));
    assert_eq!(state.may_use(at(9.9)), Ok(()));
    assert_eq!(state.may_use(at(10.0)), Err(Ending::Lapsed));
}

#[test]
fn without_any_news_a_lease_lasts_only_the_bound_whatever_the_grace() {
    let mut state = held(GRACE);
    assert_eq!(state.may_use(at(10.0)), Err(Ending::Lapsed));
    // Silence heard afterwards brings nothing back.
    let ticket = state.send(at(10.1));
    state.hear(ticket, UNREACHABLE, at(11.0));
    assert_eq!(state.may_use(at(11.0)), Err(Ending::Silent(Silence::Unreachable)));
}

#[test]
fn refusal_goneness_and_mismatch_end_a_lease_at_once() {
    for (answer, ending) in [
        (REFUSED, Ending::Refused),
        (Answer::No(NoAnswer::Gone), Ending::Gone),
        (Answer::Mismatch, Ending::Mismatch),
    ] {
        let mut state = held(GRACE);
        let ticket = state.send(at(1.0));
        state.hear(ticket, answer, at(1.1));
        assert_eq!(state.may_use(at(1.1)), Err(ending));
    }
}

#[test]
fn known_silence_lets_a_lease_run_to_the_grace_and_no_longer() {
    let mut state = held(GRACE);
    for second in 1..=59 {
        let ticket = state.send(at(f64::from(second)));
        state.hear(ticket, UNREACHABLE, at(f64::from(second) + 0.5));
        assert_eq!(state.may_use(at(f64::from(second) + 0.6)), Ok(()));
    }
    assert_eq!(state.may_use(at(59.99)), Ok(()));
    assert_eq!(state.may_use(at(60.0)), Err(Ending::Silent(Silence::Unreachable)));
}

#[test]
fn strict_mode_gives_silence_nothing() {
    let mut state = held(Duration::ZERO);
    for second in 1..=9 {
        let ticket = state.send(at(f64::from(second)));
        state.hear(ticket, UNREACHABLE, at(f64::from(second) + 0.5));
    }
    assert_eq!(state.may_use(at(9.99)), Ok(()));
    assert_eq!(state.may_use(at(10.0)), Err(Ending::Silent(Silence::Unreachable)));
}

#[test]
fn silence_that_is_older_than_the_bound_is_no_news() {
    let mut state = held(GRACE);
    let ticket = state.send(at(4.0));
    state.hear(ticket, UNREACHABLE, at(8.0));
    assert_eq!(state.may_use(at(13.9)), Ok(()));
    assert_eq!(state.may_use(at(14.0)), Err(Ending::Silent(Silence::Unreachable)));
}

#[test]
fn a_question_that_outlives_its_deadline_is_silence_before_anyone_says_so() {
    let mut state = held(GRACE);
    let deadline = state.terms().deadline();
    state.send(at(5.0));
    assert!(deadline < Duration::from_secs(5));
    assert_eq!(state.may_use(at(10.0)), Ok(()));

    // One that is not yet overdue is no news.
    let mut state = held(GRACE);
    state.send(at(9.0));
    assert_eq!(state.may_use(at(10.0)), Err(Ending::Lapsed));
}

#[test]
fn throttling_is_silence_of_its_own_kind() {
    let retry_after = Some(Duration::from_secs(7));
    let mut state = held(Duration::ZERO);
    let ticket = state.send(at(1.0));
    state.hear(ticket, Answer::No(NoAnswer::Throttled { retry_after }), at(1.1));
    assert_eq!(state.may_use(at(2.0)), Ok(()));
    assert_eq!(
        state.may_use(at(10.0)),
        Err(Ending::Silent(Silence::Throttled { retry_after }))
    );
}

#[test]
fn a_success_sent_before_the_last_refusal_was_heard_counts_for_nothing() {
    let mut state = held(GRACE);
    let early = state.send(at(1.0));
    let refused = state.send(at(1.1));
    state.hear(refused, REFUSED, at(1.2));
    state.hear(early, Answer::Granted, at(1.3));
    assert_eq!(state.may_use(at(1.3)), Err(Ending::Refused));
    let fresh = state.send(at(1.4));
    state.hear(fresh, Answer::Granted, at(1.5));
    assert_eq!(state.may_use(at(1.5)), Ok(()));
}

#[test]
fn silence_after_a_refusal_gets_no_grace() {
    let mut state = held(GRACE);
    let ticket = state.send(at(1.0));
    state.hear(ticket, REFUSED, at(1.1));
    let ticket = state.send(at(2.0));
    state.hear(ticket, UNREACHABLE, at(2.1));
    assert!(state.may_use(at(2.2)).is_err());
}

#[test]
fn a_refusal_that_is_overtaken_by_a_success_still_counts() {
    let mut state = held(GRACE);
    let slow = state.send(at(1.0));
    let quick = state.send(at(1.1));
    state.hear(quick, Answer::Granted, at(1.2));
    state.hear(slow, REFUSED, at(1.3));
    assert_eq!(state.may_use(at(1.3)), Err(Ending::Refused));
}

#[test]
fn an_older_success_does_not_shorten_a_newer_lease() {
    let mut state = state(GRACE);
    let old = state.send(at(0.0));
    let new = state.send(at(5.0));
    state.hear(new, Answer::Granted, at(5.1));
    state.hear(old, Answer::Granted, at(5.2));
    assert_eq!(state.may_use(at(14.9)), Ok(()));
}

#[test]
fn either_clock_alone_ages_a_lease() {
    let later = at(0.1);
    for (boot, wall) in [(10, 0), (0, 10)] {
        let mut state = held(GRACE);
        let now = Moment {
            boot: later.boot + Duration::from_secs(boot),
            wall: later.wall + Duration::from_secs(wall),
        };
        assert_eq!(state.may_use(now), Err(Ending::Lapsed));
    }
}

#[test]
fn a_wall_clock_that_goes_back_ends_the_lease_and_voids_what_was_asked() {
    let mut state = held(GRACE);
    let ticket = state.send(at(1.0));
    assert_eq!(state.may_use(at(5.0)), Ok(()));
    // Still later than the lease's start by both clocks, but earlier than what was seen.
    let back = Moment {
        boot: at(5.1).boot,
        wall: at(3.0).wall,
    };
    assert_eq!(state.may_use(back), Err(Ending::ClockWentBack));
    state.hear(ticket, Answer::Granted, back);
    assert_eq!(state.may_use(back), Err(Ending::ClockWentBack));
    let ticket = state.send(back);
    state.hear(ticket, Answer::Granted, back);
    assert_eq!(state.may_use(back), Ok(()));
}

#[test]
fn a_lease_that_was_found_over_stays_over() {
    let mut state = held(GRACE);
    assert!(state.may_use(at(10.0)).is_err());
    // A longer bound does not revive it.
    state.set_terms(Terms::new(Duration::from_secs(3000), GRACE), at(10.0));
    assert_eq!(state.may_use(at(10.0)), Err(Ending::Lapsed));
}

#[test]
fn shorter_terms_hold_at_once_and_terms_have_limits() {
    let mut state = held(GRACE);
    state.set_terms(Terms::new(Duration::from_secs(2), GRACE), at(3.0));
    assert_eq!(state.may_use(at(3.0)), Err(Ending::Lapsed));
    assert_eq!(Terms::new(Duration::ZERO, GRACE).bound(), Duration::from_secs(1));
    assert_eq!(
        Terms::new(Duration::MAX, GRACE).bound(),
        Duration::from_secs(3600)
    );
}

#[test]
fn a_question_and_the_pause_before_it_fit_into_the_bound() {
    for seconds in [1, 2, 10, 25, 60, 3600] {
        let terms = Terms::new(Duration::from_secs(seconds), GRACE);
        assert!(terms.pace().max(terms.deadline()) + terms.deadline() < terms.bound());
        assert!(terms.longest_pause() + terms.deadline() < terms.bound());
    }
}
