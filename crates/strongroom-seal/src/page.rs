//! A secret that lives alone on a page of memory, which is kept out of swap where the system lets us.

use zeroize::Zeroize;

use crate::limits::PAGE_LEN;

/// `N` secret bytes at the start of a page of their own.
pub(crate) struct LockedPage<const N: usize> {
    /// Best effort: a process may lock only as much as its limits allow. Dropped after the wiping below and, by
    /// standing first, before the page is given back.
    lock: Option<region::LockGuard>,
    page: Box<Page<N>>,
}

/// The alignment rounds the size up to whole pages as well, so nothing else shares them.
#[repr(C, align(4096))]
struct Page<const N: usize> {
    bytes: [u8; N],
}

impl<const N: usize> LockedPage<N> {
    /// Locks the page first, then lets `fill` write the secret where it will live.
    pub(crate) fn try_build<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let page = Box::new(Page { bytes: [0; N] });
        let lock = region::lock(std::ptr::from_ref(&*page), PAGE_LEN).ok();
        let mut locked = Self { lock, page };
        fill(&mut locked.page.bytes)?;
        Ok(locked)
    }

    /// Shows the bytes to a primitive that needs them.
    pub(crate) fn expose_secret(&self) -> &[u8; N] {
        &self.page.bytes
    }

    pub(crate) const fn is_locked(&self) -> bool {
        self.lock.is_some()
    }
}

impl<const N: usize> Drop for LockedPage<N> {
    fn drop(&mut self) {
        self.page.bytes.zeroize();
    }
}
