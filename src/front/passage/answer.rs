//! The answer's way back: its head, rewritten, and its body, as it is.

use std::io::{self, ErrorKind, Read};

use http::StatusCode;
use http::header::CONTENT_LENGTH;

use super::super::buffers::{BODY_READ_BYTES, Buffers, CHUNK_ROOM};
use super::super::client_leg::ClientLeg;
use super::super::conversation::Tools;
use super::super::framing::Framing;
use super::super::head::{AnswerHead, Found, read_answer, space};
use super::super::reading::says_close;
use super::super::write::{Manner, put, put_end, put_headers, put_status};
use super::super::{Answer, Story};
use super::{Passage, Phase, Progress};
use crate::refusal::Refusal;

impl<S: Story> Passage<S> {
    /// Waits for the head of the answer.
    pub(super) fn read_answer(&mut self, client: &mut ClientLeg, tools: &mut Tools<S>) -> Progress {
        let part = self.answer.len();
        let Buffers { scratch, read_bytes, .. } = &mut tools.buffers;
        let space = &mut scratch[CHUNK_ROOM..CHUNK_ROOM + *read_bytes];
        let Some(link) = self.link.and_then(|id| tools.links.get(id)) else {
            return self.fail("the connection is gone", tools);
        };
        if !link.readable {
            return Progress::Wait;
        }
        match link.socket.read(&mut space[part..]) {
            Ok(0) => self.fail("it closed the connection without an answer", tools),
            Ok(length) => {
                link.readable = link.ended || part + length == space.len();
                space[..part].copy_from_slice(&self.answer);
                // From here on it may have been carried out.
                self.is_kept = false;
                self.judge_answer(part + length, client, tools)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    link.readable = false;
                    Progress::Wait
                }
                ErrorKind::Interrupted => Progress::On,
                _ => self.fail(&error.to_string(), tools),
            },
        }
    }

    /// Looks for the head of the answer among the bytes that were read, behind interim ones.
    fn judge_answer(
        &mut self,
        length: usize,
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        let broke = |why: &str| Progress::Refuse(Refusal::RuntimeBroke(why.to_owned()));
        // The buffer leaves the tools for as long as its head is looked at.
        let scratch = std::mem::take(&mut tools.buffers.scratch);
        let mut map = std::mem::take(&mut tools.buffers.map);
        let mut bytes = &scratch[CHUNK_ROOM..CHUNK_ROOM + length];
        let header_bytes_max = tools.settings.header_bytes_max;
        let progress = loop {
            let mut space = space();
            match read_answer(bytes, &mut space, &mut map) {
                Found::Part if bytes.len() < header_bytes_max => {
                    self.answer.clear();
                    self.answer.extend_from_slice(bytes);
                    break Progress::On;
                }
                Found::Bad => break broke("its answer is no HTTP"),
                Found::Head(mut head) if head.length <= header_bytes_max => {
                    let rest = &bytes[head.length..];
                    let progress = match head.status {
                        StatusCode::SWITCHING_PROTOCOLS => {
                            Some(self.switch(&mut head, rest, client, tools))
                        }
                        status if status.is_informational() => None,
                        _ => Some(self.pass(&mut head, rest, client, tools)),
                    };
                    map = head.headers;
                    if let Some(progress) = progress {
                        break progress;
                    }
                    bytes = rest;
                    if bytes.is_empty() {
                        self.answer.clear();
                        break Progress::On;
                    }
                }
                Found::Part | Found::Head(_) => break broke("its headers are too long"),
            }
        };
        map.clear();
        (tools.buffers.scratch, tools.buffers.map) = (scratch, map);
        progress
    }

    /// Passes the head of an answer on, and what has come of its body.
    fn pass(
        &mut self,
        head: &mut AnswerHead<'_>,
        body: &[u8],
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        let broke = |why: &str| Progress::Refuse(Refusal::RuntimeBroke(why.to_owned()));
        let without_body = self.asked.without_body;
        let framing =
            Framing::of_answer(without_body, head.status, head.is_http_1_1, &head.headers);
        self.framing = match framing {
            Ok(framing) => framing,
            Err(why) => return broke(why),
        };
        let is_until_end = self.framing == Framing::UntilEnd;
        let is_chunked = is_until_end || matches!(self.framing, Framing::Chunks(_));
        let (taken, outcome) = self.framing.take(body);
        if outcome.is_err() {
            return broke("its chunks are none");
        }
        // What stands behind the answer belongs to no request.
        self.keeps_link = !self.is_handshake
            && head.is_http_1_1
            && taken == body.len()
            && !says_close(&head.headers);
        let answer = Answer { status: head.status, headers: &mut head.headers };
        if let Err(refusal) = tools.story.pass(&mut self.errand, answer) {
            return Progress::Refuse(refusal);
        }
        self.closes = self.asked.closes || self.is_handshake || tools.is_draining;
        if head.status == StatusCode::NO_CONTENT {
            head.headers.remove(CONTENT_LENGTH);
        }
        let mut out = std::mem::take(&mut tools.buffers.out);
        self.put_head(&mut out, head, is_chunked, tools);
        if is_until_end && taken > 0 {
            out.extend_from_slice(format!("{taken:x}\r\n").as_bytes());
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(&body[..taken]);
        }
        self.phase = Phase::Body;
        let sent = client.send(&out, &mut tools.buffers, tools.now);
        tools.buffers.out = out;
        self.after_body(sent)
    }

    fn put_head(
        &self,
        out: &mut Vec<u8>,
        head: &AnswerHead<'_>,
        is_chunked: bool,
        tools: &mut Tools<S>,
    ) {
        out.clear();
        put_status(out, head.status, head.reason);
        put_headers(out, head.written, &head.headers);
        if is_chunked {
            put(out, b"Transfer-Encoding", b"chunked");
        }
        let is_switch = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let manner = Manner {
            closes: self.closes && !is_switch,
            without_body: self.asked.without_body,
            now: tools.now,
        };
        put_end(out, &head.headers, manner, &mut tools.today);
    }

    fn after_body(&mut self, sent: io::Result<()>) -> Progress {
        match sent {
            Err(_) => Progress::Cut,
            Ok(()) if self.framing == Framing::Done => match self.after_answer() {
                Progress::Wait => Progress::On,
                progress => progress,
            },
            Ok(()) => Progress::On,
        }
    }

    /// Passes the body on as it comes.
    pub(super) fn read_body(&mut self, client: &mut ClientLeg, tools: &mut Tools<S>) -> Progress {
        let Some(link) = self.link.and_then(|id| tools.links.get(id)) else {
            return Progress::Cut;
        };
        if !link.readable {
            return Progress::Wait;
        }
        let mut scratch = std::mem::take(&mut tools.buffers.scratch);
        let end = CHUNK_ROOM + BODY_READ_BYTES;
        let progress = match link.socket.read(&mut scratch[CHUNK_ROOM..end]) {
            Ok(0) if self.framing == Framing::UntilEnd => {
                (self.framing, self.keeps_link) = (Framing::Done, false);
                let sent = client.send(b"0\r\n\r\n", &mut tools.buffers, tools.now);
                self.after_body(sent)
            }
            // Nothing that could be said would not be taken for the body.
            Ok(0) => Progress::Cut,
            Ok(length) => {
                link.readable = link.ended || CHUNK_ROOM + length == end;
                self.pass_body(&mut scratch, length, client, tools)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    link.readable = false;
                    Progress::Wait
                }
                ErrorKind::Interrupted => Progress::On,
                _ => Progress::Cut,
            },
        };
        tools.buffers.scratch = scratch;
        progress
    }

    /// Passes on what was read of the body: as it is, or as a chunk if it has no framing of its own.
    fn pass_body(
        &mut self,
        scratch: &mut [u8],
        length: usize,
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        let is_until_end = self.framing == Framing::UntilEnd;
        let (taken, outcome) = self.framing.take(&scratch[CHUNK_ROOM..CHUNK_ROOM + length]);
        self.keeps_link &= taken == length;
        let (mut start, mut end) = (CHUNK_ROOM, CHUNK_ROOM + taken);
        if is_until_end {
            let size = format!("{taken:x}\r\n");
            start -= size.len();
            scratch[start..CHUNK_ROOM].copy_from_slice(size.as_bytes());
            scratch[end..end + 2].copy_from_slice(b"\r\n");
            end += 2;
        }
        let sent = client.send(&scratch[start..end], &mut tools.buffers, tools.now);
        match outcome {
            Ok(()) => self.after_body(sent),
            Err(_) => Progress::Cut,
        }
    }

    /// Passes a 101 on.
    fn switch(
        &mut self,
        head: &mut AnswerHead<'_>,
        behind: &[u8],
        client: &mut ClientLeg,
        tools: &mut Tools<S>,
    ) -> Progress {
        if !self.is_handshake {
            let why = "it switched protocols unasked".to_owned();
            return Progress::Refuse(Refusal::RuntimeBroke(why));
        }
        let answer = Answer { status: head.status, headers: &mut head.headers };
        if let Err(refusal) = tools.story.switch(&mut self.errand, answer) {
            return Progress::Refuse(refusal);
        }
        let mut out = std::mem::take(&mut tools.buffers.out);
        self.put_head(&mut out, head, false, tools);
        self.answer = behind.to_vec();
        self.phase = Phase::Switch;
        self.deadline = tools.now.plus(tools.settings.header_timeout);
        let sent = client.send(&out, &mut tools.buffers, tools.now);
        tools.buffers.out = out;
        match sent {
            Ok(()) => Progress::On,
            Err(_) => Progress::Cut,
        }
    }
}
