//! What is in the books, and the bytes that it is written as.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What is in the books.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EpochFile {
    pub(super) boot: u64,
    /// The next epoch; 0: the books were empty or torn.
    pub(super) next: u32,
    /// The first that is not promised.
    pub(super) until: u32,
    /// Whether files can be exchanged here, once that has been tried since the machine started.
    pub(super) exchanges: Option<bool>,
    /// Whether there was nothing in the directory when it was used first (F9).
    pub(super) own: bool,
    /// The theft under way: the file's name, and the inode that takes its place.
    pub(super) theft: Option<(String, u64)>,
}

impl EpochFile {
    pub(super) fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; 512];
        let mut read = 0;
        while let more @ 1.. = file.read_at(&mut bytes[read..], read as u64)? {
            read += more;
        }
        Ok(std::str::from_utf8(&bytes[..read]).ok().and_then(Self::parse))
    }

    /// `epochs2 <crc> <boot> <next> <until> <exchanges> <own> <inode> <name>`, and what is left of
    /// longer ones. Before there was a second version it was not noted whether the directory is
    /// ours alone.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?;
        let (is_second, line) = match line.strip_prefix("epochs2 ") {
            Some(line) => (true, line),
            None => (false, line.strip_prefix("epochs1 ")?),
        };
        let (sum, rest) = line.split_once(' ')?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(rest.as_bytes()) {
            return None;
        }
        let mut words = rest.split(' ');
        let boot = u64::from_str_radix(words.next()?, 16).ok()?;
        let (next, until) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let exchanges = match words.next()? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        };
        let own = is_second && words.next()? == "own";
        let inode = words.next()?.parse().ok()?;
        let theft = words.next().filter(|name| !name.is_empty()).map(|name| (name.into(), inode));
        Some(Self { boot, next, until, exchanges, own, theft })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let exchanges = match self.exchanges {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let own = if self.own { "own" } else { "-" };
        let (name, inode) = self.theft.as_ref().map_or(("", 0), |(name, inode)| (name, *inode));
        let Self { boot, next, until, .. } = self;
        let rest = format!("{boot:x} {next} {until} {exchanges} {own} {inode} {name}");
        format!("epochs2 {:08x} {rest}\n", crc32fast::hash(rest.as_bytes())).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_are_read_as_written() {
        let books = EpochFile {
            boot: 0xfe,
            next: 7,
            until: 1024,
            exchanges: Some(true),
            own: true,
            theft: Some(("a.lock".into(), 77)),
        };
        let text = String::from_utf8(books.to_bytes()).unwrap();
        assert_eq!(EpochFile::parse(&text), Some(books.clone()));
        assert_eq!(EpochFile::parse(&format!("{text}lock\n")), Some(books.clone()));
        for len in 0..text.len() - 1 {
            assert_eq!(EpochFile::parse(&text[..len]), None, "{len}");
        }
        assert_eq!(EpochFile::parse(""), None);
        let rest = "fe 7 1024 yes 77 a.lock";
        let first = format!("epochs1 {:08x} {rest}\n", crc32fast::hash(rest.as_bytes()));
        assert_eq!(EpochFile::parse(&first), Some(EpochFile { own: false, ..books }));
    }
}
