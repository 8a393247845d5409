#[locks::lock("user", once_per = "1h")]
#[cfg_attr(all(), track_caller)]
fn refresh() -> u32 {
    std::panic::Location::caller().line()
}

fn main() {
    refresh();
}
