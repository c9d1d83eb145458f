//! Heads and frames on a socket of tokio's.

use flowgate_bench::websocket::{FIN, head_end, header, header_bytes, parse_header, unmask};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The largest frame that anybody here sends, and more.
pub const PAYLOAD_BYTES_MAX: u64 = 4 * 1024 * 1024;
const READ_BYTES: usize = 8 * 1024;

/// Why nothing more can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The other side has ended, between two frames.
    Ended,
    /// It has ended inside a frame, or in some other way.
    Torn(String),
    /// What came is no frame.
    Nonsense(String),
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its first byte.
    pub first: u8,
    /// Whether it had a mask.
    pub is_masked: bool,
    /// Its payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// What kind it is.
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// Code and reason of a Close frame; 1005 where it says none (RFC 6455, section 7.1.5).
    pub fn close(&self) -> (u16, String) {
        match self.payload.split_at_checked(2) {
            Some((code, reason)) => {
                let code = u16::from_be_bytes([code[0], code[1]]);
                (code, String::from_utf8_lossy(reason).into_owned())
            }
            None => (1005, String::new()),
        }
    }
}

/// The reading side: keeps what came too early. All of its reading can be given up and begun again.
pub struct Reader<R> {
    from: R,
    bytes: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Of this socket.
    pub fn new(from: R) -> Self {
        Self { from, bytes: Vec::new() }
    }

    /// Reads a request's or an answer's head.
    pub async fn head(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(end) = head_end(&self.bytes) {
                let rest = self.bytes.split_off(end);
                let head = std::mem::replace(&mut self.bytes, rest);
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            if self.bytes.len() > HEAD_BYTES_MAX {
                return Err(Broken::Nonsense("a head without end".to_owned()));
            }
            self.fill().await?;
        }
    }

    /// Reads a frame.
    pub async fn frame(&mut self) -> Result<Frame, Broken> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// Reads to the end, for a short body; nothing is kept.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.bytes.len() < HEAD_BYTES_MAX && self.fill().await.is_ok() {}
        std::mem::take(&mut self.bytes)
    }

    async fn fill(&mut self) -> Result<(), Broken> {
        self.bytes.reserve(READ_BYTES);
        match self.from.read_buf(&mut self.bytes).await {
            Ok(0) if self.bytes.is_empty() => Err(Broken::Ended),
            Ok(0) => Err(Broken::Torn("it ended inside a frame".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(Broken::Torn(error.to_string())),
        }
    }

    fn take(&mut self) -> Result<Option<Frame>, Broken> {
        let [first, second, ..] = self.bytes[..] else { return Ok(None) };
        let begin = header_bytes(second);
        if self.bytes.len() < begin {
            return Ok(None);
        }
        let (length, mask) = parse_header(&self.bytes[..begin]);
        if length > PAYLOAD_BYTES_MAX {
            return Err(Broken::Nonsense(format!("a frame of {length} bytes")));
        }
        let end = begin + length as usize;
        if self.bytes.len() < end {
            return Ok(None);
        }
        let rest = self.bytes.split_off(end);
        let mut payload = std::mem::replace(&mut self.bytes, rest);
        payload.drain(..begin);
        if let Some(mask) = mask {
            unmask(&mut payload, mask, 0);
        }
        // Capacity that a large frame needed is not kept by all who had one.
        self.bytes.shrink_to(READ_BYTES);
        Ok(Some(Frame { first, is_masked: mask.is_some(), payload }))
    }
}

/// Sends a whole frame of a runtime's, that is one without mask.
pub async fn send<W: AsyncWrite + Unpin>(
    to: &mut W,
    opcode: u8,
    payload: &[u8],
) -> std::io::Result<()> {
    let mut frame = header(FIN | opcode, payload.len(), None);
    frame.extend_from_slice(payload);
    to.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    use flowgate_bench::websocket::{BINARY, CLOSE, client_frame};

    use super::*;

    #[tokio::test]
    async fn frames_come_whole_however_they_were_cut() {
        let (mut near, far) = tokio::io::duplex(3);
        let large = vec![7; 70_000];
        let mut bytes = client_frame(BINARY, b"one");
        bytes.extend(client_frame(BINARY, &large));
        bytes.extend([FIN | CLOSE, 5, 3, 0xf0, b'w', b'h', b'y']);
        let writing = tokio::spawn(async move { near.write_all(&bytes).await });
        let mut reader = Reader::new(far);
        assert_eq!(reader.frame().await.unwrap().payload, b"one");
        assert_eq!(reader.frame().await.unwrap().payload, large);
        let close = reader.frame().await.unwrap();
        assert_eq!((close.opcode(), close.close()), (CLOSE, (1008, "why".to_owned())));
        writing.await.unwrap().unwrap();
        assert_eq!(reader.frame().await, Err(Broken::Ended));
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_none_between_two() {
        let mut reader = Reader::new(&[FIN | BINARY, 3, 1, 2][..]);
        assert!(matches!(reader.frame().await, Err(Broken::Torn(_))));
    }
}
