fn main() {
    let _: Result<(), _> = locks::lock!("user" => {});
}
