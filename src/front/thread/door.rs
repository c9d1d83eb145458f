//! Lets clients in: one by one, each with its place.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::super::Story;
use super::super::conversation::{Conversation, Tools};
use super::super::origin::Origin;
use super::super::step::Outcome;
use super::super::write::{Manner, put_own};
use super::{ACCEPT_PAUSE, Front, Seated};
use crate::clock::Micros;
use crate::permits::{NoPlace, Permit, Room};

/// Connections that are looked at, of which one is to go for a newcomer.
const LOOKED_AT_MAX: usize = 256;
/// Connections that one listener may bring in one round, less those that are ready already.
const ACCEPTS_PER_ROUND: usize = 16;

impl<S: Story> Front<S> {
    /// Takes a place first, then a connection, as long as there is time; without a place the kernel's queue
    /// holds the clients.
    pub(super) fn accept(&mut self, until: Micros) {
        let now = self.tools.now;
        for place in 0..self.listeners.len() {
            let listener = &mut self.listeners[place];
            if listener.paused_until.is_some_and(|end| now < end) {
                continue;
            }
            listener.paused_until = None;
            // One in any case: kept connections may be ready all the time. No more while each has to
            // go for another: whether somebody has asked for something is known after their turn.
            let most = if self.tools.permits.is_short() { 1 } else { ACCEPTS_PER_ROUND };
            for _ in 0..most.saturating_sub(self.ready.len()).max(1) {
                let goes_on = self.listeners[place].is_ready && self.accept_one(place);
                if !goes_on || self.clock.micros() >= until {
                    break;
                }
            }
        }
    }

    /// Returns whether to go on with this listener.
    fn accept_one(&mut self, place: usize) -> bool {
        let now = self.tools.now;
        let Some(permit) = self.tools.permits.try_take() else {
            self.shared.say_full();
            self.listeners[place].paused_until = Some(now.plus(ACCEPT_PAUSE));
            return false;
        };
        let listener = &mut self.listeners[place];
        match listener.socket.accept() {
            Ok((socket, address)) => {
                self.take_in(socket, address, permit);
                true
            }
            Err(error) => {
                match error.kind() {
                    ErrorKind::WouldBlock => {
                        listener.is_ready = false;
                        self.shared.say_not_full(self.tools.permits.available());
                        return false;
                    }
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => return true,
                    _ => self.tools.permits.say_short(&error),
                }
                listener.paused_until = Some(now.plus(ACCEPT_PAUSE * 10));
                false
            }
        }
    }

    fn take_in(&mut self, socket: TcpStream, address: SocketAddr, mut permit: Permit) {
        // Whose descriptor is needed for others gets no answer.
        match self.tools.permits.admit(&socket) {
            Ok(Room::Own) => {}
            Ok(Room::Tight) => _ = self.let_one_go(),
            Ok(Room::ForAnother) if self.let_one_go() => {}
            Ok(Room::ForAnother) | Err(_) => return,
        }
        let origin = Origin::of(address, &self.tools.settings.proxy_protocol_from);
        let seated = match origin.is_awaited {
            true => Ok(()),
            false => self.tools.permits.seat(&mut permit, address.ip()),
        };
        match seated {
            Ok(()) => {
                let slot = self.slab.vacant_key();
                let conversation = Conversation::new(socket, origin, permit, slot, &self.tools);
                self.slab.insert(Seated { conversation, is_ready: true });
                self.ready.push_back(slot);
            }
            Err(why) => self.turn_away(socket, address, why),
        }
    }

    /// Ends a connection on which no request has come, the next one in turn: so each stays for as long as
    /// there are others. Returns whether there was one.
    fn let_one_go(&mut self) -> bool {
        let slots = self.slab.capacity();
        for _ in 0..slots.min(LOOKED_AT_MAX) {
            self.next_to_go = (self.next_to_go + 1) % slots;
            let seated = self.slab.get(self.next_to_go);
            if seated.is_some_and(|seated| seated.conversation.is_waiting_for_a_request()) {
                self.end(self.next_to_go, Outcome::Over);
                return true;
            }
        }
        false
    }

    /// Says no without waiting for anything: who opens many connections must not hold places by being
    /// refused.
    fn turn_away(&mut self, mut socket: TcpStream, address: SocketAddr, why: NoPlace) {
        let response = self.tools.story.refuse_unread(address, why.refusal());
        let Tools { buffers, today, now, .. } = &mut self.tools;
        let manner = Manner { closes: true, without_body: false, now: *now };
        buffers.out.clear();
        put_own(&mut buffers.out, &response, manner, today);
        // Unread bytes would have the system reset the connection, answer and all. What fails here
        // fails for the client alone.
        let _ = socket.read(&mut buffers.scratch);
        let _ = socket.write(&buffers.out);
    }
}
