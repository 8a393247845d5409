use locks::block::lock;

async fn work() {
    let later = std::future::ready(1);
    let _ = lock!("user" => {
        let twice = async |n: std::future::Ready<u8>| n.await;
        drop(twice);
        later.await
    });
}

fn main() {
    drop(work());
}
