use locks_net::{NetBackend, Server};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = std::path::PathBuf::from(&args[2]);
    match args[1].as_str() {
        "serve" => {
            let echo = UnixListener::bind(dir.join("echo")).unwrap();
            std::thread::spawn(move || {
                for s in echo.incoming() {
                    let mut s = s.unwrap();
                    std::thread::spawn(move || {
                        let mut b = [0; 64];
                        while s.read_exact(&mut b).is_ok() {
                            s.write_all(&b).unwrap();
                        }
                    });
                }
            });
            let server = Server::builder()
                .state(dir.join("state"))
                .unix(dir.join("socket"))
                .start()
                .unwrap();
            println!("ready");
            server.wait().unwrap();
        }
        "ops" => {
            let backend = NetBackend::unix(dir.join("socket")).build().unwrap().into_backend();
            for _ in 0..args[3].parse::<usize>().unwrap() {
                drop(backend.named("k").acquire().unwrap());
            }
        }
        _ => {
            let backend = NetBackend::unix(dir.join("socket")).build().unwrap().into_backend();
            let mut s = UnixStream::connect(dir.join("echo")).unwrap();
            let mut b = [7; 64];
            let n = 5000;
            for _ in 0..5 {
                let t = Instant::now();
                for _ in 0..n {
                    s.write_all(&b).unwrap();
                    s.read_exact(&mut b).unwrap();
                }
                let e = t.elapsed() / n;
                let t = Instant::now();
                let mut acq = Duration::ZERO;
                for _ in 0..n {
                    let a = Instant::now();
                    let g = backend.named("k").acquire().unwrap();
                    acq += a.elapsed();
                    drop(g);
                }
                let both = t.elapsed() / n;
                println!(
                    "echo {e:?} acquire {:?} both {both:?} : {:.2} {:.2}",
                    acq / n,
                    (acq / n).as_secs_f64() / e.as_secs_f64(),
                    both.as_secs_f64() / 2.0 / e.as_secs_f64()
                );
            }
        }
    }
}
