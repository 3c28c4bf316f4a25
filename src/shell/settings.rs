// SPDX-License-Identifier: GPL-2.0

//! What the administrator asked for, as it was said.
//!
//! The engine is told only what it decides by. Programs that compare the running configuration with the file need every option
//! back, so all values stay here, beside the resource.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::lock::mutex::MutexBackend;
use kernel::sync::lock::Guard;
use kernel::sync::Mutex;
use rdb_engine::netlink::{attr, ErrorCode, Fencing, Protocol};
use rdb_engine::options::{by_attribute, default_number, Section, OPTIONS};
use rdb_engine::wire::{ConnState, Role};
use rdb_kapi::module::ModuleRef;
use rdb_kapi::net::SocketAddr;

use super::failure::Failure;

/// Values of the options of one section, those that were never set included.
pub(crate) struct OptionSet {
    section: Section,
    numbers: KVec<(u16, i64)>,
    texts: KVec<(u16, KVec<u8>)>,
}

impl OptionSet {
    /// All options of `section` at their defaults. May sleep.
    pub(crate) fn defaults(section: Section) -> Result<Self> {
        let mut set = Self {
            section,
            numbers: KVec::new(),
            texts: KVec::new(),
        };
        for option in OPTIONS
            .iter()
            .filter(|option| option.section == section && option.attr != 0)
        {
            if let Some(default) = default_number(option.attr) {
                set.numbers.push((option.attr, default), GFP_KERNEL)?;
            }
        }
        Ok(set)
    }

    /// A copy. May sleep.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let mut set = Self {
            section: self.section,
            numbers: KVec::new(),
            texts: KVec::new(),
        };
        set.numbers.extend_from_slice(&self.numbers, GFP_KERNEL)?;
        for (number, text) in &self.texts {
            set.set_text(*number, text)?;
        }
        Ok(set)
    }

    /// The section.
    pub(crate) fn section(&self) -> Section {
        self.section
    }

    /// Value of the option that attribute `number` carries, in the unit of the option table; 0 for attributes that are not
    /// numeric options of this section.
    pub(crate) fn number(&self, number: u16) -> i64 {
        self.numbers
            .iter()
            .find(|known| known.0 == number)
            .map_or(0, |known| known.1)
    }

    /// Like [`OptionSet::number`], for options which are never negative and fit.
    pub(crate) fn unsigned(&self, number: u16) -> u32 {
        u32::try_from(self.number(number)).unwrap_or(0)
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, number: u16) -> bool {
        self.number(number) != 0
    }

    /// Text of the option that attribute `number` carries, empty if it was never set.
    pub(crate) fn text(&self, number: u16) -> &[u8] {
        self.texts
            .iter()
            .find(|known| known.0 == number)
            .map_or(&[], |known| &known.1)
    }

    /// Sets a numeric option of this section; what is no such option is ignored. The caller checked the range.
    pub(crate) fn set_number(&mut self, number: u16, value: i64) {
        if let Some(known) = self.numbers.iter_mut().find(|known| known.0 == number) {
            known.1 = value;
        }
    }

    /// Sets a text option; empty unsets it. May sleep. The caller checked the length.
    pub(crate) fn set_text(&mut self, number: u16, value: &[u8]) -> Result {
        self.texts.retain(|known| known.0 != number);
        if value.is_empty() || by_attribute(number).is_none() {
            return Ok(());
        }
        let mut text = KVec::new();
        text.extend_from_slice(value, GFP_KERNEL)?;
        self.texts.push((number, text), GFP_KERNEL)?;
        Ok(())
    }

    /// All numeric options with their values, in the order of the option table.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = (u16, i64)> + '_ {
        self.numbers.iter().copied()
    }

    /// All text options that are set.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (u16, &[u8])> + '_ {
        self.texts
            .iter()
            .map(|(number, text)| (*number, text.as_slice()))
    }

    /// Whether I/O is to wait until a lost peer is fenced.
    pub(crate) fn freezes(&self) -> bool {
        self.unsigned(attr::FENCING) == Fencing::ResourceAndStonith as u32
    }

    /// Letter of the replication protocol.
    pub(crate) fn protocol_letter(&self) -> char {
        match Protocol::try_from(self.unsigned(attr::PROTOCOL)) {
            Ok(Protocol::A) => 'A',
            Ok(Protocol::B) => 'B',
            _ => 'C',
        }
    }
}

/// A configured connection.
pub(crate) struct Connection {
    /// The own end.
    pub(crate) local: SocketAddr,
    /// The peer's end.
    pub(crate) peer: SocketAddr,
    /// Net options.
    pub(crate) options: OptionSet,
}

/// An attached disk.
pub(crate) struct Disk {
    /// Volume number.
    pub(crate) volume: u16,
    /// Path of the lower device, as it was given.
    pub(crate) lower: KVec<u8>,
    /// Path of the metadata device, as it was given.
    pub(crate) meta: KVec<u8>,
    /// Kind and place of the metadata, as in [`attr::META_INDEX`].
    pub(crate) index: i32,
    /// Disk options.
    pub(crate) options: OptionSet,
}

/// What the last events said of the resource as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Own role.
    pub(crate) role: Role,
    /// The peer's role.
    pub(crate) peer: Role,
    /// State of the connection.
    pub(crate) connection: ConnState,
    /// Why I/O is frozen.
    pub(crate) suspended: u32,
}

/// All of it, for one resource.
pub(crate) struct Values {
    /// Resource options.
    pub(crate) options: OptionSet,
    /// The connection, while one is configured.
    pub(crate) connection: Option<Connection>,
    /// The disks.
    pub(crate) disks: KVec<Disk>,
    /// See [`Announced`].
    pub(crate) announced: Announced,
    /// A module with resources cannot be unloaded.
    module: Option<ModuleRef>,
}

impl Values {
    /// The attached disk of a volume.
    pub(crate) fn disk(&self, volume: u16) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.volume == volume)
    }

    /// Remembers a disk in place of what was known of its volume. May sleep.
    pub(crate) fn set_disk(&mut self, disk: Disk) -> Result {
        self.forget_disk(disk.volume);
        self.disks.push(disk, GFP_KERNEL)?;
        Ok(())
    }

    /// Makes room for one more disk, so that [`Values::set_disk`] cannot fail. May sleep.
    pub(crate) fn reserve_disk(&mut self) -> Result {
        Ok(self.disks.reserve(1, GFP_KERNEL)?)
    }

    /// Forgets the disk of a volume.
    pub(crate) fn forget_disk(&mut self, volume: u16) {
        self.disks.retain(|known| known.volume != volume);
    }
}

/// Whether the resource was removed: nothing may be added to it any more.
pub(crate) struct Shape {
    gone: bool,
}

impl Shape {
    /// The resource was removed from the registry.
    pub(crate) fn end(&mut self) {
        self.gone = true;
    }
}

/// The settings of a resource.
#[pin_data]
pub(crate) struct Settings {
    /// The innermost lock of all: nothing else is locked while it is held.
    #[pin]
    values: Mutex<Values>,
    /// The outermost: who adds or removes volumes or a connection holds it, so that nothing comes to a resource that goes, and the
    /// index of a volume stays its own.
    #[pin]
    shape: Mutex<Shape>,
}

impl Settings {
    /// Settings of a new resource. May sleep.
    ///
    /// # Errors
    ///
    /// No memory, or `ENODEV` while the module is being unloaded.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            values <- new_mutex!(
                Values {
                    options: OptionSet::defaults(Section::Options)?,
                    connection: None,
                    disks: KVec::new(),
                    announced: Announced {
                        role: Role::Secondary,
                        peer: Role::Unknown,
                        connection: ConnState::StandAlone,
                        suspended: 0,
                    },
                    module: Some(ModuleRef::get(crate::module()).ok_or(ENODEV)?),
                },
                "rdb::values"
            ),
            shape <- new_mutex!(Shape { gone: false }, "rdb::shape"),
        }? Error)
    }

    /// Holds off all others who add or remove volumes or the connection. May sleep; to be taken before any other lock.
    ///
    /// # Errors
    ///
    /// The resource was removed meanwhile (158).
    pub(crate) fn shape(&self) -> Result<Guard<'_, Shape, MutexBackend>, Failure> {
        let shape = self.shape.lock();
        if shape.gone {
            let code = ErrorCode::ResourceNotKnown as i32;
            return Err(Failure::new(
                code,
                format_args!("the resource was taken down"),
            ));
        }
        Ok(shape)
    }

    /// Gives the reference to the module back: the resource was removed, and whoever still looks at it is a reader that the end of
    /// the module waits for.
    pub(crate) fn release_module(&self) {
        drop(self.with(|values| values.module.take()));
    }

    /// Runs `f` with the values. May sleep; `f` must not call into the resource.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Values) -> R) -> R {
        f(&mut self.values.lock())
    }
}
