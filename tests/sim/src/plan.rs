// SPDX-License-Identifier: GPL-2.0

//! What a run is like: sizes, options, and how wild it is. Drawn from the seed, or set by a test.

use rdb_engine::link::NetOptions;
use rdb_engine::meta::{CreateOptions, EXTENT_SECTORS, Placement, create};
use rdb_engine::resync_rate::RateOptions;
use rdb_engine::volume::{DiskOptions, OnIoError};
use rdb_engine::wire::{AfterSplitBrain, ReplicationProtocol};

use crate::rng::Rng;

/// A resync that nothing holds back.
const FAST: RateOptions = RateOptions {
    resync_rate: 4_000_000,
    plan_ahead: 0,
    fill_target: 0,
    delay_target: 10,
    max_rate: 4_000_000,
    min_rate: 0,
};

/// What a run does, and how wild it is.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Options of the connection, as node A has them.
    pub net: NetOptions,
    /// Options of the lower disks.
    pub disk: DiskOptions,
    /// Sectors of a lower disk, metadata included.
    pub sectors: u64,
    /// Regions that the application uses.
    pub regions: u64,
    /// How many of them it uses most of the time.
    pub hot: usize,
    /// Metadata on a device of their own.
    pub external: bool,
    /// Slots of the activity log: few, so that extents are evicted; `None` = no log is kept.
    pub log_slots: Option<usize>,
    /// Requests that the application keeps in flight.
    pub depth: usize,
    /// One out of so many steps cuts the link or mends it; 0 = never.
    pub cut_one_in: u64,
    /// Steps with faults.
    pub steps: u64,
    /// One fault in so many steps; 0 = none.
    pub faults: u64,
    /// One write that fails on a lower disk in so many steps, beside the other faults; 0 = none.
    pub write_errors: u64,
    /// One command of an administrator in so many steps; 0 = none.
    pub commands: u64,
    /// One look of the operator, who mends things, in so many steps.
    pub repairs: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            net: quick_net(ReplicationProtocol::C),
            disk: DiskOptions {
                rate: FAST,
                ..DiskOptions::default()
            },
            sectors: with_metadata(3 * EXTENT_SECTORS),
            regions: 10,
            hot: 6,
            external: false,
            log_slots: Some(4),
            depth: 8,
            cut_one_in: 0,
            steps: 0,
            faults: 0,
            write_errors: 0,
            commands: 0,
            repairs: 0,
        }
    }
}

impl Plan {
    /// The default one with another replication protocol.
    pub fn of(protocol: ReplicationProtocol) -> Self {
        Self {
            net: quick_net(protocol),
            ..Self::default()
        }
    }

    /// The plan of a random run.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::fork(seed, 6);
        let extents = match rng.below(12) {
            0 => 33 + rng.below(100),
            _ => 3 + rng.below(10),
        };
        let odd = [0, 1, 7, 8, 4095][rng.below(5) as usize];
        let protocol = rng.pick(&[
            ReplicationProtocol::C,
            ReplicationProtocol::C,
            ReplicationProtocol::B,
            ReplicationProtocol::A,
        ]);
        let net = NetOptions {
            after_split_brain: policies(&mut rng),
            always_after_split_brain: rng.one_in(4),
            max_epoch_size: rng.pick(&[1, 3, 2048]),
            use_rle: !rng.one_in(4),
            ..quick_net(protocol)
        };
        let disk = DiskOptions {
            rate: rng.pick(&[FAST, FAST, FAST, RateOptions::default()]),
            on_io_error: rng.pick(&[OnIoError::Detach, OnIoError::Detach, OnIoError::PassOn]),
            ..DiskOptions::default()
        };
        let regions = 8 + rng.below(20);
        Self {
            net,
            disk,
            sectors: with_metadata(extents * EXTENT_SECTORS - odd),
            regions,
            hot: 1 + rng.below(regions) as usize,
            external: rng.one_in(3),
            log_slots: match rng.below(16) {
                0 => None,
                1 => Some(67),
                _ => Some(2 + rng.below(6) as usize),
            },
            depth: rng.pick(&[1, 4, 8, 16, 32]),
            cut_one_in: 0,
            steps: 8_000 + rng.below(16_000),
            faults: rng.pick(&[150, 400, 1000]),
            write_errors: 0,
            commands: rng.pick(&[200, 800, 0]),
            repairs: rng.pick(&[20, 60, 200]),
        }
        .with_sick_disks(seed % 8 == 7)
    }

    /// Disks that fail a write now and then and are kept, and a resync that goes on while they do.
    fn with_sick_disks(mut self, sick: bool) -> Self {
        if sick {
            self.write_errors = 300;
            self.disk.on_io_error = OnIoError::PassOn;
            self.disk.rate = RateOptions::default();
        }
        self
    }

    /// Sectors that data may use.
    pub fn usable(&self) -> u64 {
        created(self.sectors).layout.usable(0)
    }

    /// Options of the connection as node `n` has them: some policies name a side.
    pub fn net_of(&self, n: usize) -> NetOptions {
        let mut net = self.net;
        if n == 1 {
            net.after_split_brain = net.after_split_brain.map(AfterSplitBrain::mirrored);
        }
        net
    }
}

fn policies(rng: &mut Rng) -> [AfterSplitBrain; 3] {
    use AfterSplitBrain as P;
    [
        rng.pick(&[
            P::Disconnect,
            P::DiscardYoungerPrimary,
            P::DiscardOlderPrimary,
            P::DiscardZeroChanges,
            P::DiscardLeastChanges,
            P::DiscardLocal,
            P::DiscardRemote,
        ]),
        rng.pick(&[
            P::Disconnect,
            P::Consensus,
            P::ViolentlyAsZeroPrimaries,
            P::DiscardSecondary,
            P::CallPrimaryLost,
        ]),
        rng.pick(&[
            P::Disconnect,
            P::ViolentlyAsZeroPrimaries,
            P::CallPrimaryLost,
        ]),
    ]
}

/// Options of a connection with which timers run sooner than by default.
pub fn quick_net(protocol: ReplicationProtocol) -> NetOptions {
    NetOptions {
        protocol,
        ping_interval_ms: 2_000,
        ..NetOptions::default()
    }
}

/// New metadata for a disk of this size.
pub fn created(sectors: u64) -> rdb_engine::meta::Created {
    create(
        Placement::Internal,
        sectors,
        sectors,
        &CreateOptions::default(),
    )
    .expect("the sizes fit")
}

/// Size of a disk that has about this much room for data; not a multiple of a page.
fn with_metadata(usable: u64) -> u64 {
    let mut sectors = usable + 80;
    while created(sectors).layout.usable(0) < usable {
        sectors += 8;
    }
    sectors
}
