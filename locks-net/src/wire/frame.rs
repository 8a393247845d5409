use super::Malformed;

/// Appends to `out` a frame, length and body, whose body `write` appends.
pub(crate) fn put_frame(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let len = u32::try_from(out.len() - start - 4).expect("frames are bounded");
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

/// Takes frames out of what has been received. Memory is bounded by the longest frame and one read.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    /// What of `buffer` has been taken out.
    start: usize,
    max: usize,
}

impl FrameReader {
    /// Refuses frames longer than `max`.
    pub(crate) const fn new(max: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, max }
    }

    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Appends what was received.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether a frame has begun and not ended: its sender may be slow, or stuck.
    pub(crate) fn is_partial(&self) -> bool {
        self.buffer.len() > self.start
    }

    /// The body of the next complete frame.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, Malformed> {
        let rest = &self.buffer[self.start..];
        let Some((len, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        if len > self.max {
            return Err(Malformed("the frame is longer than allowed"));
        }
        if rest.len() < len {
            return Ok(None);
        }
        let from = self.start + 4;
        self.start = from + len;
        Ok(Some(&self.buffer[from..from + len]))
    }
}

/// Appends the body of a numbered frame; `number` 0 is one that carries nothing but `ack`.
pub(crate) fn join_frame(out: &mut Vec<u8>, number: u64, ack: u64, message: &[u8]) {
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&ack.to_le_bytes());
    out.extend_from_slice(message);
}

/// Number, acknowledgement and message of a numbered frame.
pub(crate) fn split_frame(body: &[u8]) -> Result<(u64, u64, &[u8]), Malformed> {
    let short = Malformed("the frame is too short");
    let (number, rest) = body.split_first_chunk::<8>().ok_or(short)?;
    let (ack, message) = rest.split_first_chunk::<8>().ok_or(short)?;
    let number = u64::from_le_bytes(*number);
    if (number == 0) != message.is_empty() {
        return Err(Malformed("a frame without a number has a message, or the reverse"));
    }
    Ok((number, u64::from_le_bytes(*ack), message))
}
