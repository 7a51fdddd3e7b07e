//! Memory for a process that lives for one request: handed out from chunks, never taken back.
//!
//! musl's allocator maps single pages from the kernel while components are loaded; handing out chunks saves those calls.
//! A request's memory is bounded by the caps on its configuration and on what components may answer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes taken from the system at once; larger requests go to it directly.
const CHUNK: usize = 1 << 20;
/// What is handed out from chunks.
const LARGEST: usize = 64 << 10;

#[global_allocator]
static MEMORY: Memory = Memory { busy: AtomicBool::new(false), free: UnsafeCell::new((0, 0)) };

struct Memory {
    /// Held while the range below is used.
    busy: AtomicBool,
    /// The unused rest of the current chunk: its first address, and the one after its last.
    free: UnsafeCell<(usize, usize)>,
}

// SAFETY: `free` is only touched between taking and releasing `busy`.
#[allow(unsafe_code, reason = "an allocator is shared by all threads")]
unsafe impl Sync for Memory {}

// SAFETY: memory from a chunk is handed out once, aligned as asked for, and lies within the chunk; what is larger than
// `LARGEST` goes to the system's allocator and comes back to it.
#[allow(unsafe_code, reason = "what an allocator is")]
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST || layout.align() > 4096 {
            // SAFETY: the caller's promise about the layout is passed on.
            return unsafe { System.alloc(layout) };
        }
        while self.busy.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::hint::spin_loop();
        }
        // SAFETY: `busy` is ours.
        let free = unsafe { &mut *self.free.get() };
        let mut start = free.0.next_multiple_of(layout.align());
        if free.0 == 0 || start + layout.size() > free.1 {
            // SAFETY: the size is not zero, the alignment a power of two.
            let chunk = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, 4096)) } as usize;
            if chunk != 0 {
                *free = (chunk, chunk + CHUNK);
            }
            start = chunk;
        }
        if start != 0 {
            free.0 = start + layout.size();
        }
        self.busy.store(false, Ordering::Release);
        start as *mut u8
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.size() > LARGEST || layout.align() > 4096 {
            // SAFETY: `alloc` had it from there, with this layout.
            unsafe { System.dealloc(memory, layout) }
        }
    }
}
