struct Cache<T>(T);

impl<T: Default> Cache<T> {
    #[locks::lock("user", wait = false)]
    fn refresh() -> T {
        T::default()
    }
}

fn main() {
    Cache::<u8>::refresh();
}
