//! `async-select` for simulations: branches are always polled in the order in which they are written.
//!
//! The original starts with a branch that depends on the address of the future, which differs between two runs of a
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
