//! As much of Redis's protocol as a lock needs.

use std::io::{self, BufRead, BufReader, Write};

use super::address::{Address, Stream};

/// A connection that asks one thing at a time.
pub(super) struct Connection {
    stream: BufReader<Stream>,
    request: Vec<u8>,
}

/// What comes back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Text(String),
    Number(i64),
    Nothing,
    List(Vec<Reply>),
}

impl Connection {
    pub(super) fn open(address: &Address) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(address.connect()?), request: Vec::new() })
    }

    pub(super) fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        self.request.clear();
        write(&mut self.request, words);
        self.stream.get_mut().write_all(&self.request)?;
        read(&mut self.stream)
    }

    /// Returns when the server has said something of itself, and forgets what else it has said.
    pub(super) fn hear(&mut self) -> io::Result<()> {
        read(&mut self.stream)?;
        while !self.stream.buffer().is_empty() {
            read(&mut self.stream)?;
        }
        Ok(())
    }
}

/// Appends a request.
pub(super) fn write(request: &mut Vec<u8>, words: &[&str]) {
    let mut put = |text: std::fmt::Arguments<'_>| {
        request.write_fmt(text).expect("a `Vec` takes everything");
    };
    put(format_args!("*{}\r\n", words.len()));
    for word in words {
        put(format_args!("${}\r\n{word}\r\n", word.len()));
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let strange = || io::Error::other(format!("Redis said `{}`", line.trim_end()));
    let (kind, rest) = line.trim_end().split_at_checked(1).ok_or(io::ErrorKind::UnexpectedEof)?;
    let number = || rest.parse::<i64>().map_err(|_| strange());
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        ":" => Reply::Number(number()?),
        "$" | "*" if number()? < 0 => Reply::Nothing,
        "$" => {
            let mut text = vec![0; usize::try_from(number()?).expect("it is not negative") + 2];
            from.read_exact(&mut text)?;
            Reply::Text(String::from_utf8_lossy(&text[..text.len() - 2]).into_owned())
        }
        "*" => Reply::List((0..number()?).map(|_| read(from)).collect::<io::Result<_>>()?),
        _ => return Err(strange()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_list_of_words_with_their_lengths() {
        let mut request = Vec::new();
        write(&mut request, &["DEL", "invoice"]);
        assert_eq!(request, b"*2\r\n$3\r\nDEL\r\n$7\r\ninvoice\r\n");
    }

    #[test]
    fn a_reply_is_read_to_its_end() {
        let mut from = &b"*3\r\n$2\r\na\n\r\n:7\r\n$-1\r\n+OK\r\n-ERR no\r\n"[..];
        let list = vec![Reply::Text("a\n".into()), Reply::Number(7), Reply::Nothing];
        assert_eq!(read(&mut from).unwrap(), Reply::List(list));
        assert_eq!(read(&mut from).unwrap(), Reply::Text("OK".into()));
        assert!(read(&mut from).unwrap_err().to_string().contains("ERR no"));
        assert!(read(&mut from).is_err(), "nothing is left");
    }
}
