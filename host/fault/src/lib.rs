//! Points where a test kills the process or makes a step fail.
//!
//! Owns: the numbering of those points and what `WEFT_FAULT` asks for. Without the feature `points` every call is empty
//! and no environment is read; what users run is built without it.
//!
//! Grammar of `WEFT_FAULT`: `kill:N` (SIGKILL to itself at the Nth point), `fail:N` (the Nth fallible point fails),
//! `list:FILE` (the name of each point is appended to FILE, one a line), counted from 1 within one process; `detach:refused` (no child
//! can be forked to wait in this process's place), `detach:killed` (it is killed before it does anything),
//! `detach:works`.

#[cfg(feature = "points")]
mod armed;

/// A place where the process may be killed. `moment` is `before` or `after`.
#[inline(always)]
pub fn point(moment: &str, name: &str) {
    #[cfg(feature = "points")]
    armed::point(moment, name);
    #[cfg(not(feature = "points"))]
    let _ = (moment, name);
}

/// Whether the step about to be done has to fail.
#[inline(always)]
pub fn fails(name: &str) -> bool {
    #[cfg(feature = "points")]
    return armed::fails(name);
    #[cfg(not(feature = "points"))]
    {
        let _ = name;
        false
    }
}

/// What is to become of a child that waits in this process's place; None: whatever it does by itself.
#[inline(always)]
pub fn detach() -> Option<&'static str> {
    #[cfg(feature = "points")]
    return armed::detach();
    #[cfg(not(feature = "points"))]
    None
}

/// Whether points are compiled in: steps are then done one at a time, so that there is a moment between any two.
pub const ARMED: bool = cfg!(feature = "points");
