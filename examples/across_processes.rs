//! One line, and a function runs one at a time among processes.
//!
//! Starts itself three times. Each process adds to a number in a file, which goes wrong as soon as
//! two of them read before either has written.
//!
//! ```sh
//! cargo run -p locks-examples --example across_processes
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use locks::file::FileBackend;
use locks::lock;

const TIMES: u32 = 200;

#[lock("counter")]
fn count(file: &Path) -> io::Result<()> {
    let number: u32 = fs::read_to_string(file)?.trim().parse().unwrap_or(0);
    // Time for others to come between, if they could.
    std::thread::yield_now();
    fs::write(file, format!("{}\n", number + 1))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(directory) = env::args_os().nth(1).map(PathBuf::from) {
        // A directory of this example's own; without this line it is this user's.
        locks::install(FileBackend::new(directory.join("locks"))?)?;
        for _ in 0..TIMES {
            count(&directory.join("counter"))?;
        }
        return Ok(());
    }
    let directory = env::temp_dir().join(format!("locks-example-{}", std::process::id()));
    fs::create_dir(&directory)?;
    fs::write(directory.join("counter"), "0\n")?;
    let start = |_| Command::new(env::current_exe()?).arg(&directory).spawn();
    let processes = (0..3).map(start).collect::<io::Result<Vec<_>>>()?;
    for mut process in processes {
        assert!(process.wait()?.success());
    }
    let counted = fs::read_to_string(directory.join("counter"))?;
    println!("3 processes counted to {TIMES} each: {}", counted.trim());
    assert_eq!(counted.trim().parse(), Ok(3 * TIMES));
    fs::remove_dir_all(directory)?;
    Ok(())
}
