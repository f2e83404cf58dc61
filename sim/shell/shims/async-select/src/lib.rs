//! `async-select` for simulations: branches are always tried in the order in which they are written.
//!
//! The original begins with a branch that follows from the address of the future, which differs between two runs of one
//! program. The macros themselves are the original's.

/// Waits for the first of several futures, trying them in order; see the original.
#[macro_export]
macro_rules! select {
    (biased; $($token:tt)*) => {
        $crate::select_biased! { $($token)* }
    };
    ($($token:tt)*) => {
        $crate::select_biased! { $($token)* }
    };
}

#[doc(hidden)]
pub use async_select_proc_macros::select_biased;
