#!/usr/bin/env bash
# Gets the images that docker-compose.yml builds on: from a registry, or else made of Debian's packages (standins/).
# What is there already is used.
set -euo pipefail
cd "$(dirname "$0")/standins"

log=$(mktemp)
trap 'rm -f "$log" python/python.tar' EXIT

quietly() { "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; exit 1; }; }

image() { # image NAME FOLDER
    docker image inspect "$1" >/dev/null 2>&1 && return
    timeout 600 docker pull --quiet "$1" 2>/dev/null && return
    docker image inspect lenta-standin/debian:trixie >/dev/null 2>&1 || quietly ./debian.sh lenta-standin/debian:trixie
    echo "no registry has $1: making a stand-in"
    DOCKER_BUILDKIT=0 quietly docker build --tag "$1" --label lenta-standin "$2"
}

# The CPython of python:3.12-slim, to be packed into its stand-in.
python=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.* 2>/dev/null | tail -n 1)
if [ -n "$python" ] && ! docker image inspect python:3.12-slim >/dev/null 2>&1; then
    tar -C "$python" --exclude=__pycache__ --exclude='*.a' --exclude=lib/python3.12/test --exclude='*.pth' \
        -cf python/python.tar bin lib include
fi
image python:3.12-slim "$([ -n "$python" ] && echo python || echo python-apt)"
image postgres:17-alpine postgres
image rabbitmq:4.3-management-alpine rabbitmq
image redis:8-alpine redis
image prom/prometheus:v3.5.0 prometheus
image grafana/grafana:12.1.0 grafana
