//! Examples as tokens, and which of them make a step.

use std::io::BufRead;

use candle_core::{Device, Tensor};

use super::TeachError;
use crate::limits;
use crate::model::template::Template;
use crate::model::tokens::Tokens;
use crate::random::Random;
use crate::training::example::{self, Tools};

/// Tokens of one example and which of them are learnt.
struct Lesson {
    ids: Vec<u32>,
    learnt: Vec<bool>,
}

/// A training or validation set.
pub(super) struct Lessons(Vec<Lesson>);

/// Several lessons side by side, and where in them something is learnt.
pub(super) struct Sheet {
    /// Tokens, one lesson a row, filled up on the right.
    pub(super) ids: Tensor,
    /// Positions whose next token is learnt, counted over all rows.
    pub(super) places: Tensor,
    /// Those next tokens.
    pub(super) wanted: Tensor,
    /// How many.
    pub(super) count: usize,
}

/// How well the tokens were known.
#[derive(Clone, Copy, Default)]
pub(super) struct Score {
    pub(super) loss_sum: f64,
    pub(super) right: f64,
    pub(super) count: usize,
}

impl Score {
    pub(super) fn loss(&self) -> f64 {
        self.loss_sum / self.count.max(1) as f64
    }

    pub(super) fn accuracy(&self) -> f64 {
        self.right / self.count.max(1) as f64
    }

    pub(super) fn add(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.right += other.right;
        self.count += other.count;
    }
}

impl Lessons {
    /// Reads so many lines.
    pub(super) fn read(
        input: &mut impl BufRead,
        count: u64,
        (tokens, template, start): (&Tokens, Template, Option<u32>),
        context: usize,
    ) -> Result<Self, TeachError> {
        let mut lessons = Vec::new();
        let mut bytes = Vec::new();
        for line in 1..=count {
            bytes.clear();
            input.read_until(b'\n', &mut bytes)?;
            let failed = || TeachError::Example { line };
            let turns = example::read(&bytes, Tools::Refused).map_err(|_| failed())?;
            let (mut ids, mut learnt) = template.lesson(tokens, start, &turns).map_err(|_| failed())?;
            let most = context.min(limits::LESSON_TOKENS);
            ids.truncate(most);
            learnt.truncate(most);
            lessons.push(Lesson { ids, learnt });
        }
        Ok(Self(lessons))
    }

    /// Whether nothing in them is learnt.
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|lesson| lesson.count() == 0)
    }

    /// The examples of one step: those of an epoch come in an order that follows from seed and epoch.
    pub(super) fn batch(&self, seed: u64, epoch: u64, number: u64, size: u32) -> Vec<usize> {
        let mut random = Random::new(seed.wrapping_add(epoch.wrapping_mul(0x9E37_79B9)));
        let mut order: Vec<usize> = (0..self.0.len()).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.below(last + 1));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(1);
        let skip = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(size);
        order.into_iter().skip(skip).take(size).collect()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.0.len()).collect()
    }

    /// How many tokens these examples have.
    pub(super) fn tokens(&self, batch: &[usize]) -> u64 {
        let lengths = batch.iter().filter_map(|index| self.0.get(*index));
        lengths.map(|lesson| lesson.ids.len() as u64).sum()
    }

    /// How many tokens are learnt in these examples.
    pub(super) fn learnt(&self, batch: &[usize]) -> usize {
        batch
            .iter()
            .filter_map(|index| self.0.get(*index))
            .map(Lesson::count)
            .sum()
    }

    /// These examples, as many side by side as memory should hold at once.
    pub(super) fn sheets(&self, batch: &[usize]) -> Result<Vec<Sheet>, TeachError> {
        let mut sheets = Vec::new();
        let mut rows: Vec<&Lesson> = Vec::new();
        let mut widest = 0;
        for lesson in batch.iter().filter_map(|index| self.0.get(*index)) {
            if lesson.count() == 0 {
                continue;
            }
            let wider = widest.max(lesson.ids.len());
            if !rows.is_empty() && wider * (rows.len() + 1) > limits::LESSONS_AT_ONCE {
                sheets.push(sheet(&rows, widest)?);
                rows.clear();
                widest = 0;
            }
            widest = widest.max(lesson.ids.len());
            rows.push(lesson);
        }
        if !rows.is_empty() {
            sheets.push(sheet(&rows, widest)?);
        }
        Ok(sheets)
    }
}

impl Lesson {
    /// Tokens that are learnt. The first of all follows nothing, so it never is.
    fn count(&self) -> usize {
        self.learnt.iter().skip(1).filter(|learnt| **learnt).count()
    }
}

/// What stands right of a lesson's end is not seen from within it, so any token will do there.
fn sheet(rows: &[&Lesson], widest: usize) -> Result<Sheet, TeachError> {
    let mut ids = Vec::with_capacity(rows.len() * widest);
    let (mut places, mut wanted) = (Vec::new(), Vec::new());
    for (row, lesson) in rows.iter().enumerate() {
        let next = lesson.ids.iter().zip(&lesson.learnt).enumerate().skip(1);
        for (position, (id, _)) in next.filter(|(_, (_, learnt))| **learnt) {
            let place = row * widest + position - 1;
            places.push(u32::try_from(place).map_err(|_| TeachError::Nothing)?);
            wanted.push(*id);
        }
        ids.extend_from_slice(&lesson.ids);
        ids.resize((row + 1) * widest, 0);
    }
    let count = places.len();
    Ok(Sheet {
        ids: Tensor::from_vec(ids, (rows.len(), widest), &Device::Cpu)?,
        places: Tensor::from_vec(places, count, &Device::Cpu)?,
        wanted: Tensor::from_vec(wanted, count, &Device::Cpu)?,
        count,
    })
}
