struct Cache<T>(T);

impl<T: Default> Cache<T> {
    #[locks::lock("user", on_lost = "error")]
    fn refresh() -> T {
        T::default()
    }
}

fn main() {
    Cache::<u8>::refresh();
}
