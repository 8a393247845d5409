trait Cache {
    type Value: Default;

    #[locks::lock("user", wait = false)]
    fn refresh(&self) -> Self::Value {
        Self::Value::default()
    }
}

fn main() {}
