# shellcheck shell=bash
# What RAUC makes a bundle of, for a test. Sourced, not run.
#
#   rauc_content      makes the folder `content`

rauc_content() {
    mkdir content
    head -c 65536 /dev/urandom >content/rootfs.img
    cat >content/manifest.raucm <<CONF
[update]
compatible=device
version=1
[bundle]
format=verity
[image.rootfs]
filename=rootfs.img
CONF
}
