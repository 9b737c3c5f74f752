//! Any sequence of answers, delays and clock steps, told a second time and compared.

use std::time::Duration;

use proptest::prelude::*;
use strongroom_seal::{Age, Moment, NoAnswer};

use super::{
    super::{Answer, Ticket},
    BOUND, GRACE, REFUSED, UNREACHABLE, at, state,
};

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
