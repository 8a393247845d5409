//! A backend of one's own: locks in a table of an SQLite database, shared by all processes of a
//! machine that open it. A store has five steps; the rest comes from `Leased`.
//!
//! `cargo run --example own_backend --features sqlite` counts to 200 with two processes.

mod claim;
mod rows;
mod store;

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use locks::Backend;
use locks::backend::Leased;
use rusqlite::{Connection, Row};

use self::store::SqliteStore;

fn number(row: &Row<'_>) -> rusqlite::Result<i64> {
    row.get(0)
}

fn open(path: &Path) -> rusqlite::Result<Backend> {
    let store = SqliteStore::open(path)?;
    Ok(Leased::builder(store).lease(Duration::from_secs(5)).build().into_backend())
}

fn main() -> Result<(), Box<dyn Error>> {
    const STEPS: i64 = 100;
    if let Some(path) = std::env::args_os().nth(1) {
        return count(Path::new(&path), STEPS);
    }
    let directory = std::env::temp_dir().join(format!("locks-own-backend-{}", std::process::id()));
    std::fs::create_dir(&directory)?;
    let path = directory.join("locks.db");
    let books = Connection::open(directory.join("books.db"))?;
    books.execute_batch("CREATE TABLE books (total INTEGER); INSERT INTO books VALUES (0);")?;

    let backend = open(&path)?;
    let guard = backend.named("books").acquire()?;
    println!("held here, with token {}", guard.token());
    let mut children = Vec::new();
    for _ in 0..2 {
        children.push(Command::new(std::env::current_exe()?).arg(&path).spawn()?);
    }
    drop(guard);
    for mut child in children {
        assert!(child.wait()?.success());
    }
    let total = books.query_row("SELECT total FROM books", [], number)?;
    println!("two processes counted to {total}");
    assert_eq!(total, 2 * STEPS, "an update was lost");
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// Reads the total and writes it back one greater: right only if nobody else does meanwhile.
fn count(path: &Path, steps: i64) -> Result<(), Box<dyn Error>> {
    let backend = open(path)?;
    let books = Connection::open(path.with_file_name("books.db"))?;
    if let Err(error) = backend.named("books").wait(false).acquire() {
        println!("process {} has to wait: {error}", std::process::id());
    }
    for _ in 0..steps {
        let guard = backend.named("books").acquire()?;
        let total = books.query_row("SELECT total FROM books", [], number)?;
        guard.check()?;
        books.execute("UPDATE books SET total = ?1", [total + 1])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    //! The conformance kit, also with a rival that opens the same file and with other processes.

    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use locks::conformance::{Fixture, serve};

    use super::*;

    const PATH: &str = "OWN_BACKEND_TEST_PATH";

    struct File {
        directory: PathBuf,
        ours: Backend,
        theirs: Backend,
    }

    fn client(path: &Path) -> Backend {
        let store = SqliteStore::open(path).expect("the file can be opened");
        Leased::builder(store).poll(Duration::from_millis(10)).build().into_backend()
    }

    fn fresh() -> File {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("locks-own-backend-test-{}-{number}", std::process::id());
        // In memory where there is such a place: what the kit looks for has nothing to do with how
        // long a disk takes, and its hundreds of files would wait for each other there.
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let directory = parent.join(name);
        std::fs::create_dir(&directory).expect("a new directory");
        let path = directory.join("locks.db");
        File { ours: client(&path), theirs: client(&path), directory }
    }

    impl Fixture for File {
        fn backend(&self) -> Backend {
            self.ours.clone()
        }

        fn tick(&self) -> Duration {
            Duration::from_millis(25)
        }

        fn passes_over_late_waiters(&self) -> bool {
            true
        }

        fn rival(&self) -> Option<Backend> {
            Some(self.theirs.clone())
        }

        fn child(&self) -> Option<Command> {
            let mut child = Command::new(std::env::current_exe().ok()?);
            child.args(["--exact", "tests::serve_the_kit", "--nocapture"]);
            child.env(PATH, self.directory.join("locks.db"));
            Some(child)
        }

        // A connection of SQLite's is of no use in a child, and this store keeps one.
        fn works_in_children(&self) -> bool {
            false
        }

        fn restart(&self) -> Option<Backend> {
            Some(client(&self.directory.join("locks.db")))
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            // On some systems it cannot be removed while it is open; it is temporary anyway.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    /// The other end of [`Fixture::child`]; as a test of its own it has nothing to do.
    #[test]
    fn serve_the_kit() {
        if let Some(path) = std::env::var_os(PATH) {
            serve(&client(Path::new(&path))).expect("the kit listens");
        }
    }

    locks::conformance!(sqlite, fresh);
}
