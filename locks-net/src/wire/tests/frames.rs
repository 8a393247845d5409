//! Frames, in whatever pieces they come.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{FrameReader, join_frame, put_frame, split_frame};

fn read_all(reader: &mut FrameReader, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    for piece in pieces {
        reader.push(piece);
        while let Some(body) = reader.next().unwrap() {
            bodies.push(body.to_vec());
        }
    }
    bodies
}

proptest! {
    #[test]
    fn n2_frames_come_out_as_they_went_in(
        bodies in vec(vec(any::<u8>(), 0..40), 0..8),
        size in 1..30_usize,
    ) {
        let mut bytes = Vec::new();
        for body in &bodies {
            put_frame(&mut bytes, |out| out.extend_from_slice(body));
        }
        let pieces = bytes.chunks(size).collect::<Vec<_>>();
        let mut reader = FrameReader::new(40);
        prop_assert_eq!(read_all(&mut reader, &pieces), bodies);
        prop_assert!(!reader.is_partial());
    }
}

#[test]
fn n6_a_frame_that_is_too_long_is_refused_before_it_has_arrived() {
    let mut reader = FrameReader::new(4096);
    reader.push(&4097_u32.to_le_bytes());
    assert!(reader.next().is_err());
}

#[test]
fn n2_a_frame_has_a_message_if_it_has_a_number() {
    for (number, message, is_one) in
        [(0, &b""[..], true), (1, b"m", true), (0, b"m", false), (1, b"", false)]
    {
        let mut body = Vec::new();
        join_frame(&mut body, number, 9, message);
        assert_eq!(split_frame(&body).is_ok(), is_one, "{number} {message:?}");
        if is_one {
            assert_eq!(split_frame(&body), Ok((number, 9, message)));
        }
    }
    assert!(split_frame(&[0; 15]).is_err());
}
