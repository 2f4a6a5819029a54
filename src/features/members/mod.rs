//! Members: sign-up, and whether they may pay.

pub mod register_member;
mod set_member_status;
