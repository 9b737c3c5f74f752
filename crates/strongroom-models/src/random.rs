//! Numbers that follow from a seed.

use candle_core::{Device, Var};

/// SplitMix64, so that weights and the order of lessons follow from the seed alone.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, choices: usize) -> usize {
        usize::try_from(self.next() % (choices.max(1) as u64)).unwrap_or(0)
    }

    /// From 0 up to, not including, 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed entries (Box and Muller's way).
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    pub(crate) fn matrix(&mut self, rows: usize, columns: usize, spread: f64) -> candle_core::Result<Var> {
        let entries: Vec<f32> = (0..rows * columns)
            .map(|_| {
                let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
                (radius * (std::f64::consts::TAU * self.unit()).cos() * spread) as f32
            })
            .collect();
        Var::from_vec(entries, (rows, columns), &Device::Cpu)
    }
}
