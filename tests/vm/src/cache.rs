//! Where the kernels, the guests' disk image and the products under test are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Top of the checkout, from where this crate was compiled.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .components()
        .collect()
}

/// `RDB_CACHE`, by default `rdb` in the user's cache folder.
pub fn cache() -> PathBuf {
    if let Some(path) = env::var_os("RDB_CACHE") {
        return path.into();
    }
    env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"))
        .join("rdb")
}

/// `RDB_BUILD`, by default `build` in the checkout: products of the module build.
pub fn build() -> PathBuf {
    env::var_os("RDB_BUILD").map_or_else(|| checkout().join("build"), PathBuf::from)
}

/// Folder of the programs under test: `RDB_TOOLS`, or where this program itself was built.
pub fn tools() -> Result<PathBuf> {
    if let Some(path) = env::var_os("RDB_TOOLS") {
        return Ok(path.into());
    }
    let me = env::current_exe()?;
    let mut folder = me.parent().context("own program has no folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().unwrap_or(folder);
    }
    Ok(folder.to_owned())
}

/// Release of the stock kernel that guests boot: `RDB_KERNEL`, or the one that was prepared last.
pub fn stock_release() -> Result<String> {
    if let Ok(release) = env::var("RDB_KERNEL") {
        return Ok(release);
    }
    let current = cache().join("kernel/trixie.current");
    let text = fs::read_to_string(&current).with_context(|| {
        format!(
            "{}: no stock kernel was prepared; run `make setup`",
            current.display()
        )
    })?;
    text.split_whitespace()
        .next()
        .map(str::to_owned)
        .with_context(|| format!("{}: empty", current.display()))
}

/// The path, if something is there; else an error that says what it is and how to get it.
pub fn existing(path: PathBuf, what: &str) -> Result<PathBuf> {
    if path.exists() {
        return Ok(path);
    }
    bail!(
        "{}: no {what} there; run `make setup` and `make` first",
        path.display()
    )
}

/// The disk image that guests boot from. UML uses the stock kernel's too: the userland is the same.
pub fn guest_image() -> Result<PathBuf> {
    let name = format!("{}.ext4", stock_release()?);
    existing(cache().join("guest").join(name), "guest disk image")
}
