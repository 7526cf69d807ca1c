//! Ears and mouth of a call: what audio is, where speech is in it, and how words become speakable.
//!
//! Everything here is a function of its input. This crate must never open a socket, read a clock or ask a vendor.
//!
//! Start with the modules in the order in which a caller's audio passes them.

pub mod frames;
pub mod g711;
pub mod resample;

pub mod vad;

pub mod backchannel;
pub mod endpoint;

pub mod pieces;
pub mod speakable;

pub mod ledger;

pub mod levels;
pub mod mix;
pub mod recording;
pub mod wav;

pub mod containers;
pub mod mp3;
