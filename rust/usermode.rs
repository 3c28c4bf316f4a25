// SPDX-License-Identifier: GPL-2.0

//! Running programs of the administrator.

use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

/// Most arguments, and most variables of the environment.
const MAX_WORDS: usize = 14;

/// How a program ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// With this exit code.
    Exited(u8),
    /// By this signal.
    Signal(u8),
    /// It could not be run.
    NotRun(Error),
}

/// A place where the program that the module parameter `usermode_helper` names runs, once at a time.
///
/// # Invariants
///
/// The pointer is what `program_alloc` gave, not freed yet.
pub struct Program(NonNull<bindings::rdb_helper_program>);

// SAFETY: It has a lock of its own; `run` needs it exclusively, see there.
unsafe impl Send for Program {}
// SAFETY: As above.
unsafe impl Sync for Program {}

/// The right to run programs, for one thread.
pub struct Runner(kernel::sync::Arc<Program>);

impl Program {
    /// A place, and the right to run programs there. Sleeps; `ENOMEM`.
    pub fn new() -> Result<(kernel::sync::Arc<Program>, Runner)> {
        // SAFETY: May be called wherever sleeping is allowed.
        let raw = unsafe { bindings::program_alloc() };
        let program = Program(NonNull::new(raw).ok_or(ENOMEM)?);
        let program = kernel::sync::Arc::new(program, GFP_KERNEL)?;
        Ok((program.clone(), Runner(program)))
    }

    /// Kills the program that runs, if one does, and lets none begin any more. Atomic; not from interrupts.
    pub fn kill(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::program_kill(self.0.as_ptr()) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; no runner is left that could be running one.
        unsafe { bindings::program_free(self.0.as_ptr()) }
    }
}

impl Runner {
    /// Runs the program with these arguments and this environment (`NAME=value`), and waits for its end. Sleeps until then, however
    /// long that takes; [`Program::kill`] ends it.
    pub fn run(&mut self, arguments: &[&CStr], environment: &[&CStr]) -> End {
        let mut argv = [core::ptr::null::<c_char>(); MAX_WORDS + 2];
        let mut envp = [core::ptr::null::<c_char>(); MAX_WORDS + 2];
        if arguments.len() > MAX_WORDS || environment.len() > MAX_WORDS {
            return End::NotRun(E2BIG);
        }
        // The first place is for the name of the program. One stays null, as the end.
        for (place, word) in argv.iter_mut().skip(1).zip(arguments) {
            *place = word.as_char_ptr();
        }
        for (place, word) in envp.iter_mut().zip(environment) {
            *place = word.as_char_ptr();
        }
        // SAFETY: By the type invariant of `Program`. Both lists end with a null pointer and have a free first place and valid C
        // strings, which live until the call returns: it returns when the program has ended. `&mut self` makes it the only one.
        let status = unsafe {
            bindings::program_run(self.0 .0.as_ptr(), argv.as_mut_ptr(), envp.as_mut_ptr())
        };
        if status < 0 {
            return End::NotRun(Error::from_errno(status));
        }
        // As `wait` reports it: the signal in the lowest 7 bits, the code in the byte above.
        match (status & 0x7f) as u8 {
            0 => End::Exited((status >> 8) as u8),
            signal => End::Signal(signal),
        }
    }
}
