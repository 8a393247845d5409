use locks::block::lock;

fn main() {
    let _: Result<(), _> = lock!("user" => < 1 + 2);
}
