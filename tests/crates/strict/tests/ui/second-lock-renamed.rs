extern crate locks as guards;

#[guards::lock("a", crate = ::guards)]
#[guards::lock("b", crate = ::guards)]
fn refresh() {}

fn main() {
    refresh();
}
