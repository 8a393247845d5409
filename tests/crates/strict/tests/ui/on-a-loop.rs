fn main() {
    #[locks::lock("user")]
    loop {}
}
