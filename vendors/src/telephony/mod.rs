//! Carriers: how their requests prove who sent them, and the documents they are answered with. Pure: no request is made
//! here.

pub mod twilio;
pub mod twiml;
