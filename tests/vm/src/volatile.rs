//! A disk with a write cache that loses its content when the power goes.
//!
//! QEMU speaks the NBD protocol to this server. Writes stay in memory until the guest flushes, or writes with FUA;
//! a power cut keeps a random part of the sectors that were not flushed, in any order, as a real disk may.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Write},
    os::unix::{
        fs::FileExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

const SECTOR: usize = 512;
/// Longest request taken, in bytes.
const REQUEST_MAX: usize = 32 << 20;

/// Flags of the export: flags present, flush, FUA.
const EXPORT_FLAGS: u16 = 1 | 4 | 8;
const OPTION_MAGIC: u64 = 0x4948_4156_454F_5054;
const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

struct Store {
    file: File,
    bytes: u64,
    /// Sectors written and not flushed.
    cache: HashMap<u64, [u8; SECTOR]>,
}

/// The cache and the disk behind it.
#[derive(Clone)]
pub(crate) struct Volatile(Arc<Mutex<Store>>);

impl Volatile {
    /// Serves the file on a socket until this program ends.
    pub(crate) fn serve(file: &Path, socket: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(file)?;
        let bytes = file.metadata()?.len();
        let disk = Self(Arc::new(Mutex::new(Store {
            file,
            bytes,
            cache: HashMap::new(),
        })));
        let listener = UnixListener::bind(socket)?;
        let served = disk.clone();
        thread::spawn(move || {
            for machine in listener.incoming().flatten() {
                // The end of a machine is the end of its connection, and nothing to report.
                let _ = served.attend(machine);
            }
        });
        Ok(disk)
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the cache to the disk, as an idle disk does by itself.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.store().flush()
    }

    /// The power goes: each sector of the cache survives with a chance of `percent`. Sectors kept and lost.
    pub(crate) fn lose_power(&self, percent: u32) -> io::Result<(usize, usize)> {
        let mut store = self.store();
        let before = store.cache.len();
        store
            .cache
            .retain(|_, _| rand::random_range(0..100) < percent);
        let kept = store.cache.len();
        store.flush()?;
        Ok((kept, before - kept))
    }

    fn attend(&self, mut machine: UnixStream) -> io::Result<()> {
        machine.write_all(b"NBDMAGIC")?;
        machine.write_all(&OPTION_MAGIC.to_be_bytes())?;
        machine.write_all(&3_u16.to_be_bytes())?;
        let _client_flags = word(&mut machine)?;
        self.negotiate(&mut machine)?;
        while self.one_request(&mut machine)? {}
        Ok(())
    }

    fn negotiate(&self, machine: &mut UnixStream) -> io::Result<()> {
        loop {
            let magic = long(machine)?;
            let (option, length) = (word(machine)?, word(machine)? as usize);
            if magic != OPTION_MAGIC || length > 4096 {
                return Err(io::Error::other("not an NBD option"));
            }
            let mut data = vec![0; length];
            machine.read_exact(&mut data)?;
            let bytes = self.store().bytes;
            let mut reply = |kind: u32, data: &[u8]| -> io::Result<()> {
                machine.write_all(&REPLY_MAGIC.to_be_bytes())?;
                machine.write_all(&option.to_be_bytes())?;
                machine.write_all(&kind.to_be_bytes())?;
                machine.write_all(&u32::try_from(data.len()).unwrap_or(0).to_be_bytes())?;
                machine.write_all(data)
            };
            match option {
                // GO and INFO: tell of the export, then acknowledge.
                6 | 7 => {
                    let info = [
                        &[0, 0][..],
                        &bytes.to_be_bytes(),
                        &EXPORT_FLAGS.to_be_bytes(),
                    ]
                    .concat();
                    reply(3, &info)?;
                    reply(1, &[])?;
                    if option == 7 {
                        return Ok(());
                    }
                }
                2 => return reply(1, &[]).and(Err(io::Error::other("given up"))),
                _ => reply(0x8000_0001, &[])?,
            }
        }
    }

    /// False at the end of the session.
    fn one_request(&self, machine: &mut UnixStream) -> io::Result<bool> {
        let magic = word(machine)?;
        let kind = word(machine)?;
        let (flags, kind) = (kind >> 16, kind & 0xffff);
        let handle = long(machine)?;
        let offset = long(machine)?;
        let length = word(machine)? as usize;
        if magic != 0x2560_9513 || length > REQUEST_MAX {
            return Err(io::Error::other("not an NBD request"));
        }
        let mut data = vec![0; if kind < 2 { length } else { 0 }];
        let result = match kind {
            0 => self.store().read(offset, &mut data),
            1 => {
                machine.read_exact(&mut data)?;
                self.store().write(offset, &data, flags & 1 != 0)
            }
            2 => return Ok(false),
            3 => self.store().flush(),
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        let error: u32 = if result.is_ok() { 0 } else { 22 };
        let mut reply = [
            &0x6744_6698_u32.to_be_bytes()[..],
            &error.to_be_bytes(),
            &handle.to_be_bytes(),
        ]
        .concat();
        if kind == 0 && error == 0 {
            reply.extend_from_slice(&data);
        }
        machine.write_all(&reply)?;
        Ok(true)
    }
}

impl Store {
    fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        whole_sectors(offset, data.len())?;
        self.file.read_exact_at(data, offset)?;
        for (piece, sector) in data.chunks_exact_mut(SECTOR).zip(offset / SECTOR as u64..) {
            if let Some(cached) = self.cache.get(&sector) {
                piece.copy_from_slice(cached);
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8], through: bool) -> io::Result<()> {
        whole_sectors(offset, data.len())?;
        if offset + data.len() as u64 > self.bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if through {
            self.file.write_all_at(data, offset)?;
        }
        for (piece, sector) in data.chunks_exact(SECTOR).zip(offset / SECTOR as u64..) {
            if through {
                self.cache.remove(&sector);
            } else {
                let mut cached = [0; SECTOR];
                cached.copy_from_slice(piece);
                self.cache.insert(sector, cached);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        for (sector, data) in self.cache.drain() {
            self.file.write_all_at(&data, sector * SECTOR as u64)?;
        }
        Ok(())
    }
}

fn whole_sectors(offset: u64, length: usize) -> io::Result<()> {
    if offset % SECTOR as u64 != 0 || length % SECTOR != 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(())
}

fn word(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn long(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}
