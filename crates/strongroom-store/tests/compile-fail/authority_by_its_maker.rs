use strongroom_store::PermitAuthority;

fn main() {
    let _forged = PermitAuthority::new();
}
