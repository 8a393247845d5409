use std::fs;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// Files beyond the first three that a process was started with.
#[derive(Debug)]
pub(super) struct Given(Vec<RawFd>);

/// The first of them.
const FIRST: RawFd = 3;

/// Where there is an entry for each that is open.
const OPEN: &str = "/dev/fd";

impl Given {
    /// Those of this process. To be called before it opens any of its own.
    pub(super) fn take() -> Self {
        let Ok(entries) = fs::read_dir(OPEN) else {
            // Which they are cannot be seen, but they are all that there is.
            let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::from(u16::MAX));
            let most = RawFd::try_from(most).unwrap_or(RawFd::MAX);
            Self((FIRST..most).collect()).close();
            return Self(Vec::new());
        };
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut numbers = numbers.filter(|number| *number >= FIRST).collect::<Vec<_>>();
        // The one by which they were read is closed by now.
        numbers.retain(|number| is_open(*number));
        Self(numbers)
    }

    /// Closes them.
    pub(super) fn close(self) {
        for number in self.0 {
            // Nobody in this process has it as his own.
            let _ = nix::unistd::close(number);
        }
    }
}

fn is_open(number: RawFd) -> bool {
    let entry: PathBuf = Path::new(OPEN).join(number.to_string());
    entry.symlink_metadata().is_ok()
}
