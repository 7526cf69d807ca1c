//! The tools that every installation has, by the names that agents and models use.

pub const INVOICE_LOOKUP: &str = "invoice_lookup";
pub const CHECK_AVAILABILITY: &str = "check_availability";
pub const BOOK_APPOINTMENT: &str = "book_appointment";

/// All of them.
pub const BUILT_IN: [&str; 3] = [INVOICE_LOOKUP, CHECK_AVAILABILITY, BOOK_APPOINTMENT];
