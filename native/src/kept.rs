//! Bytes that stay for long, taken from the system's allocator.
//!
//! The process's own is fast and keeps as much again free beside blocks of some thousand bytes: too much
//! for what is there for weeks.

use std::alloc::{GlobalAlloc, Layout, System, handle_alloc_error};
use std::ops::Deref;
use std::ptr::NonNull;

/// Immutable bytes.
pub struct Kept {
    at: NonNull<u8>,
    size: usize,
}

// SAFETY: it owns its bytes, and nobody changes them.
unsafe impl Send for Kept {}
unsafe impl Sync for Kept {}

impl From<&[u8]> for Kept {
    fn from(value: &[u8]) -> Self {
        let size = value.len();
        if size == 0 {
            return Kept { at: NonNull::dangling(), size };
        }
        let layout = Layout::for_value(value);
        // SAFETY: the layout is not empty, and the new block is as long as what is copied there.
        let at = unsafe {
            let at = NonNull::new(System.alloc(layout)).unwrap_or_else(|| handle_alloc_error(layout));
            at.as_ptr().copy_from_nonoverlapping(value.as_ptr(), size);
            at
        };
        Kept { at, size }
    }
}

impl Deref for Kept {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes were written there when it was made.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.size) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.size > 0 {
            let layout = Layout::for_value::<[u8]>(self);
            // SAFETY: it came from this allocator with this layout.
            unsafe { System.dealloc(self.at.as_ptr(), layout) }
        }
    }
}
