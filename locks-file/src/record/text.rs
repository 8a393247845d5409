use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::str::SplitAsciiWhitespace;

use locks_core::LostCause;

use super::{Entry, FileContent, Record};
use crate::name;

/// A record as it stands in a file: a line with checksum and length of what follows, one about the
/// file, and one for each hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text(Vec<u8>);

const MAGIC: &[u8] = b"locks2 ";
/// `locks2 `, eight digits, a space, eight digits, a line feed.
const HEADER: usize = MAGIC.len() + 18;
const HEX: &[u8; 16] = b"0123456789abcdef";
/// What comes before the time until which the key is reserved, and before that until which it is
/// only if the holder releases it as done.
const KEEP: &str = "keep";
const IF_DONE: &str = "keep-if-done";
/// More is no record: about what ten thousand shared holds take.
const LONGEST: usize = 1 << 22;

impl Text {
    /// The text of a record.
    pub(super) fn of(record: &Record<'_>) -> Self {
        let mut text = String::with_capacity(320);
        text.push_str("locks2 00000000 00000000\n");
        let over = record.over.map(|(token, cause)| (token, word(cause)));
        let (token, cause) = over.unwrap_or((0, "-"));
        let mark = if record.removed { "removed" } else { "-" };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "boot {:x} token {} mark {mark} over {token} {cause} wanted {} key ",
            record.boot, record.token, record.wanted
        );
        match record.key {
            Some(key) => name::push_escaped(&mut text, key),
            None => text.push('-'),
        }
        text.push('\n');
        for entry in &record.entries {
            let mode = if entry.exclusive { "exclusive" } else { "shared" };
            let Entry { token, pid, space, started, since, keep_until, ends_at, about, .. } = entry;
            let keep = if entry.if_done { IF_DONE } else { KEEP };
            let _ = writeln!(
                text,
                "hold {token} {mode} pid {pid} of {space} start {started} since {since} {keep} \
                 {keep_until} ends {ends_at} by {about}"
            );
        }
        let mut text = text.into_bytes();
        let (header, body) = text.split_at_mut(HEADER);
        let sum = crc32fast::hash(body);
        // Digits by hand: this is on the way of every grant.
        let digits = &mut header[MAGIC.len()..];
        for (index, digit) in digits[..8].iter_mut().enumerate() {
            *digit = HEX[(sum >> (28 - 4 * index) & 0xf) as usize];
        }
        let mut len = body.len();
        for digit in digits[9..17].iter_mut().rev() {
            *digit = HEX[len % 10];
            len /= 10;
        }
        Self(text)
    }

    /// What a file has.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut text = vec![0; 1024];
        let mut read = 0;
        loop {
            match file.read_at(&mut text[read..], read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            // What comes after the record is left over from a longer one.
            let wanted = body_len(&text[..read]).map_or(LONGEST, |len| HEADER + len);
            if read >= wanted.min(LONGEST) {
                break;
            }
            if read == text.len() {
                text.resize(text.len() * 4, 0);
            }
        }
        text.truncate(read);
        Ok(Self(text))
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is somebody else's: there is something, and it does not begin as records do,
    /// whole or torn (F9).
    pub(crate) fn is_foreign(&self) -> bool {
        !is_marked(&self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What it says.
    pub(crate) fn parse(&self) -> FileContent<'_> {
        if self.is_empty() {
            return FileContent::Empty;
        }
        self.record().map_or(FileContent::Torn, FileContent::Record)
    }

    /// The record, if it is one.
    pub(crate) fn record(&self) -> Option<Record<'_>> {
        let body = &self.0.get(HEADER..)?.get(..body_len(&self.0)?)?;
        let sum = std::str::from_utf8(&self.0[MAGIC.len()..MAGIC.len() + 8]).ok()?;
        if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(body) {
            return None;
        }
        let mut lines = std::str::from_utf8(body).ok()?.lines();
        let mut words = lines.next()?.split_ascii_whitespace();
        let mut record = Record {
            boot: u64::from_str_radix(after(&mut words, "boot")?, 16).ok()?,
            token: after(&mut words, "token")?.parse().ok()?,
            removed: after(&mut words, "mark")? == "removed",
            over: None,
            wanted: 0,
            key: None,
            entries: Vec::new(),
        };
        let token = after(&mut words, "over")?.parse().ok()?;
        record.over = cause(words.next()?).map(|cause| (token, cause));
        record.wanted = after(&mut words, "wanted")?.parse().ok()?;
        record.key = Some(after(&mut words, "key")?).filter(|key| *key != "-");
        record.entries = lines.map(entry).collect::<Option<_>>()?;
        Some(record)
    }

    /// Whether both say the same of their holds: tokens, ages and all.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (body_len(&self.0), body_len(&other.0)) {
            (Some(ours), Some(theirs)) => {
                self.0.get(..HEADER + ours) == other.0.get(..HEADER + theirs)
            }
            _ => self.0 == other.0,
        }
    }
}

/// Whether this can be what a record, of whichever version, begins with.
pub(crate) fn is_marked(text: &[u8]) -> bool {
    let begins = text.get(..MAGIC.len()).unwrap_or(text);
    let mut bytes = begins.iter().zip(MAGIC).enumerate();
    bytes.all(|(at, (byte, magic))| byte == magic || at == 5 && byte.is_ascii_digit())
}

/// How long the text behind the first line is, if that is the first line of a record.
fn body_len(text: &[u8]) -> Option<usize> {
    let header = text.get(..HEADER)?.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    let len = std::str::from_utf8(header.get(8..)?.strip_prefix(b" ")?).ok()?.parse().ok()?;
    Some(len).filter(|len| *len <= LONGEST)
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let (numbers, about) = line.split_once(" by ")?;
    let mut words = numbers.split_ascii_whitespace();
    Some(Entry {
        token: after(&mut words, "hold")?.parse().ok()?,
        exclusive: words.next()? == "exclusive",
        pid: after(&mut words, "pid")?.parse().ok()?,
        space: after(&mut words, "of")?.parse().ok()?,
        started: after(&mut words, "start")?.parse().ok()?,
        since: after(&mut words, "since")?.parse().ok()?,
        if_done: match words.next()? {
            KEEP => false,
            IF_DONE => true,
            _ => return None,
        },
        keep_until: words.next()?.parse().ok()?,
        ends_at: after(&mut words, "ends")?.parse().ok()?,
        about,
    })
}

/// The word that follows `name`, which has to be next.
fn after<'a>(words: &mut SplitAsciiWhitespace<'a>, name: &str) -> Option<&'a str> {
    (words.next()? == name).then(|| words.next())?
}

fn word(cause: LostCause) -> &'static str {
    match cause {
        LostCause::Evicted => "evicted",
        LostCause::HeldTooLong => "ended",
        _ => "stolen",
    }
}

fn cause(word: &str) -> Option<LostCause> {
    match word {
        "evicted" => Some(LostCause::Evicted),
        "ended" => Some(LostCause::HeldTooLong),
        "stolen" => Some(LostCause::Stolen),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            token: (3 << 32) | 8,
            exclusive: false,
            pid: 77,
            space: 4,
            started: 9,
            since: 5,
            keep_until: 6,
            if_done: true,
            ends_at: 0,
            about: "label\tprocess\tthread `a by b`\tsrc/main.rs:3",
        }
    }

    fn record() -> Record<'static> {
        Record {
            boot: 0xabc,
            token: (3 << 32) | 9,
            removed: true,
            over: Some((7, LostCause::Evicted)),
            wanted: 12,
            key: Some("%41%20"),
            entries: vec![entry(), Entry { exclusive: true, about: "", ..entry() }],
        }
    }

    #[test]
    fn f3_what_is_written_is_read() {
        let mut text = Text::of(&Record { key: Some("A "), ..record() });
        assert_eq!(format!("{:?}", text.record().unwrap()), format!("{:?}", record()));
        // Left over from a longer one.
        text.0.extend_from_slice(b"hold 1 of nobody");
        assert_eq!(format!("{:?}", text.record().unwrap()), format!("{:?}", record()));
    }

    #[test]
    fn f3_every_torn_record_is_found_out() {
        let whole = Text::of(&record());
        for len in 1..whole.0.len() {
            assert!(matches!(Text(whole.0[..len].to_vec()).parse(), FileContent::Torn), "{len}");
        }
        for at in 0..whole.0.len() {
            let mut bytes = whole.0.clone();
            bytes[at] ^= 1;
            assert!(matches!(Text(bytes).parse(), FileContent::Torn), "{at}");
        }
        assert!(matches!(Text::default().parse(), FileContent::Empty));
        assert!(matches!(Text(b"locks2 00000000 99999999\n".to_vec()).parse(), FileContent::Torn));
    }

    #[test]
    fn f9_records_are_told_from_what_others_write() {
        let whole = Text::of(&record());
        for len in 0..whole.0.len() {
            assert!(!Text(whole.0[..len].to_vec()).is_foreign(), "{len}");
        }
        assert!(!Text(b"locks1 00000000 ".to_vec()).is_foreign(), "of an earlier version");
        for foreign in ["# yarn lockfile v1", "4711\n", "locksmith", "lock ", "\0", "{}"] {
            assert!(Text(foreign.as_bytes().to_vec()).is_foreign(), "{foreign}");
        }
    }

    #[test]
    fn f3_a_file_is_read_to_the_end_of_its_record() {
        let path = std::env::temp_dir().join(format!("locks-record-{}", std::process::id()));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&path);
        let file = file.unwrap();
        let many = Record { entries: vec![entry(); 500], ..record() };
        many.write(&file).unwrap();
        assert_eq!(Text::read(&file).unwrap().record().unwrap().entries.len(), 500);
        record().write(&file).unwrap();
        assert_eq!(Text::read(&file).unwrap().record().unwrap().entries.len(), 2);
        std::fs::remove_file(path).unwrap();
    }
}
