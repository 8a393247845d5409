use locks::block::lock;

async fn refresh(users: Vec<u32>) -> Result<u32, locks::LockError> {
    let mut found = 0;
    'all: for user in users {
        lock!(async "user_{user}", on_lost = "cancel" => {
            for n in 0..user {
                if n == 1 {
                    continue;
                }
                'own: loop {
                    break 'own;
                }
                while let Some(_) = Some(n) {
                    break;
                }
            }
            found += user;
            if user == 5 {
                continue 'all;
            }
        })?;
    }
    Ok(found)
}

fn main() {
    drop(refresh(Vec::new()));
}
