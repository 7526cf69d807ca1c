//! The log read whole, and what must be true of it.
