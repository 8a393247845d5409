//! Files of words, which several processes read and write.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Words of 64 bits in a row.
///
/// Writing one word happens or does not, even if the process is killed meanwhile. Of several
/// words written together, only some may arrive.
pub(crate) trait Words: Send + Sync {
    fn read(&self, at: usize, words: &mut [u64]) -> io::Result<()>;
    fn write(&self, at: usize, words: &[u64]) -> io::Result<()>;
}

/// Words in a file. A word is aligned, so that it lies in one page, where it is copied at once.
pub(crate) struct WordFile(File);

impl WordFile {
    /// Makes a file of `count` words, all of them zero.
    pub(crate) fn create(path: &Path, count: usize) -> io::Result<()> {
        File::create_new(path)?.set_len(count as u64 * 8)
    }

    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }
}

#[cfg(unix)]
impl Words for WordFile {
    fn read(&self, at: usize, words: &mut [u64]) -> io::Result<()> {
        let mut bytes = vec![0; words.len() * 8];
        std::os::unix::fs::FileExt::read_exact_at(&self.0, &mut bytes, at as u64 * 8)?;
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().expect("chunks of eight"));
        }
        Ok(())
    }

    fn write(&self, at: usize, words: &[u64]) -> io::Result<()> {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        std::os::unix::fs::FileExt::write_all_at(&self.0, &bytes, at as u64 * 8)
    }
}

#[cfg(not(unix))]
impl Words for WordFile {
    fn read(&self, _: usize, _: &mut [u64]) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "`--processes` needs a Unix"))
    }

    fn write(&self, at: usize, _: &[u64]) -> io::Result<()> {
        self.read(at, &mut [])
    }
}

/// Words on a disk that takes its time now and then, so that one who is killed is in the middle of
/// something often enough.
pub(crate) struct Slow<W> {
    words: W,
    writes: AtomicUsize,
}

impl<W> Slow<W> {
    pub(crate) fn new(words: W) -> Self {
        Self { words, writes: AtomicUsize::new(0) }
    }
}

impl<W: Words> Words for Slow<W> {
    fn read(&self, at: usize, words: &mut [u64]) -> io::Result<()> {
        self.words.read(at, words)
    }

    fn write(&self, at: usize, words: &[u64]) -> io::Result<()> {
        // A transfer is an odd number of writes, so that each of them has its turn.
        if self.writes.fetch_add(1, Ordering::Relaxed) % 32 == 31 {
            thread::sleep(Duration::from_micros(500));
        }
        self.words.write(at, words)
    }
}
