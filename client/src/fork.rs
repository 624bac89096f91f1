//! The one unsafe room: memory that the kernel wipes in a forked child.
//!
//! `MADV_WIPEONFORK` is the kernel's own word on a fork. It sees a raw `clone` that runs no handler, and a child that
//! has its parent's number in a new PID namespace. What the words in this memory mean is [`crate::process`]'s affair.
#![expect(unsafe_code, reason = "memory that is wiped on fork cannot be had without mmap and madvise")]

use std::{
    io,
    num::NonZeroUsize,
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
#[cfg(not(miri))]
use nix::sys::mman::{MmapAdvise, madvise};

/// The most handles that one process may hold open, times their audiences.
pub(crate) const CLAIMS: usize = 2047;

/// The wiped memory: zero in a new process and in a forked child. Atomics only, so that all of it may be shared, and
/// all-zero bytes are a value of it.
#[repr(C)]
pub(crate) struct Wiped {
    pub(crate) mark: AtomicU64,
    pub(crate) first_connect_ns: AtomicU64,
    pub(crate) lock: AtomicU64,
    pub(crate) claims: [Claim; CLAIMS],
}

/// A place that a handle beats for.
#[repr(C)]
pub(crate) struct Claim {
    pub(crate) mark: AtomicU64,
    pub(crate) live: AtomicU64,
    pub(crate) agent: AtomicU64,
    pub(crate) audience_and_unit: AtomicU64,
}

const LENGTH: NonZeroUsize = NonZeroUsize::new(size_of::<Wiped>()).expect("the memory has a size");

static WIPED: AtomicPtr<Wiped> = AtomicPtr::new(ptr::null_mut());

/// The process's wiped memory, mapped at the first call and never unmapped. Takes no lock, so a fork in the middle of
/// it leaves nothing behind that a child could wait for.
///
/// # Errors
/// The kernel has no memory, or no `MADV_WIPEONFORK` (Linux before 4.14).
pub(crate) fn wiped() -> io::Result<&'static Wiped> {
    let mapped = WIPED.load(Ordering::Acquire);
    // SAFETY: the pointer is null or was published below: mapped, aligned to a page, as long as a `Wiped`, never
    // unmapped. Only atomics lie in it, so sharing it is sound, and the kernel's zeroes are legal values of them.
    if let Some(wiped) = unsafe { mapped.as_ref() } {
        return Ok(wiped);
    }
    // SAFETY: a new private mapping at an address of the kernel's choice touches no memory that is in use.
    let fresh =
        unsafe { mmap_anonymous(None, LENGTH, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)? };
    if let Err(errno) = wipe_on_fork(fresh) {
        discard(fresh);
        return Err(errno.into());
    }
    match WIPED.compare_exchange(ptr::null_mut(), fresh.as_ptr().cast(), Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: as above; this is the mapping just made, now published for good.
        Ok(_) => Ok(unsafe { fresh.cast().as_ref() }),
        Err(other) => {
            discard(fresh);
            // SAFETY: as above; another thread published it, so it is not null.
            Ok(unsafe { &*other })
        }
    }
}

/// Has the kernel wipe the mapping in a child.
#[cfg(not(miri))]
fn wipe_on_fork(fresh: NonNull<std::ffi::c_void>) -> nix::Result<()> {
    // SAFETY: the range is the mapping that the caller just made; the advice changes what a child sees of it, nothing
    // here.
    unsafe { madvise(fresh, LENGTH.get(), MmapAdvise::MADV_WIPEONFORK) }
}

/// Miri has neither the advice nor a fork; all else in this file it can judge.
#[cfg(miri)]
const fn wipe_on_fork(_: NonNull<std::ffi::c_void>) -> nix::Result<()> {
    Ok(())
}

/// Unmaps what was never published.
fn discard(fresh: NonNull<std::ffi::c_void>) {
    // SAFETY: the mapping was made by the caller and never published; nothing refers to it. A failure leaves unused
    // memory mapped and harms nothing.
    let _ = unsafe { munmap(fresh, LENGTH.get()) };
}
