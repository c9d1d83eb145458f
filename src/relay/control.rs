//! The few frames that flowgate writes itself: Close, Ping, and the notice that a message was left out.

use super::walk::CONTROL_PAYLOAD_BYTES_MAX;
use crate::close::Cause;

/// What a client is told whose message, or a message to whom, the plan has left out.
pub const NOTICE: &str = "Error code: 4008 reason: Websocket frame throttled out";
/// The longest control frame: header, mask and 125 bytes. The notice is shorter.
const CONTROL_BYTES_MAX: usize = 2 + 4 + CONTROL_PAYLOAD_BYTES_MAX as usize;

/// A frame of flowgate's own, before it is encoded. `mask` is set towards a runtime, to which
/// flowgate is the client (RFC 6455 section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injection {
    /// A Close frame with the cause's code and reason.
    Close {
        /// Why.
        cause: Cause,
        /// The mask, if the direction demands one.
        mask: Option<[u8; 4]>,
    },
    /// A Ping frame.
    Ping {
        /// For its Pong to be known again.
        payload: [u8; 8],
        /// The mask, if the direction demands one.
        mask: Option<[u8; 4]>,
    },
    /// A text message, [`NOTICE`]. It goes to clients only, and between messages only.
    Notice,
}

impl Injection {
    /// The frame.
    #[must_use]
    pub fn encode(self) -> Control {
        match self {
            Self::Close { cause, mask } => {
                let [high, low] = cause.code().to_be_bytes();
                let payload = [high, low];
                Control::encode(8, payload.iter().chain(cause.reason().as_bytes()), mask)
            }
            Self::Ping { payload, mask } => Control::encode(9, payload.iter(), mask),
            Self::Notice => Control::encode(1, NOTICE.as_bytes().iter(), None),
        }
    }
}

/// A frame of our own, encoded and ready to be written at a frame boundary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Control {
    bytes: [u8; CONTROL_BYTES_MAX],
    length: u8,
}

impl Control {
    fn encode<'a>(
        opcode: u8,
        payload: impl Iterator<Item = &'a u8>,
        mask: Option<[u8; 4]>,
    ) -> Self {
        let mut bytes = [0; CONTROL_BYTES_MAX];
        let start = if mask.is_some() { 6 } else { 2 };
        let mask = mask.unwrap_or_default();
        let mut payload_bytes = 0;
        for (place, byte) in payload.take(CONTROL_PAYLOAD_BYTES_MAX as usize).enumerate() {
            bytes[start + place] = byte ^ mask[place % 4];
            payload_bytes = place as u8 + 1;
        }
        bytes[0] = 0x80 | opcode;
        bytes[1] = payload_bytes;
        if start == 6 {
            bytes[1] |= 0x80;
            bytes[2..6].copy_from_slice(&mask);
        }
        Self { bytes, length: start as u8 + payload_bytes }
    }

    /// The frame on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control({:02x?})", self.as_bytes())
    }
}
