#[locks::lock("user", wait = false)]
fn refresh<T: Default>() -> T {
    T::default()
}

fn main() {
    refresh::<u8>();
}
