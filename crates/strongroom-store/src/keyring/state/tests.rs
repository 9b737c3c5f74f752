use std::time::Duration;

use proptest::prelude::*;
use strongroom_seal::{Age, Moment, NoAnswer};

use super::{Answer, Ending, LeaseState, Silence, Terms, Ticket};

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

#[derive(Debug, Clone)]
enum Step {
    /// Both clocks go on, the wall clock with a jump of so many milliseconds (negative: back).
    Pass {
        ms: u64,
        jump: i64,
    },
    Send,
    /// An answer to one of the questions asked so far, answered or not.
    Hear {
        which: usize,
        answer: Answer,
    },
    Use,
    Release,
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Granted),
        2 => Just(REFUSED),
        1 => Just(Answer::No(NoAnswer::Gone)),
        1 => Just(Answer::Mismatch),
        4 => Just(UNREACHABLE),
        2 => Just(Answer::No(NoAnswer::Throttled { retry_after: None })),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let jump = prop_oneof![12 => Just(0), 1 => -20_000i64..0, 1 => 0i64..20_000];
    let pass = prop_oneof![8 => 0u64..4_000, 1 => 0u64..80_000];
    let step = prop_oneof![
        4 => (pass, jump).prop_map(|(ms, jump)| Step::Pass { ms, jump }),
        4 => Just(Step::Send),
        6 => (0usize..4, answers()).prop_map(|(which, answer)| Step::Hear { which, answer }),
        4 => Just(Step::Use),
        1 => Just(Step::Release),
    ];
    prop::collection::vec(step, 1..80)
}

/// What happened, told by order alone: a second account of the same story that the machine does not share.
#[derive(Debug, Clone, Copy)]
enum Fact {
    Sent(Ticket),
    Heard(Ticket, Answer),
    WentBack,
}

struct Story {
    facts: Vec<Fact>,
    now: Moment,
}

impl Story {
    /// How many facts there were when a refusal was last heard or a clock last went back.
    fn last_end(&self) -> usize {
        let ends = |fact: &Fact| match fact {
            Fact::WentBack => true,
            Fact::Heard(_, answer) => matches!(
                answer,
                Answer::Mismatch | Answer::No(NoAnswer::Refused | NoAnswer::Gone)
            ),
            Fact::Sent(_) => false,
        };
        self.facts.iter().rposition(ends).map_or(0, |at| at + 1)
    }

    /// The questions sent since then.
    fn sent_since_end(&self) -> Vec<Ticket> {
        let since = &self.facts[self.last_end()..];
        since
            .iter()
            .filter_map(|fact| {
                if let Fact::Sent(ticket) = fact {
                    Some(*ticket)
                } else {
                    None
                }
            })
            .collect()
    }

    fn was_granted(&self, ticket: Ticket) -> bool {
        let granted =
            |fact: &Fact| matches!(fact, Fact::Heard(of, Answer::Granted) if of.number == ticket.number);
        self.facts[self.last_end()..].iter().any(granted)
    }

    fn was_not_answered_or_met_with_silence(&self, ticket: Ticket) -> bool {
        !self.facts.iter().any(|fact| match fact {
            Fact::Heard(of, answer) => of.number == ticket.number && !matches!(answer, Answer::No(_)),
            _ => false,
        })
    }

    fn is_younger(&self, ticket: Ticket, limit: Duration) -> bool {
        matches!(self.now.age_since(ticket.sent), Age::Elapsed(age) if age < limit)
    }

    fn assert_use_was_right(&self, grace: Duration) {
        let sent = self.sent_since_end();
        let granted: Vec<_> = sent
            .iter()
            .copied()
            .filter(|ticket| self.was_granted(*ticket))
            .collect();
        assert!(
            !granted.is_empty(),
            "used without a success sent after the last refusal"
        );
        let last = *granted.iter().max_by_key(|ticket| ticket.number).unwrap();
        assert!(
            self.is_younger(last, BOUND.max(grace)),
            "used later than bound and grace allow"
        );
        if !self.is_younger(last, BOUND) {
            let silent = |ticket: &Ticket| {
                ticket.number > last.number
                    && self.is_younger(*ticket, BOUND)
                    && self.was_not_answered_or_met_with_silence(*ticket)
            };
            assert!(
                sent.iter().any(silent),
                "used later than the bound without known silence"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_sequence_of_answers_delays_and_clock_steps_lets_a_key_be_used_wrongly(
        steps in steps(),
        strict in any::<bool>(),
    ) {
        let grace = if strict { Duration::ZERO } else { GRACE };
        let mut state = state(grace);
        let mut story = Story { facts: Vec::new(), now: at(0.0) };
        let mut tickets: Vec<Ticket> = Vec::new();
        for step in steps {
            match step {
                Step::Pass { ms, jump } => {
                    let passed = Duration::from_millis(ms);
                    story.now.boot += passed;
                    story.now.wall += passed;
                    let step = Duration::from_millis(jump.unsigned_abs());
                    if jump < 0 {
                        story.now.wall -= step;
                    } else {
                        story.now.wall += step;
                    }
                    if jump + i64::try_from(ms).unwrap() < 0 {
                        story.facts.push(Fact::WentBack);
                        // As at the next use: the machine sees clocks only when it is asked.
                        prop_assert!(state.may_use(story.now).is_err());
                    }
                }
                Step::Send => {
                    let ticket = state.send(story.now);
                    tickets.push(ticket);
                    story.facts.push(Fact::Sent(ticket));
                }
                Step::Hear { which, answer } => {
                    let Some(ticket) = tickets.iter().rev().nth(which).copied() else { continue };
                    state.hear(ticket, answer, story.now);
                    story.facts.push(Fact::Heard(ticket, answer));
                    let refused = matches!(answer, Answer::Mismatch | Answer::No(NoAnswer::Refused | NoAnswer::Gone));
                    if refused {
                        prop_assert!(state.may_use(story.now).is_err(), "refused means no key, at once");
                    }
                    let counts = story.sent_since_end().contains(&ticket) && story.is_younger(ticket, BOUND);
                    if answer == Answer::Granted && counts {
                        prop_assert_eq!(state.may_use(story.now), Ok(()), "a prompt success counts");
                    }
                    if answer == Answer::Granted && story.last_end() > 0 && story.sent_since_end().is_empty() {
                        prop_assert!(state.may_use(story.now).is_err(), "a late success counts for nothing");
                    }
                }
                Step::Use => {}
                Step::Release => {
                    state.release();
                    prop_assert!(state.may_use(story.now).is_err());
                }
            }
            if state.may_use(story.now).is_ok() {
                story.assert_use_was_right(grace);
                let remaining = state.remaining(story.now).unwrap();
                prop_assert!(remaining <= BOUND.max(grace));
            }
        }
    }
}
