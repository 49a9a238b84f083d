#!/bin/sh
# Run a command in a container of its own, made from $TILECAST_IMAGE, as a pod would: no file of this machine, its
# network, and of the environment what the project's plugins read. Needs root, and Debian's buildah.
set -eu
container=$(buildah from --pull-never "$TILECAST_IMAGE")
trap 'buildah rm "$container" >/dev/null' EXIT
set -- --workingdir /home/tilecast "$container" -- "$@"
for name in $(env | sed -n 's/^\(SNAKEMAKE_[A-Z0-9_]*\)=.*/\1/p'); do
    set -- --env "$name=$(printenv "$name")" "$@"
done
# shellcheck disable=SC2086 # several options
buildah run --isolation chroot ${TILECAST_POD_OPTIONS:-} --env HOME=/home/tilecast "$@"
