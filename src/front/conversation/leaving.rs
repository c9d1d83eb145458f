//! How a conversation ends, or goes on elsewhere.

use std::io;

use mio::Registry;

use super::super::{HandedOver, Story, Switched};
use super::{Conversation, State, Tools};

impl<S: Story> Conversation<S> {
    /// Gives back what it holds of its thread's. Its socket closes when it is dropped.
    pub(in crate::front) fn let_go(&mut self, tools: &mut Tools<S>) {
        self.end_passage(tools);
        self.client.let_go(&mut tools.buffers);
    }

    pub(in crate::front) fn into_handed_over(
        self,
        read: Vec<u8>,
        registry: &Registry,
    ) -> io::Result<HandedOver> {
        let socket = self.client.into_socket(registry)?.into();
        let Self { origin, permit, requests, .. } = self;
        Ok(HandedOver { socket, read, address: origin.address, permit, requests })
    }

    pub(in crate::front) fn into_switched(
        self,
        tools: &mut Tools<S>,
    ) -> io::Result<(S::Errand, Switched)> {
        let State::Passage(passage) = self.state else {
            return Err(io::Error::other("nothing was switched"));
        };
        let client = self.client.into_socket(&tools.registry)?;
        let (errand, runtime, read_ahead) = passage.into_switched(tools)?;
        let sockets = [client, runtime];
        Ok((errand, Switched { sockets, read_ahead, permit: self.permit }))
    }
}
