//! Memory for a component that lives for one call: it is handed out and never taken back.
//!
//! Every call gets a fresh instance, so freeing buys nothing, and without it neither an allocator nor the code that
//! takes values apart has to be in the component: a third of its size, which is start-up time of every pod. The host's
//! memory cap is what ends a plugin that allocates without bound. A plugin that churns through much memory builds
//! without the feature `allocator` and gets the standard library's.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::{memory_grow, memory_size};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const PAGE: usize = 1 << 16;
/// Pages that are asked for at once: growing is a system call of the host's.
const STEP: usize = 4;

struct Bump {
    /// The first byte that is nobody's; 0 before the first allocation. Components have one thread.
    next: AtomicUsize,
}

#[global_allocator]
static BUMP: Bump = Bump { next: AtomicUsize::new(0) };

#[allow(unsafe_code, reason = "the linker defines it")]
unsafe extern "C" {
    /// Its address is where the memory that nothing else uses begins.
    static __heap_base: u8;
}

impl Bump {
    /// Whether memory up to `end` is there now.
    fn reach(&self, end: usize) -> bool {
        let pages = end.div_ceil(PAGE);
        let have = memory_size(0);
        if pages > have {
            let least = pages - have;
            if memory_grow(0, least.max(STEP)) == usize::MAX && memory_grow(0, least) == usize::MAX {
                return false;
            }
        }
        self.next.store(end, Relaxed);
        true
    }
}

// SAFETY: `alloc` returns memory between the linker's end of data and the end of the linear memory that no earlier call
// returned, aligned as asked for, or null; nothing is ever handed out twice.
#[allow(unsafe_code, reason = "what an allocator is")]
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut next = self.next.load(Relaxed);
        if next == 0 {
            next = &raw const __heap_base as usize;
        }
        let start = next.checked_next_multiple_of(layout.align());
        match start.and_then(|start| Some((start, start.checked_add(layout.size())?))) {
            Some((start, end)) if self.reach(end) => start as *mut u8,
            _ => std::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps alloc's contract. Linear memory starts as zeros and was never used before.
        unsafe { self.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size <= layout.size() {
            return old;
        }
        // The newest block grows where it is.
        let start = old as usize;
        if start + layout.size() == self.next.load(Relaxed) {
            return match start.checked_add(size) {
                Some(end) if self.reach(end) => old,
                _ => std::ptr::null_mut(),
            };
        }
        // SAFETY: the alignment is the old block's, the size not zero; both blocks have the old size at least and
        // don't overlap, because the new one was nobody's.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                std::ptr::copy_nonoverlapping(old, new, layout.size());
            }
            new
        }
    }
}
