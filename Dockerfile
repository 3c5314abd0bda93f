# syntax=docker/dockerfile:1
# The worker's image. Build it with `docker build -t ws-worker .`; README.md says how to run it.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG NODE_IMAGE=node:24-bookworm-slim

# --- The tool that writes the program's bill of materials ---------------------
FROM ${RUST_IMAGE} AS cyclonedx
# Unoptimised: it takes half as long to build, and runs for a second.
RUN cargo install cargo-cyclonedx --version 0.5.9 --locked --debug --root /opt/cyclonedx

# --- The program -------------------------------------------------------------
FROM ${RUST_IMAGE} AS build
WORKDIR /src
# Cargo features beside the worker itself. None by default: `demo` brings a mock Lightning and `mock-engine` (`--mock`) a second
# JavaScript engine, which production has no use for. With both: `docker build --build-arg FEATURES=demo,mock-engine`.
ARG FEATURES=""

# Dependencies alone first, so that this layer is made again only when a manifest or the lock file changes: the packages of
# the workspace are empty here, and benches, which name files that an empty package does not have, are left out.
COPY Cargo.toml Cargo.lock ./
COPY actors/Cargo.toml actors/
COPY adaptors/Cargo.toml adaptors/
COPY benches/load/Cargo.toml benches/load/
COPY compiler/Cargo.toml compiler/
COPY lightning-mock/Cargo.toml lightning-mock/
COPY log-events/Cargo.toml log-events/
COPY mock-engine/Cargo.toml mock-engine/
COPY protocol/Cargo.toml protocol/
COPY sandbox/Cargo.toml sandbox/
COPY traces/Cargo.toml traces/
RUN for package in . actors adaptors benches/load compiler lightning-mock log-events mock-engine protocol sandbox traces; do \
      sed -i '/^\[\[bench\]\]/,/^$/d' "$package/Cargo.toml" && mkdir -p "$package/src" && touch "$package/src/lib.rs" && echo 'fn main() {}' > "$package/src/main.rs"; \
    done && \
    cargo build --release --locked --package ws-worker --bin ws-worker --no-default-features --features "$FEATURES" && \
    rm -rf src actors adaptors benches compiler lightning-mock log-events mock-engine protocol sandbox traces

COPY . .
# The commit, for `--version --verbose`: there is no git here.
ARG REVISION=""
# cargo goes by modification times, and those of a checkout may be older than the empty files above.
RUN find . -path ./target -prune -o -name '*.rs' -exec touch {} + && \
    cargo build --release --locked --package ws-worker --bin ws-worker --no-default-features --features "$FEATURES"
COPY --from=cyclonedx /opt/cyclonedx/bin/cargo-cyclonedx /usr/local/bin/
RUN scripts/third-party.sh program /third-party --no-default-features --features "$FEATURES"

# --- The engine and its packages ---------------------------------------------
FROM ${NODE_IMAGE} AS engine
WORKDIR /opt/ws-worker/engine
COPY engine/package.json engine/package-lock.json engine/.npmrc ./
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund
COPY scripts ../scripts
RUN ../scripts/third-party.sh engine /third-party
COPY engine/*.mjs engine/*.cjs ./
# What a worker does after it has installed its engine by itself: fewer files to load in each child.
RUN npm run bundle

# --- The image ---------------------------------------------------------------
FROM ${NODE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ws-worker" \
      org.opencontainers.image.description="Claims OpenFn runs from Lightning and executes them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=engine /opt/ws-worker/engine /opt/ws-worker/engine
COPY --from=build /src/target/release/ws-worker /usr/local/bin/ws-worker
# Bills of materials, and the licences of what is in the two above.
COPY LICENSE /usr/share/doc/ws-worker/
COPY --from=build /third-party /usr/share/doc/ws-worker
COPY --from=engine /third-party /usr/share/doc/ws-worker
COPY --chmod=0755 config/container/entrypoint.sh /usr/local/bin/ws-worker-entrypoint

# All that is written goes below /tmp and into the adaptor repository, so the root file system may be read-only.
RUN install -d -o 1000 -g 1000 /var/lib/ws-worker/repo
ENV NODE_ENV=production \
    WORKER_ENGINE_DIR=/opt/ws-worker/engine \
    WORKER_REPO_DIR=/var/lib/ws-worker/repo \
    NPM_CONFIG_CACHE=/tmp/npm-cache \
    NPM_CONFIG_UPDATE_NOTIFIER=false
VOLUME /var/lib/ws-worker/repo

# `node` in the base image, by number: Kubernetes' runAsNonRoot cannot judge a name.
USER 1000:1000
WORKDIR /tmp
EXPOSE 2222
# SIGTERM drains: no more claims, every run in hand is finished and reported.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.WORKER_PORT || 2222) + '/livez').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["ws-worker-entrypoint"]
CMD ["start"]
