//! The cost model of the benchmark, which a story shares. The program is in `main.rs`.

pub mod cost;
