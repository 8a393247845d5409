use locks::block::lock;

fn main() {
    let _: Result<i32, _> = lock!("user" => { 1 } + 1);
}
