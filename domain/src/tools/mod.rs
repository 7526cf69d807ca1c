//! The tools that every installation has, by the names that agents and models use.

pub const INVOICE_LOOKUP: &str = "invoice_lookup";
pub const CHECK_AVAILABILITY: &str = "check_availability";
pub const BOOK_APPOINTMENT: &str = "book_appointment";
pub const END_CALL: &str = "end_call";
pub const TRANSFER_CALL: &str = "transfer_call";

/// All of them.
pub const BUILT_IN: [&str; 5] =
    [INVOICE_LOOKUP, CHECK_AVAILABILITY, BOOK_APPOINTMENT, END_CALL, TRANSFER_CALL];
