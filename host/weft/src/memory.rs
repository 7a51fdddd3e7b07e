//! Memory for a process that lives for one request: handed out from chunks, never taken back.
//!
//! musl's allocator maps single pages from the kernel while components are loaded; handing out chunks saves those calls.
//! What a usual request needs fits into a few chunks. A component can make the host allocate in a loop, so when all
//! chunks are used up, memory comes from the system and goes back to it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes taken from the system at once; larger requests go to it directly.
const CHUNK: usize = 1 << 20;
/// How many chunks there are at most.
const CHUNKS: usize = 16;
/// What is handed out from chunks.
const LARGEST: usize = 64 << 10;

#[global_allocator]
static MEMORY: Memory =
    Memory { busy: AtomicBool::new(false), chunks: UnsafeCell::new(Chunks { starts: [0; CHUNKS], count: 0, free: 0 }) };

struct Memory {
    /// Held while the chunks are used.
    busy: AtomicBool,
    chunks: UnsafeCell<Chunks>,
}

struct Chunks {
    /// Their first addresses.
    starts: [usize; CHUNKS],
    count: usize,
    /// Where the unused rest of the last one begins.
    free: usize,
}

impl Chunks {
    /// An address for so many bytes; none: the chunks are used up.
    fn take(&mut self, layout: Layout) -> Option<usize> {
        let start = self.free.next_multiple_of(layout.align());
        if let Some(last) = self.starts[..self.count].last()
            && start + layout.size() <= last + CHUNK
        {
            self.free = start + layout.size();
            return Some(start);
        }
        let next = self.starts.get_mut(self.count)?;
        // SAFETY: the size is not zero, the alignment a power of two.
        #[allow(unsafe_code, reason = "asking for a chunk")]
        let chunk = unsafe { System.alloc(Layout::from_size_align_unchecked(CHUNK, 4096)) } as usize;
        if chunk == 0 {
            return None;
        }
        *next = chunk;
        self.count += 1;
        self.free = chunk + layout.size();
        Some(chunk)
    }

    fn has(&self, address: usize) -> bool {
        self.starts[..self.count].iter().any(|start| (*start..start + CHUNK).contains(&address))
    }
}

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut Chunks) -> T) -> T {
        while self.busy.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            std::hint::spin_loop();
        }
        // SAFETY: `busy` is ours, and `work` doesn't allocate by way of this allocator.
        #[allow(unsafe_code, reason = "an allocator has no other lock")]
        let result = work(unsafe { &mut *self.chunks.get() });
        self.busy.store(false, Ordering::Release);
        result
    }
}

/// Whether the system's allocator has it anyway.
fn is_large(layout: Layout) -> bool {
    layout.size() > LARGEST || layout.align() > 4096
}

// SAFETY: `chunks` is only touched between taking and releasing `busy`.
#[allow(unsafe_code, reason = "an allocator is shared by all threads")]
unsafe impl Sync for Memory {}

// SAFETY: memory from a chunk is handed out once, aligned as asked for, and lies within the chunk; everything else, told
// apart by its size or its address, is the system's allocator's and comes back to it.
#[allow(unsafe_code, reason = "what an allocator is")]
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !is_large(layout)
            && let Some(address) = self.with(|chunks| chunks.take(layout))
        {
            return address as *mut u8;
        }
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if is_large(layout) || !self.with(|chunks| chunks.has(memory as usize)) {
            // SAFETY: `alloc` had it from there, with this layout.
            unsafe { System.dealloc(memory, layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_that_is_taken_and_given_back_for_ever_stays_bounded() {
        // Two gigabytes in all, each block written to.
        for round in 0..40_000_u32 {
            let block = vec![round as u8 | 1; 50 << 10];
            assert_eq!(block.last(), Some(&(round as u8 | 1)));
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kilobytes < 200_000, "{kilobytes} kB at the peak");
    }

    #[test]
    fn blocks_keep_what_is_written_to_them() {
        let mut blocks: Vec<Vec<usize>> = (0..2_000).map(|number| vec![number; 1_500]).collect();
        for _ in 0..1_000 {
            blocks.swap_remove(7);
        }
        blocks.extend((5_000..6_000).map(|number| vec![number; 1_500]));
        assert!(blocks.iter().all(|block| block.len() == 1_500 && block.iter().all(|number| *number == block[0])));
    }
}
