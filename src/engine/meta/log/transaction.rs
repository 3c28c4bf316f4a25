// SPDX-License-Identifier: GPL-2.0

//! A block of the activity log's ring (section 3.2).

use zerocopy::byteorder::{BigEndian, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::super::{crc32c, MetaError, BLOCK_LEN};
use super::{CONTEXT_LEN, FREE_EXTENT, MAX_SLOTS, MAX_UPDATES};

const MAGIC: u32 = 0x69CB_65A2;
const TYPE_UPDATE: u16 = 0;
const TYPE_INITIALISED: u16 = 0xFFFF;
const FREE_SLOT: u16 = 0xFFFF;

/// One change of the slot table: `slot` gets `extent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The slot, below [`MAX_SLOTS`].
    pub slot: u16,
    /// The extent, or [`FREE_EXTENT`].
    pub extent: u32,
}

/// A valid block of the ring.
#[derive(Clone, Copy, Debug)]
pub enum LogBlock<'a> {
    /// No transaction has been written here since the ring was initialised.
    Initialised,
    /// A transaction.
    Update(Transaction<'a>),
}

impl<'a> LogBlock<'a> {
    /// Decodes a block; `None` if it is not valid: torn, damaged, or never written. A block of an
    /// unknown type with right magic and checksum counts as a transaction, as it does for the
    /// reference's tool.
    pub fn decode(block: &'a [u8]) -> Option<Self> {
        let block = block.get(..BLOCK_LEN)?;
        let raw = Raw::ref_from_bytes(block).ok()?;
        if raw.magic.get() != MAGIC || raw.crc32c.get() != checksum(block) {
            return None;
        }
        Some(match raw.transaction_type.get() {
            TYPE_INITIALISED => Self::Initialised,
            _ => Self::Update(Transaction { raw }),
        })
    }
}

/// A transaction: changes of the slot table, and a window of the table as it was before.
#[derive(Clone, Copy)]
pub struct Transaction<'a> {
    raw: &'a Raw,
}

impl core::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Transaction")
            .field("number", &self.number())
            .field("slots", &self.slots())
            .field("context_start", &self.context_start())
            .finish_non_exhaustive()
    }
}

impl<'a> Transaction<'a> {
    /// Writes a transaction into `block`, all 4096 bytes of it.
    ///
    /// `slots` is the number of slots of the table, `context_start` the first slot of the window:
    /// it moves on by [`CONTEXT_LEN`] with each transaction, and back to 0 when it reaches
    /// `slots`. `extent_before(slot)` is the extent in a slot *before* this transaction,
    /// [`FREE_EXTENT`] for none.
    ///
    /// # Errors
    ///
    /// [`MetaError::ShortBlock`], or [`MetaError::Transaction`] for more than [`MAX_UPDATES`]
    /// updates or an update of a slot that the table does not have. The block's content is
    /// undefined then and must not be written.
    pub fn encode(
        block: &mut [u8],
        number: u32,
        slots: u16,
        context_start: u16,
        updates: &[Update],
        extent_before: impl Fn(u16) -> u32,
    ) -> Result<(), MetaError> {
        let len = block.len();
        let block = block
            .get_mut(..BLOCK_LEN)
            .ok_or(MetaError::ShortBlock { len })?;
        let raw = Raw::mut_from_bytes(block).map_err(|_| MetaError::ShortBlock { len })?;
        if updates.len() > MAX_UPDATES {
            return Err(MetaError::Transaction {
                what: "more than 64 updates in a transaction",
            });
        }
        if updates.iter().any(|update| update.slot >= slots) {
            return Err(MetaError::Transaction {
                what: "update of a slot that does not exist",
            });
        }
        raw.magic.set(MAGIC);
        raw.tr_number.set(number);
        raw.crc32c.set(0);
        raw.transaction_type.set(TYPE_UPDATE);
        raw.n_updates.set(updates.len() as u16);
        raw.context_size.set(slots);
        raw.context_start_slot_nr.set(context_start);
        raw.reserved = [0; 16];
        let mut updates = updates.iter();
        for (slot, extent) in raw.update_slot_nr.iter_mut().zip(&mut raw.update_extent_nr) {
            let update = updates.next();
            slot.set(update.map_or(FREE_SLOT, |update| update.slot));
            extent.set(update.map_or(FREE_EXTENT, |update| update.extent));
        }
        for (index, extent) in (0u16..).zip(&mut raw.context) {
            extent.set(match context_start.checked_add(index) {
                Some(slot) if slot < slots => extent_before(slot),
                _ => FREE_EXTENT,
            });
        }
        seal(block);
        Ok(())
    }

    /// The number of the transaction; the next one has the next number, modulo 2^32.
    pub fn number(&self) -> u32 {
        self.raw.tr_number.get()
    }

    /// Slots that the table had.
    pub fn slots(&self) -> u16 {
        self.raw.context_size.get()
    }

    /// First slot of the window.
    pub fn context_start(&self) -> u16 {
        self.raw.context_start_slot_nr.get()
    }

    /// The changes. Slots are the block's word only and may be too large.
    pub fn updates(&self) -> impl Iterator<Item = Update> + 'a {
        let used = usize::from(self.raw.n_updates.get());
        let pairs = self
            .raw
            .update_slot_nr
            .iter()
            .zip(&self.raw.update_extent_nr);
        pairs
            .enumerate()
            .filter(move |(index, (slot, _))| *index < used || slot.get() != FREE_SLOT)
            .map(|(_, (slot, extent))| Update {
                slot: slot.get(),
                extent: extent.get(),
            })
    }

    /// The window of the table before the transaction: what each slot held. Slots are the block's
    /// word only and may be too large.
    pub fn context(&self) -> impl Iterator<Item = (u32, u32)> + 'a {
        let slots = u32::from(self.slots());
        (u32::from(self.context_start())..)
            .zip(&self.raw.context)
            .map(|(slot, extent)| (slot, extent.get()))
            .filter(move |&(slot, extent)| extent != FREE_EXTENT || slot < slots)
    }
}

/// Writes the block that says "no transaction here yet" into `block`, all 4096 bytes of it.
///
/// # Errors
///
/// [`MetaError::ShortBlock`].
pub fn encode_initialised(block: &mut [u8]) -> Result<(), MetaError> {
    let len = block.len();
    let block = block
        .get_mut(..BLOCK_LEN)
        .ok_or(MetaError::ShortBlock { len })?;
    block.fill(0);
    let raw = Raw::mut_from_bytes(block).map_err(|_| MetaError::ShortBlock { len })?;
    raw.magic.set(MAGIC);
    raw.transaction_type.set(TYPE_INITIALISED);
    seal(block);
    Ok(())
}

/// Puts the checksum into a block whose checksum field is zero.
fn seal(block: &mut [u8]) {
    let sum = crc32c(0, block);
    if let Ok(raw) = Raw::mut_from_bytes(block) {
        raw.crc32c.set(sum);
    }
}

/// The checksum of a block: over all of it, with the field of the checksum taken as zero.
fn checksum(block: &[u8]) -> u32 {
    const FIELD: usize = 8;
    let before = block.get(..FIELD).unwrap_or_default();
    let behind = block.get(FIELD + 4..).unwrap_or_default();
    crc32c(crc32c(crc32c(0, before), &[0; 4]), behind)
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Raw {
    magic: U32<BigEndian>,
    tr_number: U32<BigEndian>,
    crc32c: U32<BigEndian>,
    transaction_type: U16<BigEndian>,
    n_updates: U16<BigEndian>,
    context_size: U16<BigEndian>,
    context_start_slot_nr: U16<BigEndian>,
    reserved: [u8; 16],
    update_slot_nr: [U16<BigEndian>; MAX_UPDATES],
    update_extent_nr: [U32<BigEndian>; MAX_UPDATES],
    context: [U32<BigEndian>; CONTEXT_LEN],
}

const _: () = assert!(size_of::<Raw>() == BLOCK_LEN);
const _: () = assert!(MAX_SLOTS < FREE_SLOT as usize);
