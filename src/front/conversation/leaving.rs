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
        self.client.acknowledge();
        let socket = self.client.into_socket(registry)?.into();
        let Self { origin, permit, requests, .. } = self;
        Ok(HandedOver { socket, read, address: origin.address, permit, requests })
    }

    pub(in crate::front) fn into_switched(
        self,
        tools: &mut Tools<S>,
    ) -> Option<(S::Errand, Switched)> {
        let State::Passage(passage) = self.state else { return None };
        let (errand, runtime, read_ahead) = passage.into_switched(tools)?;
        let (client, client_is_watched) = self.client.into_switched();
        let (runtime, runtime_is_watched) = runtime;
        let sockets = [client, runtime];
        let is_watched = [client_is_watched, runtime_is_watched];
        Some((errand, Switched { sockets, is_watched, read_ahead, permit: self.permit }))
    }
}
