#!/bin/sh
# Starts the worker in the place of this shell, so that it is the process that signals reach.
# A command written for the reference's image names its start script; what follows it are options the worker knows.
case "$1 $2" in
  "pnpm start" | "pnpm start:prod" | "node dist/start.js" | "node packages/ws-worker/dist/start.js")
    shift 2
    [ "$1" = "--" ] && shift
    set -- start "$@"
    ;;
esac
exec ws-worker "$@"
