#!/bin/sh
# download.sh <what> <command> [argument …]: runs a command that downloads. If it fails, says what is not to be had, and what to look at.
set -u
what=$1
shift
echo "downloading $what"
PIP_RETRIES=${PIP_RETRIES:-2} "$@" && exit
cat >&2 <<END
$what: the download failed; the lines above say how. It needs a network, once: what is downloaded is kept.
Behind a proxy set HTTPS_PROXY; for another package index set pip's PIP_INDEX_URL, or \`[source]\` in cargo's config.toml.
END
exit 1
