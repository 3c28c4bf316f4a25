//! The private network between two nodes.
//!
//! Each node's card is one end of a datagram socket pair, one Ethernet frame a datagram; two threads of the
//! test process carry frames between the other ends. So a cut needs no privileges, acts the same on every
//! ground, is invisible to the nodes' carrier detection (as a dead switch would be), and can be one-way.

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;

/// Longest frame carried, in bytes.
const FRAME_MAX: usize = 65_536;
/// How long a frame may wait for a card that takes nothing (a frozen machine) before it is lost.
const STUCK: Duration = Duration::from_millis(200);

/// Direction of travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the first node to the second.
    AToB,
    /// From the second node to the first.
    BToA,
}

#[derive(Default)]
struct Lane {
    cut: AtomicBool,
    frames: AtomicU64,
    dropped: AtomicU64,
}

/// A link between two cards.
pub struct Link {
    lanes: [Arc<Lane>; 2],
    /// The machines' ends. They stay open here, so that a machine may die and another take its place.
    ends: [UnixDatagram; 2],
}

impl Link {
    /// Makes the link and starts carrying.
    ///
    /// # Errors
    ///
    /// No more descriptors.
    pub fn new() -> Result<Self> {
        let (a, a_end) = UnixDatagram::pair()?;
        let (b, b_end) = UnixDatagram::pair()?;
        let link = Self {
            lanes: Default::default(),
            ends: [a_end, b_end],
        };
        for end in [&a, &b] {
            end.set_write_timeout(Some(STUCK))?;
        }
        let lanes = [(a.try_clone()?, b.try_clone()?), (b, a)];
        for ((from, to), lane) in lanes.into_iter().zip(&link.lanes) {
            let lane = Arc::clone(lane);
            thread::spawn(move || carry(&from, &to, &lane));
        }
        Ok(link)
    }

    /// The descriptor for node 0's or node 1's machine, free of frames meant for an earlier machine.
    pub(crate) fn end(&self, node: usize) -> Result<OwnedFd> {
        let end = &self.ends[node];
        end.set_nonblocking(true)?;
        let mut frame = [0; 2048];
        while end.recv(&mut frame).is_ok() {}
        // UML and QEMU set the mode that they need; the flag is shared by all copies of the descriptor.
        end.set_nonblocking(false)?;
        Ok(end.try_clone()?.into())
    }

    /// Cuts both directions: frames are lost from now on.
    pub fn cut(&self) {
        self.cut_way(Way::AToB);
        self.cut_way(Way::BToA);
    }

    /// Cuts one direction.
    pub fn cut_way(&self, way: Way) {
        self.lanes[way as usize].cut.store(true, Ordering::SeqCst);
    }

    /// Mends both directions.
    pub fn restore(&self) {
        for lane in &self.lanes {
            lane.cut.store(false, Ordering::SeqCst);
        }
    }

    /// Frames carried and lost so far in a direction.
    pub fn counts(&self, way: Way) -> (u64, u64) {
        let lane = &self.lanes[way as usize];
        (
            lane.frames.load(Ordering::Relaxed),
            lane.dropped.load(Ordering::Relaxed),
        )
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for end in &self.ends {
            // Wakes the carrying threads, which then end.
            let _ = end.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn carry(from: &UnixDatagram, to: &UnixDatagram, lane: &Lane) {
    let mut frame = vec![0; FRAME_MAX];
    loop {
        let length = match from.recv(&mut frame) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let sent = !lane.cut.load(Ordering::SeqCst) && to.send(&frame[..length]).is_ok();
        let counter = if sent { &lane.frames } else { &lane.dropped };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
