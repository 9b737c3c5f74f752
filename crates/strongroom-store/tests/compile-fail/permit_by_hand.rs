use strongroom_store::{AccountId, Action, Permit};

fn forge(account: AccountId) -> Permit {
    Permit { account, action: Action::Export, caller: "nobody".into() }
}

fn main() {}
