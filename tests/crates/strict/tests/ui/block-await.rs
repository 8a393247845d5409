use locks::block::lock;

async fn work() {
    let later = async { std::future::ready(1).await };
    let _ = lock!("user" => {
        drop(async { std::future::ready(2).await });
        later.await
    });
}

fn main() {
    drop(work());
}
