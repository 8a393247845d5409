fn main() {
    let _ = locks::block::lock!("user" => (1));
}
