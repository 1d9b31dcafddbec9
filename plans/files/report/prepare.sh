#!/bin/sh
# prepare.sh USER FOLDER: the folder that a service may write to. It leaves a line for each time it ran.
set -eu
install -d -o "$1" -g "$1" -m 755 "$2"
date -u +%FT%TZ >>"$2/.prepared"
