//! Randomness for names and MACs.

use std::io::Read as _;

/// How many numbers are taken from the kernel at once: enough for the names and MACs of a few attachments.
const BATCH: usize = 16;

/// Random numbers, taken from the kernel in batches.
#[derive(Default)]
pub(crate) struct Random {
    numbers: Vec<u64>,
}

impl Random {
    /// The next one. Where the kernel has none to give (a very early boot), the clock and the process id tell two
    /// attachments apart, which is all that names and MACs are for.
    pub(crate) fn next(&mut self) -> u64 {
        if self.numbers.is_empty() {
            let mut bytes = [0_u8; 8 * BATCH];
            let filled = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
            if filled.is_ok() {
                self.numbers =
                    bytes.chunks_exact(8).map(|eight| eight.iter().fold(0, |n, b| n << 8 | u64::from(*b))).collect();
            }
        }
        self.numbers.pop().unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let seed = now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32);
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        })
    }
}
