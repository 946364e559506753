# What there is to do here. `just` lists it; everything also works by hand, see README.md and docs/operations.md.

# List the recipes.
default:
    @just --list

# Start everything on this machine: functions, tables, a fake EZWhatsApp and a web console.
run *arguments:
    cargo run -- {{ arguments }}

# Run the tests.
test *arguments:
    cargo test --workspace {{ arguments }}

# Format, then look at everything the compiler can see.
check:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# Measure what the functions take and cost, in tables. `just bench --quick` for a first impression; docs/performance.md reads them.
bench *arguments:
    cargo run --release --bin bench -- {{ arguments }}

# Everything CI does.
ci:
    .ci/run

# Check the template and build what is deployed, for one client.
build client="demo":
    #!/usr/bin/env bash
    set -euo pipefail
    . scripts/tools.sh
    sam validate --lint
    sam build --config-env {{ client }}

# Deploy one client's stack to its AWS account.
deploy client="demo": (build client)
    #!/usr/bin/env bash
    set -euo pipefail
    . scripts/tools.sh
    sam deploy --config-env {{ client }}

# Deploy to an emulator on this machine and tell one order there.
emulate:
    scripts/deploy-to-emulator
