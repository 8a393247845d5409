trait Service {
    #[locks::lock("user")]
    fn refresh(&self);
}

fn main() {}
