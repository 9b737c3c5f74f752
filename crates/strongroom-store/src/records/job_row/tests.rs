//! Any sequence of claims, reports, wishes and delays, told a second time and compared.

use proptest::prelude::*;
use strongroom_seal::AccountId;
use uuid::Uuid;

use super::{JobPhase, JobRow, NewJob, Wish};
use crate::records::{JobChange, Receipt, Rejected};

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Claim,
    /// By one of those who ever claimed it.
    Renew(usize),
    Report(usize, JobPhase),
    Ask(Wish),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let phase = prop_oneof![
        6 => Just(JobPhase::Running),
        2 => Just(JobPhase::Waiting),
        2 => Just(JobPhase::Paused),
        3 => Just(JobPhase::Held),
        1 => Just(JobPhase::Done),
        1 => Just(JobPhase::Failed),
        1 => Just(JobPhase::Cancelled),
    ];
    let wish = prop_oneof![1 => Just(Wish::Cancel), 4 => Just(Wish::Hold), 4 => Just(Wish::Resume)];
    let step = prop_oneof![
        3 => (0u64..20).prop_map(Step::Pass),
        4 => Just(Step::Claim),
        2 => (0usize..3).prop_map(Step::Renew),
        6 => (0usize..3, phase).prop_map(|(who, phase)| Step::Report(who, phase)),
        3 => wish.prop_map(Step::Ask),
    ];
    prop::collection::vec(step, 1..60)
}

/// The same story, told by what was asked and who came last.
#[derive(Default)]
struct Story {
    now: u64,
    is_cancelled: bool,
    is_held: bool,
    /// Until when the last claim holds; nobody has one at 0.
    claimed_until: u64,
    is_at_work: bool,
    end: Option<JobPhase>,
    tokens: Vec<u64>,
}

impl Story {
    fn wish(&self) -> Option<Wish> {
        match (self.end, self.is_cancelled, self.is_held && self.is_at_work) {
            (Some(_), ..) => None,
            (None, true, _) => Some(Wish::Cancel),
            (None, false, true) => Some(Wish::Hold),
            (None, false, false) => None,
        }
    }

    fn rests(&self) -> bool {
        self.is_held && !self.is_cancelled && !self.is_at_work
    }

    fn may_claim(&self) -> bool {
        self.end.is_none() && !self.rests() && self.claimed_until <= self.now
    }

    fn is_fenced_off(&self, who: usize) -> bool {
        // Counted from the last one.
        !self.is_at_work || who != 0
    }
}

const CLAIM: u64 = 10;

/// As a back end applies it: after the check of the token, if there is one.
fn apply(row: &mut JobRow, now_ms: u64, change: &JobChange, token: Option<u64>) -> Result<Receipt, Rejected> {
    let mut receipt = Receipt::default();
    if token.is_some_and(|token| !row.is_claimed_with(token)) {
        return Err(Rejected::ClaimLost);
    }
    row.change(now_ms, change, &mut receipt).map(|()| receipt)
}

fn step(row: &mut JobRow, story: &mut Story, step: &Step) -> Result<(), TestCaseError> {
    let until_ms = story.now + CLAIM;
    match *step {
        Step::Pass(time) => story.now += time,
        Step::Claim => {
            let claim = apply(row, story.now, &JobChange::Claim { job: 1, until_ms }, None);
            prop_assert_eq!(claim.is_ok(), story.may_claim());
            if let Ok(receipt) = claim {
                prop_assert!(story.tokens.iter().all(|token| *token < receipt.token));
                story.tokens.push(receipt.token);
                (story.claimed_until, story.is_at_work) = (until_ms, true);
                prop_assert_eq!(receipt.wish, story.wish());
            }
        }
        Step::Renew(who) => {
            let token = story.tokens.iter().rev().nth(who).copied().unwrap_or(99);
            let renewed = apply(
                row,
                story.now,
                &JobChange::Renew { job: 1, until_ms },
                Some(token),
            );
            prop_assert_eq!(renewed.is_err(), story.is_fenced_off(who));
            if renewed.is_ok() {
                story.claimed_until = until_ms;
            }
        }
        Step::Report(who, phase) => {
            let token = story.tokens.iter().rev().nth(who).copied().unwrap_or(99);
            let progress = JobChange::Progress {
                job: 1,
                done: story.now,
                total: 7,
                phase,
                until_ms,
            };
            let reported = apply(row, story.now, &progress, Some(token));
            prop_assert_eq!(reported.is_err(), story.is_fenced_off(who));
            if reported.is_ok() {
                story.is_at_work = phase == JobPhase::Running;
                story.claimed_until = if story.is_at_work { until_ms } else { 0 };
                story.end = phase.is_end().then_some(phase);
                prop_assert_eq!((row.done, row.total), (story.now, 7));
            }
        }
        Step::Ask(wish) => {
            apply(row, story.now, &JobChange::Ask { job: 1, wish }, None)
                .map_err(|reason| TestCaseError::fail(format!("{reason:?}")))?;
            if story.end.is_none() {
                match wish {
                    Wish::Cancel => story.is_cancelled = true,
                    Wish::Hold => story.is_held = true,
                    Wish::Resume => story.is_held = false,
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_job_does_what_was_asked_of_it_last_and_belongs_to_whoever_claimed_it_last(steps in steps()) {
        let new = NewJob { kind: "batch", object: Some("id".to_owned()), from: None, total: 0 };
        let mut row = JobRow::new(1, AccountId::from_uuid(Uuid::nil()), 0, &new);
        let mut story = Story::default();
        for next in &steps {
            step(&mut row, &mut story, next)?;
            prop_assert_eq!(row.wish, story.wish());
            prop_assert_eq!(row.is_free(story.now), story.may_claim());
            prop_assert_eq!(row.state == JobPhase::Held, story.end.is_none() && story.rests());
            prop_assert_eq!(row.state.is_end().then_some(row.state), story.end);
            prop_assert_eq!(row.finished_ms.is_some(), story.end.is_some());
            prop_assert_eq!(row.state == JobPhase::Running, story.end.is_none() && story.is_at_work);
        }
    }
}
