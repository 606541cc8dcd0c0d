# shellcheck shell=bash disable=SC2034,SC2154
# Builds with what is unstable in Rust: sanitizers, whose runtimes come with stable toolchains too, and the counters that libFuzzer
# follows. Sourced after built.sh, not run.
#
#   build_instrumented       builds the targets of fuzz/ and the two modules, our packages with AddressSanitizer, if there is one, in
#                            $instrumented; sets has_address_sanitizer to yes or no
#   toolchain_with PATH      exports RUSTUP_TOOLCHAIN=nightly if only that one has a path below its folder; fails if none has it

instrumented="$target_dir/fuzz/debug"
has_address_sanitizer=no

build_instrumented() {
    # What cargo-fuzz sets: libFuzzer needs the counters and the table of what they stand for.
    local flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
    flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
    flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
    if compgen -G "$(rustc --print target-libdir)/librustc*_rt.asan.a" >/dev/null; then
        flags+=" -Zsanitizer=address"
        has_address_sanitizer=yes
    fi
    INSTRUMENTATION="$flags" INSTRUMENTED_ROOT="$(pwd -P)" RUSTC_WRAPPER="$PWD/scripts/instrumented-rustc.sh" \
        CARGO_TARGET_DIR="$target_dir/fuzz" cargo build --quiet --locked --workspace --manifest-path fuzz/Cargo.toml
}

toolchain_with() {
    local folder
    if [ -e "$(rustc --print sysroot)/$1" ]; then
        return 0
    fi
    folder=$(RUSTUP_TOOLCHAIN=nightly rustc --print sysroot 2>/dev/null) || return 1
    [ -e "$folder/$1" ] || return 1
    export RUSTUP_TOOLCHAIN=nightly
}
