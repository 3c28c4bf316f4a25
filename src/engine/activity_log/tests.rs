// SPDX-License-Identifier: GPL-2.0

use std::vec;
use std::vec::Vec;

use super::*;
use crate::bitmap::{pages_for, Bitmap, PageNote};
use crate::meta::log::LogBlock;

struct Host;

impl Memory for Host {
    type Words = Vec<u64>;
    type Table<T> = Vec<T>;
}

fn log(slots: usize) -> ActivityLog<Host> {
    ActivityLog::new(vec![LogSlot::default(); slots], 1)
}

/// A range inside of one extent, or from its start over several.
fn extents(first: u32, count: u32) -> Range {
    Range {
        sector: u64::from(first) * EXTENT_SECTORS,
        bytes: (count - 1) * 4096 * 1024 + 4096,
    }
}

/// Writes a transaction; returns its number, its updates and the evicted pages.
fn write(log: &mut ActivityLog<Host>) -> (u32, Vec<(u16, u32)>, Vec<u32>) {
    assert!(log.start_writing(), "there is something to write");
    let (mut block, mut pages) = (vec![0; 4096], Vec::new());
    let mut asked = Vec::new();
    loop {
        let take = |extent| {
            let page = extent / 32;
            let fresh = !asked.contains(&page);
            asked.push(page);
            fresh.then_some(BitmapPages {
                first: page,
                count: 1,
                flush_data: false,
            })
        };
        match log.step(take, &mut block).expect("it fits") {
            LogStep::Pages(found) => pages.push(found.first),
            LogStep::Block { number } => {
                let Some(LogBlock::Update(transaction)) = LogBlock::decode(&block) else {
                    panic!("a valid transaction");
                };
                assert_eq!(transaction.number(), number);
                let updates = transaction.updates().map(|u| (u.slot, u.extent)).collect();
                log.commit();
                return (number, updates, pages);
            }
            LogStep::Nothing => panic!("a block"),
        }
    }
}

#[test]
fn a_cold_extent_waits_and_a_hot_one_does_not() {
    let mut log = log(4);
    let mut hold = Hold::default();
    assert_eq!(log.acquire(&mut hold, &extents(7, 1)), Access::Waits);
    assert_eq!(write(&mut log), (0, vec![(0, 7)], vec![]));
    assert_eq!(log.acquire(&mut hold, &extents(7, 1)), Access::Granted);
    log.give_back(&mut hold, &extents(7, 1));
    assert_eq!(log.acquire(&mut hold, &extents(7, 1)), Access::Granted);
    assert!(!log.start_writing());
}

#[test]
fn many_extents_go_into_one_transaction() {
    let mut log = log(128);
    let mut holds = [Hold::default(); 100];
    for (extent, hold) in (0..).zip(&mut holds) {
        assert_eq!(log.acquire(hold, &extents(extent, 1)), Access::Waits);
    }
    assert_eq!(write(&mut log).1.len(), MAX_UPDATES);
    log.begin_line();
    let granted = (0..).zip(holds).filter(|&(extent, mut hold)| {
        log.acquire(&mut hold, &extents(extent, 1)) == Access::Granted
    });
    assert_eq!(granted.count(), MAX_UPDATES);
    assert_eq!(write(&mut log).1.len(), 100 - MAX_UPDATES);
}

#[test]
fn the_least_recently_used_extent_is_evicted_after_its_page() {
    let mut log = log(2);
    for extent in [40, 50] {
        let mut hold = Hold::default();
        log.acquire(&mut hold, &extents(extent, 1));
        write(&mut log);
        log.give_back(&mut hold, &extents(extent, 1));
    }
    // 40 is used again, so 50 is the older one.
    let mut hold = Hold::default();
    assert_eq!(log.acquire(&mut hold, &extents(40, 1)), Access::Granted);
    log.give_back(&mut hold, &extents(40, 1));
    log.acquire(&mut hold, &extents(100, 1));
    assert_eq!(write(&mut log), (2, vec![(1, 100)], vec![50 / 32]));
}

#[test]
fn an_extent_in_use_is_not_evicted_and_nobody_passes_who_waits() {
    let mut log = log(2);
    let (mut one, mut two, mut late) = (Hold::default(), Hold::default(), Hold::default());
    log.acquire(&mut one, &extents(1, 1));
    log.acquire(&mut two, &extents(2, 1));
    write(&mut log);
    assert_eq!(log.acquire(&mut one, &extents(1, 1)), Access::Granted);
    let mut waiting = Hold::default();
    assert_eq!(log.acquire(&mut waiting, &extents(3, 1)), Access::Waits);
    assert!(log.has_refused() && !log.start_writing());
    assert_eq!(
        log.acquire(&mut late, &extents(2, 1)),
        Access::Waits,
        "even where it is hot"
    );
    log.give_back(&mut two, &extents(2, 1));
    log.begin_line();
    assert_eq!(log.acquire(&mut waiting, &extents(3, 1)), Access::Waits);
    assert_eq!(write(&mut log).1, vec![(1, 3)]);
    assert_eq!(log.acquire(&mut waiting, &extents(3, 1)), Access::Granted);
}

#[test]
fn a_request_over_several_extents_collects_them() {
    let mut log = log(3);
    let (mut wide, mut hold) = (Hold::default(), Hold::default());
    log.acquire(&mut hold, &extents(9, 1));
    write(&mut log);
    assert_eq!(log.acquire(&mut wide, &extents(20, 3)), Access::Waits);
    write(&mut log);
    log.give_back(&mut hold, &extents(9, 1));
    log.begin_line();
    assert_eq!(log.acquire(&mut wide, &extents(20, 3)), Access::Waits);
    write(&mut log);
    assert_eq!(log.acquire(&mut wide, &extents(20, 3)), Access::Granted);
    log.give_back(&mut wide, &extents(20, 3));
    assert_eq!(wide, Hold::default());
}

#[test]
fn references_to_the_log_of_another_disk_mean_nothing() {
    let (mut old, mut new) = (
        log(2),
        ActivityLog::<Host>::new(vec![LogSlot::default(); 2], 2),
    );
    let mut hold = Hold::default();
    old.acquire(&mut hold, &extents(1, 1));
    let mut other = Hold::default();
    new.acquire(&mut other, &extents(1, 1));
    write(&mut new);
    new.give_back(&mut hold, &extents(1, 1));
    let mut victim = Hold::default();
    new.acquire(&mut victim, &extents(2, 2));
    assert!(new.has_refused(), "extent 1 is still referenced");
}

/// Random requests against a plain model; every state of the ring names the extents in use.
#[test]
fn whatever_is_referenced_can_be_replayed() {
    use crate::meta::log::Replay;
    let mut seed = 1u64;
    let mut random = |below: u32| {
        seed = seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((seed >> 33) as u32) % below
    };
    let blocks = 8;
    let mut log = log(67);
    let mut ring = vec![vec![0; 4096]; blocks];
    let mut order: Vec<u32> = Vec::new();
    let mut waiting: Vec<(Hold, Range)> = Vec::new();
    let mut running: Vec<(Hold, Range)> = Vec::new();
    for _ in 0..4000 {
        if random(2) == 0 && running.len() < 20 {
            waiting.push((Hold::default(), extents(random(500), 1 + random(2))));
        } else if !running.is_empty() {
            let (mut hold, range) = running.swap_remove(random(running.len() as u32) as usize);
            log.give_back(&mut hold, &range);
        }
        log.begin_line();
        let mut still = Vec::new();
        for (mut hold, range) in waiting {
            match log.acquire(&mut hold, &range) {
                Access::Granted => running.push((hold, range)),
                Access::Waits => still.push((hold, range)),
            }
        }
        waiting = still;
        if log.start_writing() {
            let mut block = vec![0; 4096];
            let step = log.step(|_| None, &mut block).expect("it fits");
            let LogStep::Block { number } = step else {
                panic!("{step:?}")
            };
            ring[number as usize % blocks] = block;
            order.push(number);
            log.commit();
        }
        let mut slots = vec![0; MAX_SLOTS];
        let mut replay = Replay::new(&mut slots).expect("room");
        for number in order.iter().rev().take(blocks).rev() {
            replay.add(&ring[*number as usize % blocks]);
        }
        let active: Vec<u32> = replay.extents().collect();
        for (_, range) in &running {
            assert!(extents_of(range).all(|extent| active.contains(&extent)));
        }
    }
    assert!(order.len() > 500, "{} transactions", order.len());
}

/// 64 writes of 4 KiB at a time at random places of 16 GiB, each marked when it is done: what the metadata cost.
#[test]
fn a_cold_area_costs_one_metadata_write_for_many_of_data() {
    const AREA: u32 = 4096;
    let words = AREA as usize * 16;
    let notes = vec![PageNote::default(); pages_for(words)];
    let capacity = u64::from(AREA) * EXTENT_SECTORS;
    let mut bitmap = Bitmap::<Host>::new(vec![0; words], notes, capacity);
    let mut log = log(1237);
    let mut seed = 1_u64;
    let mut place = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Range {
            sector: (seed >> 33) % (capacity / 8) * 8,
            bytes: 4096,
        }
    };
    let mut waiting: Vec<_> = (0..64).map(|_| (Hold::default(), place())).collect();
    let (mut data, mut metadata) = (0, 0);
    while data < 50_000 {
        log.begin_line();
        for (hold, range) in &mut waiting {
            while log.acquire(hold, range) == Access::Granted {
                data += 1;
                bitmap.mark(range);
                log.give_back(hold, range);
                *range = place();
            }
        }
        log.start_writing();
        let mut block = vec![0; 4096];
        loop {
            metadata += 1;
            let step = log.step(|extent| bitmap.take_around(extent, 64), &mut block);
            match step.expect("it fits") {
                LogStep::Pages(pages) => assert!((1..=64).contains(&pages.count)),
                LogStep::Block { .. } => break,
                LogStep::Nothing => panic!("a block"),
            }
        }
        log.commit();
    }
    assert!(
        metadata * 16 < data,
        "{metadata} metadata writes, {data} of data"
    );
}

#[test]
fn an_evicted_page_takes_changed_neighbours_along_but_none_that_need_a_flush() {
    let bits = 32 * 1024;
    let page = |index: u64| Range {
        sector: index * bits * 8,
        bytes: 4096,
    };
    let mut bitmap =
        Bitmap::<Host>::new(vec![0; 8 * 512], vec![PageNote::default(); 8], 8 * bits * 8);
    let pages = |first, count, flush_data| {
        Some(BitmapPages {
            first,
            count,
            flush_data,
        })
    };
    for index in [0, 2, 5, 7] {
        bitmap.mark(&page(index));
    }
    assert_eq!(bitmap.take_around(65, 4), None, "another extent changed");
    assert_eq!(bitmap.take_around(32, 8), None, "it did not change");
    assert_eq!(bitmap.take_around(64, 4), pages(0, 3, false));
    assert_eq!(bitmap.take_around(64, 4), None, "written");
    bitmap.unmark(&page(5));
    assert_eq!(bitmap.take_around(7 * 32, 8), pages(7, 1, false));
    assert_eq!(bitmap.take_around(5 * 32, 8), pages(5, 1, true));
    assert!(!bitmap.is_changed());
}
