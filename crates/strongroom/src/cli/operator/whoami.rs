//! `strongroom whoami`.

use clap::Args;
use strongroom_operator::whoami::WhoAmI;

use super::CloudArgs;
use crate::cli::CliError;
use crate::cli::output::Printing;
use crate::cli::table::{self, Table};

#[derive(Args, Debug)]
pub(in crate::cli) struct WhoAmIArgs {
    #[command(flatten)]
    cloud: CloudArgs,
    #[command(flatten)]
    printing: Printing,
}

pub(in crate::cli) fn whoami(args: &WhoAmIArgs) -> Result<(), CliError> {
    args.printing.check()?;
    let connected = args.cloud.connect()?;
    let found = connected.runtime.block_on(strongroom_operator::whoami::whoami(
        &connected.asker,
        &connected.subscriptions,
    ));
    args.printing.print(&found, show)
}

fn show(who: &WhoAmI) -> Result<(), CliError> {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let mut about = Table::new(&["Who asks", ""]);
    for (name, value) in [
        ("Cloud", who.cloud.clone()),
        ("Resource Manager", who.resource_manager.clone()),
        ("Tenant", dash(&who.tenant)),
        ("Principal", dash(&who.object_id)),
        ("Application", dash(&who.application_id)),
        ("Credential", who.credential.clone()),
    ] {
        about.row([name.to_owned(), value]);
    }
    for one in &who.subscriptions {
        let name = format!("{}  {}  {}", one.id, one.name, one.state);
        about.row(["Subscription".to_owned(), name]);
    }
    about.print()?;
    table::line("")?;
    let mut reads = Table::new(&["May read", "What", "What it tells", "Answer"]);
    for read in &who.reads {
        let status = read.status.map(|status| status.to_string());
        let answer = [status, read.why.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        reads.row([
            read.may.to_owned(),
            read.what.clone(),
            read.tells.to_owned(),
            answer.join(" "),
        ]);
    }
    reads.print()
}
