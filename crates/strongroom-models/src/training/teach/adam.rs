//! Adam with decoupled weight decay, whose moments can be kept and taken up again: a training that goes on from a checkpoint
//! makes the same model as one that was never interrupted.

use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.98;
const EPSILON: f64 = 1e-8;
const DECAY: f64 = 0.01;
/// Longer gradients are shortened to this length.
const LONGEST: f64 = 1.0;

/// One set of weights in training.
pub(super) struct Trained {
    pub(super) value: Var,
    pub(super) first: Tensor,
    pub(super) second: Tensor,
}

impl Trained {
    pub(super) fn new(value: Var) -> Result<Self> {
        let nothing = value.as_tensor().zeros_like()?;
        Ok(Self {
            value,
            first: nothing.clone(),
            second: nothing,
        })
    }
}

/// Sums up what several sheets of one step ask for.
#[derive(Default)]
pub(super) struct Gradients(BTreeMap<String, Tensor>);

impl Gradients {
    pub(super) fn add(&mut self, trained: &BTreeMap<String, Trained>, store: &GradStore) -> Result<()> {
        for (name, weights) in trained {
            let Some(gradient) = store.get(weights.value.as_tensor()) else {
                continue;
            };
            let sum = match self.0.get(name) {
                Some(sum) => (sum + gradient)?,
                None => gradient.clone(),
            };
            self.0.insert(name.clone(), sum);
        }
        Ok(())
    }

    /// Moves the weights; `step` counts from 0.
    pub(super) fn apply(&self, trained: &mut BTreeMap<String, Trained>, step: u64, rate: f64) -> Result<()> {
        let turns = i32::try_from(step + 1).unwrap_or(i32::MAX);
        let (even1, even2) = (1.0 - BETA1.powi(turns), 1.0 - BETA2.powi(turns));
        let shorten = self.shorten()?;
        for (name, weights) in trained {
            let Some(gradient) = self.0.get(name) else {
                continue;
            };
            let gradient = (gradient * shorten)?.detach();
            weights.first = ((&weights.first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
            weights.second = ((&weights.second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
            let root = ((&weights.second / even2)?.sqrt()? + EPSILON)?;
            let towards = ((&weights.first / even1)? / root)?;
            let value = weights.value.as_tensor();
            let kept = (value * (1.0 - rate * DECAY))?;
            weights.value.set(&(kept - (towards * rate)?)?.detach())?;
        }
        Ok(())
    }

    fn shorten(&self) -> Result<f64> {
        let mut square = 0.0;
        for gradient in self.0.values() {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let length = square.sqrt();
        Ok(if length > LONGEST { LONGEST / length } else { 1.0 })
    }
}
