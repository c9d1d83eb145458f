//! Connections on which no request has come yet: who goes first when there is no room for newcomers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// Whether a connection has brought a request.
type HasAsked = Arc<AtomicBool>;

/// In the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Lobby {
    waiting: VecDeque<(HasAsked, AbortHandle)>,
}

impl Lobby {
    /// Two ends of what tells that a connection has asked for something.
    pub(super) fn ticket() -> (HasAsked, HasAsked) {
        let has_asked = HasAsked::default();
        (Arc::clone(&has_asked), has_asked)
    }

    /// Somebody has come.
    pub(super) fn enter(&mut self, has_asked: HasAsked, connection: AbortHandle) {
        self.tidy();
        self.waiting.push_back((has_asked, connection));
    }

    /// Ends the connection that has waited longest without a request; returns whether there was one.
    pub(super) fn let_one_go(&mut self) -> bool {
        self.tidy();
        let first = self.waiting.pop_front();
        first.inspect(|(_, connection)| connection.abort()).is_some()
    }

    /// Whoever is in front waits, so that there are no more than came since they did: for as long as a
    /// request may take to come.
    fn tidy(&mut self) {
        let waits = |(has_asked, connection): &(HasAsked, AbortHandle)| {
            !has_asked.load(Ordering::Relaxed) && !connection.is_finished()
        };
        while self.waiting.front().is_some_and(|front| !waits(front)) {
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn who_has_waited_longest_goes_and_nobody_who_has_asked() {
        let (mut lobby, mut connections) = (Lobby::default(), JoinSet::new());
        assert!(!lobby.let_one_go());
        let mut asked = Vec::new();
        for number in 0..4 {
            let (has_asked, asking) = Lobby::ticket();
            let connection = connections.spawn(async move {
                if number != 1 {
                    pending::<()>().await;
                }
            });
            lobby.enter(has_asked, connection);
            asked.push(asking);
        }
        connections.join_next().await.unwrap().unwrap();
        asked[2].store(true, Ordering::Relaxed);
        assert!(lobby.let_one_go(), "the first");
        assert!(connections.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert!(lobby.let_one_go(), "the last: the second has ended, the third has asked");
        assert!(connections.join_next().await.unwrap().unwrap_err().is_cancelled());
        assert!(!lobby.let_one_go());
        assert_eq!(connections.len(), 1);
    }
}
