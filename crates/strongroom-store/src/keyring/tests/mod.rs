mod leasing;
mod rig;
mod rotating;
mod trusting;
mod vault;
