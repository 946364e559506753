# Recipes for development; `just` lists them. README.md and docs/operations.md show the commands.

# List the recipes.
default:
    @just --list

# Start the local stack: functions, tables, a fake EZWhatsApp and a web console.
run *arguments:
    cargo run -- {{ arguments }}

# Run the tests.
test *arguments:
    cargo test --workspace {{ arguments }}

# Format, lint and build the documentation.
check:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items

# Measure speed and cost of the functions (docs/performance.md). `just bench --quick` is shorter.
bench *arguments:
    cargo run --release --bin bench -- {{ arguments }}

# Run everything that CI runs.
ci:
    .ci/run

# Check the template and build one client's deployment.
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

# Deploy to an emulator on this machine and test the deployed stack there.
emulate:
    scripts/deploy-to-emulator
