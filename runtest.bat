@echo off
rem Builds the provider, the client and akv and runs the tests that need neither the emulator nor a shell: all others are Linux's.
setlocal
cd /d "%~dp0"
where cargo >nul 2>nul
if errorlevel 1 (echo cargo was not found: install Rust from https://rustup.rs 1>&2 & exit /b 1)
cargo test --package managed-hsm --package akv_provider --package akv --lib --bins
if errorlevel 1 (echo FAILED 1>&2 & exit /b 1)
echo SKIPPED: the end-to-end tests and those of the emulator, which run on Linux (runtest.sh, in WSL for example)
