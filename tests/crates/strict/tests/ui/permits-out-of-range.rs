#[locks::lock("user", permits = -1)]
fn too_few() {}

#[locks::lock("user", permits = 99999999999)]
fn too_many() {}

#[locks::lock("user", permits = 5u64)]
fn too_wide() {}

fn main() {
    too_few();
    too_many();
    too_wide();
}
