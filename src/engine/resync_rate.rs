// SPDX-License-Identifier: GPL-2.0

//! How fast a resync goes (wire protocol, section 5.8; configuration, section 6.3).
//!
//! One setting is enough to understand it: a resync runs as fast as both nodes can, but no faster than `c-max-rate`, and gives way
//! to the application. In detail, ten times a second:
//!
//! - It begins at `resync-rate` and doubles as long as no more is under way than `c-fill-target` (if that is 0: than what comes in
//!   `c-delay-target`).
//! - From then on it follows the pace of the slower side: what came in the last step, less what makes the surplus go within
//!   `c-plan-ahead`; without a surplus an eighth more, to see whether the slower side got faster.
//! - While the application uses the disk, it halves its pace until it is at `c-min-rate` (0: it does not care).
//! - `c-plan-ahead 0` switches all of this off but the last point: the pace is `resync-rate`.
//!
//! Pure arithmetic. The target of the resync decides, the source obeys.

use crate::effects::Millis;

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOptions {
    /// KiB/s: pace at the start, or always if `plan_ahead` is 0.
    pub resync_rate: u32,
    /// Tenths of a second in which a deviation is corrected; 0 = fixed pace.
    pub plan_ahead: u32,
    /// Sectors that may be under way; 0 = use `delay_target`.
    pub fill_target: u32,
    /// Tenths of a second that an answer may take.
    pub delay_target: u32,
    /// Upper bound, KiB/s.
    pub max_rate: u32,
    /// KiB/s while the application uses the disk; 0 = do not give way.
    pub min_rate: u32,
}

impl Default for RateOptions {
    fn default() -> Self {
        Self {
            resync_rate: 250,
            plan_ahead: 20,
            fill_target: 100,
            delay_target: 10,
            max_rate: 102_400,
            min_rate: 250,
        }
    }
}

/// What a resync is limited by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// Nothing yet: it is speeding up.
    #[default]
    Starting,
    /// `c-max-rate`.
    MaxRate,
    /// `resync-rate`, with the controller off.
    ResyncRate,
    /// It gives way to the application.
    Application,
    /// The peer's disk, or the network.
    Peer,
    /// The own disk.
    Disk,
    /// This node is the source: the target decides.
    Target,
    /// The administrator paused it here.
    PausedHere,
    /// It is paused on the peer.
    PausedByPeer,
    /// It waits for another resync (`resync-after`).
    PausedForOther,
}

/// What happened since the last step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// Length of the step in milliseconds, not 0.
    pub elapsed_ms: Millis,
    /// Bytes that came.
    pub arrived: u64,
    /// Bytes that were asked for and have not come.
    pub asked: u64,
    /// Bytes that have come and are not on the disk.
    pub writing: u64,
    /// Bytes that the application read and wrote on the disk.
    pub application: u64,
}

/// Bytes per second of the application from which on it counts as using the disk.
const APPLICATION_RATE: u64 = 320 << 10;

/// Slowest pace of the controller, in bytes per second: one block a step.
const SLOWEST: u64 = 40 << 10;

/// The pace of a resync.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// Bytes per second.
    rate: u64,
    limit: Limit,
    /// It was never as fast as one of the two sides.
    free: bool,
}

impl Pace {
    /// The pace of a resync that begins.
    pub fn new(options: &RateOptions) -> Self {
        let rate = kib(options.resync_rate);
        match options.plan_ahead {
            0 => Self {
                rate,
                limit: Limit::ResyncRate,
                free: false,
            },
            _ => Self {
                rate: rate.min(kib(options.max_rate)).max(SLOWEST),
                limit: Limit::Starting,
                free: true,
            },
        }
    }

    /// Adapts the pace to what was observed.
    pub fn step(&mut self, options: &RateOptions, seen: &Observed) {
        let (mut rate, mut limit) = match options.plan_ahead {
            0 => (kib(options.resync_rate), Limit::ResyncRate),
            _ => self.wish(options, seen),
        };
        let floor = kib(options.min_rate);
        if floor > 0 && per_second(seen.application, seen.elapsed_ms) >= APPLICATION_RATE {
            let held = (self.rate / 2).max(floor);
            if held < rate {
                (rate, limit) = (held, Limit::Application);
                // When the application is quiet again, the old pace comes back as fast as it came first.
                self.free = true;
            }
        }
        self.rate = rate.max(1);
        self.limit = limit;
    }

    fn wish(&mut self, options: &RateOptions, seen: &Observed) -> (u64, Limit) {
        let under_way = seen.asked.saturating_add(seen.writing);
        let arrival = per_second(seen.arrived, seen.elapsed_ms);
        let target = match options.fill_target {
            0 => arrival.saturating_mul(u64::from(options.delay_target)) / 10,
            sectors => u64::from(sectors).saturating_mul(512),
        };
        let (wish, limit) = if under_way <= target {
            let more = if self.free { self.rate } else { self.rate / 8 };
            let wish = self.rate.saturating_add(more.max(SLOWEST));
            // The side that was too slow a moment ago is what it still goes by.
            let limit = match self.limit {
                Limit::Peer | Limit::Disk if !self.free => self.limit,
                _ => Limit::Starting,
            };
            (wish, limit)
        } else {
            self.free = false;
            let horizon = u64::from(options.plan_ahead.max(1)).saturating_mul(100);
            let surplus = per_second(under_way - target, horizon);
            let limit = if seen.asked >= seen.writing {
                Limit::Peer
            } else {
                Limit::Disk
            };
            (arrival.saturating_sub(surplus), limit)
        };
        let cap = kib(options.max_rate).max(SLOWEST);
        // A pace that only jitters below the bound is still given by it.
        let limit = if wish >= cap - cap / 16 {
            Limit::MaxRate
        } else {
            limit
        };
        (wish.clamp(SLOWEST, cap), limit)
    }

    /// Bytes that may be asked for in so many milliseconds.
    pub fn allowance(&self, ms: Millis) -> u64 {
        self.rate.saturating_mul(ms) / 1000
    }

    /// Pace in KiB/s.
    pub fn kib_per_second(&self) -> u64 {
        self.rate / 1024
    }

    /// What it is limited by.
    pub fn limit(&self) -> Limit {
        self.limit
    }
}

fn kib(number: u32) -> u64 {
    u64::from(number).saturating_mul(1024)
}

fn per_second(bytes: u64, ms: Millis) -> u64 {
    bytes.saturating_mul(1000).checked_div(ms).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Millis = 100;

    /// A target whose peer and disk manage so many bytes a second: what is under way piles up and drains.
    #[derive(Debug)]
    struct Site {
        peer: u64,
        disk: u64,
        asked: u64,
        writing: u64,
        application: u64,
    }

    impl Site {
        fn run(&mut self, pace: &mut Pace, options: &RateOptions, steps: u32) -> u64 {
            let mut written = 0;
            for _ in 0..steps {
                // At most 4 MiB are under way, so that what the controller allows is not all asked for.
                let room = (4 << 20) - (self.asked + self.writing).min(4 << 20);
                self.asked += pace
                    .allowance(STEP)
                    .min(room + self.disk.min(self.peer) / 10);
                let arrived = self.asked.min(self.peer / 10);
                self.asked -= arrived;
                self.writing += arrived;
                let done = self.writing.min(self.disk / 10);
                self.writing -= done;
                written += done;
                pace.step(
                    options,
                    &Observed {
                        elapsed_ms: STEP,
                        arrived,
                        asked: self.asked,
                        writing: self.writing,
                        application: self.application,
                    },
                );
            }
            written
        }
    }

    const MIB: u64 = 1 << 20;

    fn fast() -> Site {
        Site {
            peer: 1000 * MIB,
            disk: 1000 * MIB,
            asked: 0,
            writing: 0,
            application: 0,
        }
    }

    #[test]
    fn the_bound_is_reached_in_seconds_and_kept() {
        let options = RateOptions::default();
        let mut pace = Pace::new(&options);
        assert_eq!(
            (pace.kib_per_second(), pace.limit()),
            (250, Limit::Starting)
        );
        fast().run(&mut pace, &options, 20);
        assert_eq!(
            (pace.kib_per_second(), pace.limit()),
            (102_400, Limit::MaxRate)
        );
        let tight = RateOptions {
            max_rate: 250,
            ..options
        };
        fast().run(&mut pace, &tight, 1);
        assert_eq!((pace.kib_per_second(), pace.limit()), (250, Limit::MaxRate));
    }

    #[test]
    fn the_slower_side_sets_the_pace_and_is_named() {
        for (peer, disk, limit) in [
            (30 * MIB, 1000 * MIB, Limit::Peer),
            (1000 * MIB, 30 * MIB, Limit::Disk),
        ] {
            let options = RateOptions::default();
            let mut pace = Pace::new(&options);
            let mut site = Site {
                peer,
                disk,
                ..fast()
            };
            site.run(&mut pace, &options, 100);
            let written = site.run(&mut pace, &options, 100);
            // Ten seconds: the slow side is never idle for long, and little piles up in front of it.
            assert!(written > 280 * MIB, "{written}");
            assert!(site.asked + site.writing < 2 * MIB, "{site:?}");
            let mut named = 0;
            for _ in 0..50 {
                site.run(&mut pace, &options, 1);
                named += u32::from(pace.limit() == limit);
            }
            assert!(named > 10, "{named} of 50");
        }
    }

    #[test]
    fn the_application_goes_first() {
        let options = RateOptions::default();
        let mut pace = Pace::new(&options);
        fast().run(&mut pace, &options, 20);
        let mut busy = Site {
            application: MIB,
            ..fast()
        };
        busy.run(&mut pace, &options, 1);
        assert_eq!(
            (pace.kib_per_second(), pace.limit()),
            (51_200, Limit::Application)
        );
        busy.run(&mut pace, &options, 10);
        assert_eq!(
            (pace.kib_per_second(), pace.limit()),
            (250, Limit::Application)
        );
        fast().run(&mut pace, &options, 15);
        assert_eq!(pace.limit(), Limit::MaxRate);
        let selfish = RateOptions {
            min_rate: 0,
            ..options
        };
        busy.run(&mut pace, &selfish, 10);
        assert_eq!(pace.limit(), Limit::MaxRate);
    }

    #[test]
    fn without_a_plan_the_pace_is_fixed() {
        let options = RateOptions {
            plan_ahead: 0,
            resync_rate: 5000,
            ..RateOptions::default()
        };
        let mut pace = Pace::new(&options);
        Site {
            peer: MIB,
            ..fast()
        }
        .run(&mut pace, &options, 30);
        assert_eq!(
            (pace.kib_per_second(), pace.limit()),
            (5000, Limit::ResyncRate)
        );
        Site {
            application: MIB,
            ..fast()
        }
        .run(&mut pace, &options, 30);
        assert_eq!(
            (pace.kib_per_second(), pace.limit()),
            (250, Limit::Application)
        );
    }

    /// With the delay as target, half a second of data may be under way before the pace goes down.
    #[test]
    fn the_delay_target_counts_when_there_is_no_fill_target() {
        let options = RateOptions {
            fill_target: 0,
            delay_target: 5,
            ..RateOptions::default()
        };
        let seen = |asked| Observed {
            elapsed_ms: STEP,
            arrived: MIB,
            asked,
            ..Observed::default()
        };
        let mut pace = Pace::new(&options);
        pace.step(&options, &seen(5 * MIB));
        assert_eq!(
            (pace.kib_per_second(), pace.limit()),
            (500, Limit::Starting)
        );
        pace.step(&options, &seen(7 * MIB));
        assert_eq!(pace.limit(), Limit::Peer);
        // Two MiB too much, to be gone in two seconds.
        assert_eq!(pace.kib_per_second(), 10_240 - 1024);
    }

    /// Whatever is observed and configured within its bounds, the pace is neither none nor above the bound.
    #[test]
    fn extremes() {
        let numbers = [0, 1, 511, 4096, u64::MAX / 2, u64::MAX];
        for max_rate in [250, 4_194_304] {
            for plan_ahead in [1, 300] {
                for fill_target in [0, 1_048_576] {
                    let options = RateOptions {
                        max_rate,
                        plan_ahead,
                        fill_target,
                        resync_rate: 4_194_304,
                        ..RateOptions::default()
                    };
                    let mut pace = Pace::new(&options);
                    for arrived in numbers {
                        for asked in numbers {
                            for application in numbers {
                                pace.step(
                                    &options,
                                    &Observed {
                                        elapsed_ms: STEP,
                                        arrived,
                                        asked,
                                        writing: asked,
                                        application,
                                    },
                                );
                                let rate = pace.kib_per_second();
                                assert!((40..=u64::from(max_rate)).contains(&rate), "{rate}");
                            }
                        }
                    }
                }
            }
        }
    }
}
