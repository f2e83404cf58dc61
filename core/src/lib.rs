#![no_std]
//! Kirin.
