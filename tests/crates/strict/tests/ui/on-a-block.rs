fn main() {
    #[locks::lock("user")]
    {
        println!("refreshed");
    }
}
