//! Randomness for names and MACs.

/// Eight random bytes from the kernel. Where it has none to give (a very early boot), the clock and the process id tell
/// two attachments apart, which is all that names and MACs are for.
pub(crate) fn next() -> u64 {
    let mut bytes = [0_u8; 8];
    let filled =
        std::fs::File::open("/dev/urandom").and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes));
    if filled.is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = now.as_nanos() as u64 ^ u64::from(std::process::id()).rotate_left(32);
        return seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    u64::from_ne_bytes(bytes)
}
