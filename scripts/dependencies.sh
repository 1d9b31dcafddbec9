#!/bin/sh
# Judges the dependencies by deny.toml. What cannot be judged here is said, and is no failure:
# bans and sources are also kept by a test (tests/it/dependencies.rs).
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}

if ! $cargo deny --version >/dev/null 2>&1; then
    echo 'cargo-deny is not installed: licences and advisories were not looked at' \
         '(to get it: cargo install --locked cargo-deny)'
    exit 0
fi
$cargo deny --locked check bans licenses sources
# Fetched first, so that a database out of reach is told from an advisory that was found.
if $cargo deny --locked fetch db 2>/dev/null; then
    $cargo deny --locked check --disable-fetch advisories
else
    echo 'the advisory database cannot be reached: advisories were not looked at'
fi
