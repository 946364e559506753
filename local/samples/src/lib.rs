//! The recorded deliveries of `events/`: read, refreshed and signed, for tests, the console, the
//! benchmark and the fakes.
//!
//! - [`WebhookPost`] is what a sender posts. [`WebhookPost::from_sample`] reads a recorded one,
//!   [`WebhookPost::sign`] proves it as its sender would ([`SenderProof`]).
//! - [`sample_deliveries`] reads a folder with the facts of its manifest.
//! - [`shift_times`], [`replace_all`] and [`put_at_pointer`] give a recorded body new times, ids
//!   and values. [`corrupted_body`] and [`replace_nth_value`] damage one.
//!
//! `events/README.md` describes the files. The functions panic if a file is missing or
//! unreadable.

mod corruption;
mod post;
mod recording;
mod refresh;
mod sample_file;
mod sender_proof;

pub use corruption::{corrupted_body, replace_nth_value};
pub use post::{WebhookPost, build_header_map};
pub use recording::{SampleDelivery, assert_all_files_listed, assert_all_folders_known, sample_deliveries};
pub use refresh::{parse_seconds, put_at_pointer, random_hex, replace_all, shift_times};
pub use sample_file::{read_sample, read_sample_json, read_sample_text};
pub use sender_proof::{SenderProof, sign_base64, sign_hex, sign_standard_webhooks};
