//! Choosing the next token.

use serde::{Deserialize, Serialize};

/// How to choose.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sampling {
    /// 0 takes the likeliest token, always.
    pub(crate) temperature: f64,
    /// Only the likeliest tokens that together have this probability.
    pub(crate) top_p: f64,
    /// Equal seeds give equal answers.
    pub(crate) seed: u64,
}

/// Chooses tokens one after the other.
pub(crate) struct Sampler {
    sampling: Sampling,
    state: u64,
}

impl Sampler {
    /// Begins at the seed.
    pub(crate) fn new(sampling: Sampling) -> Self {
        Self {
            sampling,
            state: sampling.seed,
        }
    }

    /// The next token, given every token's score; `None` if no score is a number.
    pub(crate) fn choose(&mut self, scores: &[f32]) -> Option<u32> {
        if self.sampling.temperature <= 0.0 {
            return likeliest(scores);
        }
        let mut chances = self.chances(scores)?;
        chances.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        let total: f64 = chances.iter().map(|(_, chance)| chance).sum();
        let mut kept = 0.0;
        let within = chances
            .iter()
            .take_while(|(_, chance)| {
                let before = kept;
                kept += chance;
                before < self.sampling.top_p * total
            })
            .count()
            .max(1);
        chances.truncate(within);
        let total: f64 = chances.iter().map(|(_, chance)| chance).sum();
        let mut left = self.next() * total;
        let found = chances.iter().find(|(_, chance)| {
            left -= chance;
            left < 0.0
        });
        found.or(chances.last()).map(|(token, _)| *token)
    }

    fn chances(&self, scores: &[f32]) -> Option<Vec<(u32, f64)>> {
        let best = scores
            .iter()
            .copied()
            .filter(|score| score.is_finite())
            .max_by(f32::total_cmp)?;
        let chance = |score: f32| ((f64::from(score) - f64::from(best)) / self.sampling.temperature).exp();
        Some(
            (0u32..)
                .zip(scores)
                .filter(|(_, score)| score.is_finite())
                .map(|(id, s)| (id, chance(*s)))
                .collect(),
        )
    }

    /// SplitMix64: evenly spread and the same everywhere. Nothing secret depends on it.
    fn next(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The upper 53 bits make a number from 0 up to, not including, 1.
        (mixed >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The first of the highest scores.
fn likeliest(scores: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (token, &score) in (0u32..).zip(scores) {
        if score.is_finite() && best.is_none_or(|(_, highest)| score > highest) {
            best = Some((token, score));
        }
    }
    best.map(|(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f64, top_p: f64, seed: u64) -> Sampler {
        Sampler::new(Sampling {
            temperature,
            top_p,
            seed,
        })
    }

    #[test]
    fn temperature_zero_takes_the_first_of_the_highest_scores() {
        assert_eq!(sampler(0.0, 1.0, 7).choose(&[0.5, 2.0, f32::NAN, 2.0]), Some(1));
    }

    #[test]
    fn equal_seeds_choose_alike_and_other_seeds_otherwise() {
        let scores: Vec<f32> = (0u8..50).map(|score| f32::from(score % 7)).collect();
        let draw = |seed| {
            let mut sampler = sampler(1.0, 1.0, seed);
            (0..40).map(|_| sampler.choose(&scores)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn a_small_top_p_leaves_only_the_likeliest_token() {
        let mut sampler = sampler(2.0, 0.01, 1);
        assert!((0..100).all(|_| sampler.choose(&[1.0, 3.0, 2.0]) == Some(1)));
    }

    #[test]
    fn every_token_can_be_drawn_at_a_high_temperature() {
        let mut sampler = sampler(100.0, 1.0, 1);
        let drawn: std::collections::BTreeSet<_> = (0..400)
            .filter_map(|_| sampler.choose(&[1.0, 3.0, 2.0, 0.0]))
            .collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn scores_that_are_no_numbers_choose_nothing() {
        assert_eq!(sampler(0.0, 1.0, 1).choose(&[f32::NAN, f32::INFINITY]), None);
        assert_eq!(sampler(1.0, 1.0, 1).choose(&[f32::NAN]), None);
    }
}
