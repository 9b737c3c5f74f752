//! A machine that stops at any moment: the program is killed under load again and again, over a disk that keeps
//! what was written and over one that loses what was not synchronised. What was acknowledged stays whole, what
//! was not is whole or absent, what was deleted is gone, and every byte is accounted for.
//!
//! `STRONGROOM_CRASH_SEED` repeats a run's choices, `STRONGROOM_CRASH_ROUNDS` makes it longer or shorter.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and says with which seed"
)]

mod dice;
mod ledger;
mod work;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use dice::Dice;
use ledger::Ledger;
use strongroom_operator::{Verification, verify};
use strongroom_testkit::{Child, ChildOptions, InstantUpstream, PowerLoss, strongroom_program};
use tempfile::TempDir;

/// How long the program may work before it is killed, in milliseconds.
const WORK: std::ops::Range<u64> = 50..400;
/// How far into its start it is killed, in every third round.
const START: std::ops::Range<u64> = 0..250;

struct Campaign {
    place: TempDir,
    dice: Dice,
    ledger: Ledger,
    upstream: InstantUpstream,
    power_loss: Option<PowerLoss>,
}

impl Campaign {
    async fn begin(name: &str, loses_power: bool) -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("data")).unwrap();
        let seed = number("STRONGROOM_CRASH_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        eprintln!("{name}: STRONGROOM_CRASH_SEED={seed}");
        Self {
            dice: Dice::new(seed),
            ledger: Ledger::default(),
            upstream: InstantUpstream::start().await.unwrap(),
            power_loss: loses_power.then(|| PowerLoss::prepare(place.path()).unwrap()),
            place,
        }
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("data")
    }

    fn options(&self) -> ChildOptions {
        let options = ChildOptions::new(&self.folder())
            .arg("--upstream")
            .arg(self.upstream.url());
        let variables = self.power_loss.iter().flat_map(PowerLoss::variables);
        variables.fold(options, |options, (name, value)| options.env(name, value))
    }

    /// Start, look at everything that the last kill left, work, kill.
    async fn round(&mut self, number: u64) {
        if number % 3 == 2 {
            self.kill_while_starting().await;
        }
        let child = self.options().start().await.unwrap();
        self.verify_blindly();
        self.ledger.check_last_round(&child, &mut self.dice).await;
        if number % 8 == 7 {
            self.verify_with_keys();
        }
        let time = Duration::from_millis(self.dice.within(WORK));
        let kill = async {
            tokio::time::sleep(time).await;
            child.strike().unwrap();
        };
        tokio::join!(work::until_killed(&child, &self.ledger, &mut self.dice), kill);
        child.kill().unwrap();
        self.after_the_kill();
    }

    async fn kill_while_starting(&mut self) {
        let mut starting = self.options().command().unwrap();
        let mut starting = starting.stdout(std::process::Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(self.dice.within(START))).await;
        starting.kill().unwrap();
        starting.wait().unwrap();
        self.after_the_kill();
    }

    /// The machine comes back.
    fn after_the_kill(&self) {
        if let Some(power_loss) = &self.power_loss {
            power_loss.rebuild(&self.folder()).unwrap();
        }
    }

    /// The second reader looks at the storage alone.
    fn verify_blindly(&self) {
        let report = verify(Verification {
            folder: &self.folder().join("service"),
            keys: None,
        })
        .unwrap();
        assert!(report.is_clean(), "{report:#?}");
    }

    /// Every object is opened and authenticated by the second reader, its keys unwrapped through the vault.
    fn verify_with_keys(&self) {
        let mut command = Command::new(strongroom_program().unwrap());
        let command = command
            .args(["verify", "--output", "json", "--data"])
            .arg(self.folder());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "verify: {}\n{said}", output.status);
    }

    async fn end(mut self) {
        let child: Child = self.options().start().await.unwrap();
        self.ledger.check_everything(&child, &mut self.dice).await;
        self.verify_with_keys();
        assert!(child.terminate().await.unwrap().success());
        self.verify_blindly();
        eprintln!("{}", self.ledger.summary());
        self.ledger.assert_busy();
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

async fn run(name: &str, loses_power: bool, rounds: u64) {
    let mut campaign = Campaign::begin(name, loses_power).await;
    for round in 0..number("STRONGROOM_CRASH_ROUNDS").unwrap_or(rounds) {
        campaign.round(round).await;
    }
    campaign.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_killed_at_random_moments_loses_nothing_that_it_acknowledged() {
    run("kills", false, 50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_loses_unsynchronised_writes_loses_nothing_that_it_acknowledged() {
    run("power losses", true, 15).await;
}
