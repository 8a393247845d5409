#[locks::lock("report", once_per = "24h", shared)]
fn report() {}

fn main() {
    report();
}
