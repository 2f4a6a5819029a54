//! Settings, and what a business day is.

mod business_day;
mod config_changed;
mod get_settings;
mod update_settings;
