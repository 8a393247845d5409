//! Signals that are not for us.

use rustix::process::Signal;

/// The signals that are ignored, which is inherited: `nohup` and shells without job control say so
/// that a command is to be spared. A handler here would undo it for that command as well.
pub(crate) struct Ignored(u64);

impl Ignored {
    pub(crate) fn by_whoever_started_us() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::read(&status)
    }

    fn read(status: &str) -> Self {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0))
    }

    pub(crate) fn has(&self, signal: Signal) -> bool {
        self.0 >> (signal.as_raw() - 1) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_is_ignored() {
        let ignored = Ignored::read("Name:\tlocks\nSigIgn:\t0000000000001001\nSigCgt:\t00000002\n");
        assert!(ignored.has(Signal::HUP) && ignored.has(Signal::PIPE));
        assert!(!ignored.has(Signal::INT) && !Ignored::read("").has(Signal::HUP));
    }
}
