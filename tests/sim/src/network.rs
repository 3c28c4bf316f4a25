// SPDX-License-Identifier: GPL-2.0

//! The link: two streams each way. Bytes may come late, and after any packet nothing may come any more; never are they reordered within a
//! stream. The two streams race each other.

use rdb_engine::link::{LinkFailure, LinkTerms};
use rdb_engine::wire::{Agreed, ConnState, Features};

use crate::node::{Link, Message};
use crate::queues::Verdict;
use crate::rng::Rng;
use crate::trace::{say, violation};
use crate::world::{A, B, World};

/// What is between the nodes.
#[derive(Default)]
pub struct Network {
    /// It carries nothing, and connections break.
    pub cut: bool,
    /// Number of the last connection.
    connection: u64,
    /// How both nodes settled the handshakes of this connection, in order.
    verdicts: [Vec<Verdict>; 2],
}

impl World {
    /// Both ends of the same connection stand.
    pub fn link_is_intact(&self) -> bool {
        let [a, b] = &self.nodes;
        !self.net.cut
            && a.q.connection == b.q.connection
            && self.nodes.iter().all(|node| {
                node.alive && node.link == Link::Up && !node.q.closing && node.ended == [false; 2]
            })
    }

    /// Whether node `n` is, or will be, at the other end of this connection.
    fn is_there(&self, n: usize, connection: u64) -> bool {
        let node = &self.nodes[n];
        let up = node.link == Link::Up && node.q.connection == connection && !node.q.closing;
        node.alive && (up || node.offered == Some(connection))
    }

    pub(crate) fn deliver(&mut self, to: usize, stream: usize, message: Message) {
        let connection = self.nodes[1 - to].q.connection;
        if self.net.cut || !self.is_there(to, connection) {
            // Never in the middle: what follows is lost as well.
            self.nodes[to].ended[stream] |= self.is_there(to, connection);
            self.nodes[1 - to].deaf[stream] = true;
            return;
        }
        let node = &mut self.nodes[to];
        if !node.ended[stream] && !self.nodes[1 - to].deaf[stream] {
            self.nodes[to].inbox[stream].push_back(message);
        }
    }

    /// Connections come and go.
    pub(crate) fn network(&mut self) {
        for n in [A, B] {
            if self.nodes[n].q.closing && self.rng.one_in(4) {
                self.nodes[n].close_link(self.now);
                self.see_events(n);
            }
            self.notice_end(n);
            self.come_up(n);
        }
        self.meet();
    }

    fn notice_end(&mut self, n: usize) {
        let node = &self.nodes[n];
        if !node.alive || node.link != Link::Up || node.q.closing || self.now < node.frozen_until {
            return;
        }
        let connection = node.q.connection;
        let broken = self.net.cut || !self.is_there(1 - n, connection) || node.deaf != [false; 2];
        if broken && self.rng.one_in(8) {
            self.nodes[n].ended = [true; 2];
        }
        let node = &self.nodes[n];
        let over = (0..2).find(|&stream| node.ended[stream] && node.inbox[stream].is_empty());
        if let Some(stream) = over {
            if self.rng.one_in(4) {
                let failure = [LinkFailure::BrokenPipe, LinkFailure::NetworkFailure][stream];
                self.nodes[n].peer_gone(self.now, failure);
                self.see_events(n);
            }
        }
    }

    fn come_up(&mut self, n: usize) {
        let Some(connection) = self.nodes[n].offered else {
            return;
        };
        let node = &mut self.nodes[n];
        let wanted = node.alive
            && node.link == Link::Wanted
            && !node.q.closing
            && node.engine.connection() == ConnState::WFConnection;
        if !wanted {
            node.offered = None;
            node.inbox.iter_mut().for_each(|stream| stream.clear());
            return;
        }
        if self.now < node.frozen_until || !self.rng.one_in(3) {
            return;
        }
        node.offered = None;
        let agreed = Agreed {
            version: 101,
            features: Features::ALL,
            ..Agreed::NOTHING
        };
        let terms = LinkTerms {
            agreed,
            resolve: (connection & 1 == 0) == (n == A),
        };
        say!(self.trace, node.name, "connection {connection}");
        node.link_up(self.now, connection, terms);
        self.see_events(n);
    }

    fn meet(&mut self) {
        let now = self.now;
        let ready = self.nodes.iter().all(|node| {
            node.alive
                && node.link == Link::Wanted
                && !node.q.closing
                && now >= node.frozen_until
                && node.offered.is_none()
                && node.engine.connection() == ConnState::WFConnection
        });
        if !ready || self.net.cut {
            return;
        }
        // The lowest bit says who has the resolve flag.
        self.net.connection = (self.net.connection / 2 + 1) * 2 + self.rng.below(2);
        self.net.verdicts = Default::default();
        for node in &mut self.nodes {
            node.offered = Some(self.net.connection);
            node.ended = [false; 2];
            node.deaf = [false; 2];
            node.inbox.iter_mut().for_each(|stream| stream.clear());
        }
    }

    /// Breaks the connection now: of what is on its way, some more packets arrive, and then nothing. `streams`: which of them break
    /// first; the others follow when somebody notices.
    pub fn break_link(&mut self, streams: &[usize], rng: &mut Rng) {
        for node in &mut self.nodes {
            for &stream in streams {
                let kept = rng.below(node.inbox[stream].len() as u64 + 1) as usize;
                node.inbox[stream].truncate(kept);
                node.ended[stream] = node.link == Link::Up || node.offered.is_some();
            }
        }
    }

    /// Both sides of a handshake decide mirror-wise.
    pub(crate) fn compare_verdicts(&mut self, n: usize, verdict: Verdict) {
        if self.nodes[n].q.connection != self.net.connection {
            return;
        }
        self.net.verdicts[n].push(verdict);
        let other = self.net.verdicts[1 - n]
            .iter()
            .find(|other| belong_together(&verdict, other));
        let Some(other) = other else {
            return;
        };
        let (own, others) = (verdict.settled, other.settled);
        if others.verdict != own.verdict.mirrored() {
            violation!(
                "{} and its peer decide differently: {own:?} and {others:?}",
                self.nodes[n].name
            );
        }
    }
}

/// Whether two nodes decided on the same words of each other: each on the last ones that the other had told by then. A disk that is
/// attached is judged by the peer first, which tells its own side afterwards.
fn belong_together(a: &Verdict, b: &Verdict) -> bool {
    let answers = |attaching: &Verdict, peer: &Verdict| {
        attaching.negotiating && attaching.said == peer.heard && attaching.heard > peer.said
    };
    let crossing = a.said == b.heard && a.heard == b.said;
    crossing || answers(a, b) || answers(b, a)
}
