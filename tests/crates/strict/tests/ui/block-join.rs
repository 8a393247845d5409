use locks::block::lock;

async fn work() {
    let ready = || std::future::ready(1);
    let _ = lock!("user" => { tokio::join!(ready(), ready()) });
}

fn main() {
    drop(work());
}
