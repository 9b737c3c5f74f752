mod leasing;
mod outages;
mod rig;
mod rotating;
mod trusting;
mod vault;
