# shellcheck shell=bash disable=SC2034,SC2154
# Builds with what is unstable in Rust: sanitizers, whose runtimes come with stable toolchains too, and the counters that libFuzzer
# follows. Sourced after built.sh, not run.
#
#   build_instrumented       builds the targets of fuzz/ and the two modules, our packages with AddressSanitizer, if there is one, in
#                            $instrumented; sets has_address_sanitizer to yes or no
#   toolchain_with PATH      exports RUSTUP_TOOLCHAIN=nightly if only that one has a path below its folder; fails if none has it
#   with_library_sources     the same for the standard library's sources; where no toolchain has them, those of a newer Debian suite are
#                            put beside a copy of the toolchain of their release, which goes first in PATH; fails with the reason in
#                            $obstacle. Wants roots.sh

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

with_library_sources() {
    local root="$target_dir/rust-sources" copy="$target_dir/rust-with-sources" library=lib/rustlib/src/rust toolchain release sysroot
    if toolchain_with "$library/library"; then
        return
    fi
    obstacle=$(root_obstacle)
    if [ -n "$obstacle" ]; then
        obstacle="no toolchain has the standard library's sources (rustup component add rust-src), and of Debian's: $obstacle"
        return 1
    elif ! make_root forky "$root" rust-src; then
        obstacle="no toolchain has the standard library's sources (rustup component add rust-src), and Debian's can't be had"
        return 1
    fi
    release=$(dpkg-query --admindir="$root/var/lib/dpkg" --show --showformat '${Version}' rust-src | cut -d. -f1-2)
    for toolchain in "${RUSTUP_TOOLCHAIN:-stable}" nightly; do
        if [ "$(RUSTUP_TOOLCHAIN=$toolchain rustc --version 2>/dev/null | awk '{ print $2 }' | cut -d. -f1-2)" = "$release" ]; then
            sysroot=$(RUSTUP_TOOLCHAIN=$toolchain rustc --print sysroot)
            rm -rf "$copy"
            # By hard links if both are in one file system. What an attempt has left would have the copy within it.
            cp -al "$sysroot" "$copy" 2>/dev/null || { rm -rf "$copy" && cp -a "$sysroot" "$copy"; }
            mkdir -p "$copy/${library%/*}"
            ln -s "$(echo "$root"/usr/src/rustc-*)" "$copy/$library"
            export PATH="$copy/bin:$PATH"
            return
        fi
    done
    obstacle="no toolchain has the standard library's sources (rustup component add rust-src), and none is of release $release, of which Debian has them"
    return 1
}
