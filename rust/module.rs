// SPDX-License-Identifier: GPL-2.0

//! References to the module itself.

use kernel::prelude::*;

use crate::bindings;

/// A reference to a module: it cannot be unloaded meanwhile.
pub struct ModuleRef(&'static ThisModule);

impl ModuleRef {
    /// Takes a reference; `None` while the module is being unloaded. Any context.
    pub fn get(module: &'static ThisModule) -> Option<Self> {
        // SAFETY: `module` is a loaded module or null, for which a kernel with modules built in answers true.
        unsafe { bindings::try_module_get(module.as_ptr()) }.then_some(Self(module))
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: `get` took the reference that is given back.
        unsafe { bindings::module_put(self.0.as_ptr()) }
    }
}
