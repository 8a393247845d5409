use std::time::Duration;

use locks_core::Moment;

/// Appends fields to what is to be written: numbers with their lowest byte first, texts with their
/// length before them, what may be missing behind a byte that says whether it is there.
#[derive(Debug)]
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).expect("texts come in frames, which are bounded"));
        self.bytes(text.as_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    pub(super) fn duration(&mut self, duration: Duration) {
        self.u64(duration.as_secs());
        self.u32(duration.subsec_nanos());
    }

    pub(super) fn moment(&mut self, moment: Moment) {
        self.u64(moment.nanos());
    }

    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// That of all so far, for [`FieldReader::checked`].
    pub(super) fn checksum(&mut self) {
        self.u32(crc32fast::hash(self.0));
    }
}

/// Takes fields out of what was read. Each value has one way to be written, and no other is taken.
#[derive(Debug)]
pub(super) struct FieldReader<'a>(pub(super) &'a [u8]);

/// What is wrong with bytes.
pub(super) type Read<T> = Result<T, &'static str>;

impl<'a> FieldReader<'a> {
    /// What lies between the mark that a file begins with and its checksum.
    pub(super) fn checked(content: &'a [u8], magic: &[u8]) -> Read<Self> {
        let (content, checksum) = content.split_last_chunk::<4>().ok_or("damaged: too short")?;
        if crc32fast::hash(content).to_le_bytes() != *checksum {
            return Err("damaged: its checksum is wrong");
        }
        content.strip_prefix(magic).map(Self).ok_or("something else")
    }

    pub(super) fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or("it ends too early")?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn text(&mut self) -> Read<String> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len).ok_or("it ends within a text")?;
        self.0 = rest;
        let text = str::from_utf8(text).map_err(|_| "a text in it is not UTF-8")?;
        Ok(text.to_owned())
    }

    pub(super) fn bool(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a yes or no in it is neither"),
        }
    }

    pub(super) fn duration(&mut self) -> Read<Duration> {
        let (secs, nanos) = (self.u64()?, self.u32()?);
        if nanos >= 1_000_000_000 {
            return Err("a duration in it has too many nanoseconds");
        }
        Ok(Duration::new(secs, nanos))
    }

    pub(super) fn moment(&mut self) -> Read<Moment> {
        Ok(Moment::from_nanos(self.u64()?))
    }

    pub(super) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        self.bool()?.then(|| read(self)).transpose()
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Read<()> {
        if self.0.is_empty() { Ok(()) } else { Err("it goes on after its end") }
    }
}
