use locks::block::lock;

fn main() {
    let _: Result<(), _> = lock!({ 1 });
}
