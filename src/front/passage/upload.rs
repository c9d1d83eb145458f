//! The way of a request's body: read as the runtime takes it, and no further ahead than one read.

use std::io::ErrorKind;

use super::super::buffers::{BODY_READ_BYTES, Buffers, CHUNK_ROOM};
use super::super::client_leg::ClientLeg;
use super::super::conversation::Tools;
use super::super::framing::Framing;
use super::super::links::Watched;
use super::super::pending::Pending;
use super::super::reading::Asked;
use super::super::request_body::{Fault, RequestBody};
use super::super::{FrontSettings, Story};
use super::{Passage, Phase, Progress};
use crate::clock::Millis;

use crate::refusal::Refusal;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A body of which something is yet to be read or sent.
pub(super) struct Upload {
    body: RequestBody,
    /// What the runtime has not taken yet.
    pending: Pending,
    /// The client sends it once it is asked for it (RFC 9110 section 10.1.1).
    is_awaited: bool,
    /// When something of it came last.
    moved_at: Millis,
}

impl Upload {
    /// Puts what was read with the head behind the one for the runtime. What belongs to the body no more
    /// stays with what was asked.
    pub(super) fn begin(
        asked: &mut Asked,
        request: &mut Vec<u8>,
        buffers: &mut Buffers,
        now: Millis,
    ) -> Result<Option<Self>, Fault> {
        let Some(mut body) = asked.body.take() else { return Ok(None) };
        let read = asked.behind.len();
        if read > 0 {
            let scratch = &mut buffers.scratch;
            scratch[CHUNK_ROOM..CHUNK_ROOM + read].copy_from_slice(&asked.behind);
            let piece = body.pass(scratch, read)?;
            request.extend_from_slice(&scratch[piece.sent]);
            asked.behind = scratch[piece.end..CHUNK_ROOM + read].to_vec();
        }
        if body.is_read() {
            return Ok(None);
        }
        let is_awaited = asked.is_to_be_invited && read == 0;
        Ok(Some(Self { body: *body, pending: Pending::default(), is_awaited, moved_at: now }))
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Broken => Self::Malformed("The chunks of the body are malformed."),
            Fault::OverLimit => Self::BodyTooLarge,
        }
    }
}

impl<S: Story> Passage<S> {
    /// Something of the request's body is yet to be read or sent.
    pub(in crate::front) fn is_uploading(&self) -> bool {
        self.upload.is_some()
    }

    /// The answer has begun, and the body has come to a standstill: the runtime takes nothing of it, or,
    /// with the answer at its end, the client sends nothing of it.
    pub(in crate::front) fn is_stuck(&self, settings: &FrontSettings, now: Millis) -> bool {
        let Some(upload) = self.upload.as_ref().filter(|_| self.phase == Phase::Body) else {
            return false;
        };
        match upload.pending.blocked_since() {
            Some(since) => now.since(since) >= settings.write_stall_max,
            None => {
                self.framing == Framing::Done
                    && now.since(upload.moved_at) >= settings.keep_alive.idle_max
            }
        }
    }

    /// Has the next step try to send what waits; returns whether anything does. Systems tell of room
    /// only when there is much of it.
    pub(in crate::front) fn try_again(&mut self, tools: &mut Tools<S>) -> bool {
        let waits = self.upload.as_ref().is_some_and(|upload| !upload.pending.is_empty());
        if let Some(link) = self.link.filter(|_| waits).and_then(|id| tools.links.get(id)) {
            link.writable = true;
        }
        waits
    }

    /// Sends what waits, then reads and sends more.
    pub(super) fn carry_body(&mut self, client: &mut ClientLeg, tools: &mut Tools<S>) -> Progress {
        let Some(upload) = &mut self.upload else { return Progress::Wait };
        if std::mem::take(&mut upload.is_awaited)
            && client.send(CONTINUE, &mut tools.buffers, tools.now).is_err()
        {
            return Progress::Cut;
        }
        if !upload.pending.is_empty() {
            return self.send_pending(tools);
        }
        if upload.body.is_read() {
            self.upload = None;
            self.asked.is_read = true;
            return Progress::On;
        }
        if !client.readable {
            return Progress::Wait;
        }
        let wanted = upload.body.wants(BODY_READ_BYTES);
        let mut scratch = std::mem::take(&mut tools.buffers.scratch);
        let progress = match client.read(&mut scratch[CHUNK_ROOM..CHUNK_ROOM + wanted]) {
            // Half of a request is none.
            Ok(0) => Progress::Cut,
            Ok(length) => self.pass_upload(&mut scratch, length, tools),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Progress::Wait,
            Err(_) => Progress::Cut,
        };
        tools.buffers.scratch = scratch;
        progress
    }

    fn pass_upload(&mut self, scratch: &mut [u8], length: usize, tools: &mut Tools<S>) -> Progress {
        let Some(upload) = &mut self.upload else { return Progress::Wait };
        upload.moved_at = tools.now;
        let piece = match upload.body.pass(scratch, length) {
            Ok(piece) => piece,
            // It is too late to say so.
            Err(_) if self.phase == Phase::Body => return Progress::Cut,
            Err(fault) => return Progress::Refuse(fault.into()),
        };
        self.asked.behind.extend_from_slice(&scratch[piece.end..CHUNK_ROOM + length]);
        let Some(link) = self.link.and_then(|id| tools.links.get(id)) else {
            return Progress::Cut;
        };
        let bytes = &scratch[piece.sent];
        match upload.pending.send(&mut link.socket, bytes, &mut tools.buffers, tools.now) {
            Ok(()) if upload.pending.is_empty() => Progress::On,
            Ok(()) => {
                link.writable = false;
                self.wait_for_room(tools)
            }
            Err(_) => self.break_off(tools),
        }
    }

    fn send_pending(&mut self, tools: &mut Tools<S>) -> Progress {
        let link = self.link.and_then(|id| tools.links.get(id));
        let (Some(upload), Some(link)) = (&mut self.upload, link) else { return Progress::Cut };
        if !link.writable {
            return Progress::Wait;
        }
        match upload.pending.flush(&mut link.socket, &mut tools.buffers, tools.now) {
            Ok(()) if upload.pending.is_empty() => Progress::On,
            Ok(()) => {
                link.writable = false;
                self.wait_for_room(tools)
            }
            Err(_) => self.break_off(tools),
        }
    }

    fn wait_for_room(&mut self, tools: &mut Tools<S>) -> Progress {
        let Some(id) = self.link else { return Progress::Cut };
        match tools.links.watch(id, Watched::Both, &tools.registry) {
            Ok(()) => Progress::Wait,
            Err(_) => self.break_off(tools),
        }
    }

    /// The runtime takes no more of it. It may have answered before it went, and what the client goes on
    /// sending is for nobody.
    fn break_off(&mut self, tools: &mut Tools<S>) -> Progress {
        self.let_go_of_upload(tools);
        self.asked.closes = true;
        if let Some(link) = self.link.and_then(|id| tools.links.get(id)) {
            link.readable = true;
        }
        Progress::On
    }

    pub(super) fn let_go_of_upload(&mut self, tools: &mut Tools<S>) {
        if let Some(mut upload) = self.upload.take() {
            upload.pending.let_go(&mut tools.buffers);
        }
    }
}
