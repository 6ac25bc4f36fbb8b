# The coordinator, the commands, and workers on processors: docker build -f deploy/docker/secateur.Dockerfile -t secateur:0.1.0 .
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p secateur \
    && install -D -m 755 target/release/secateur /out/secateur

FROM debian:bookworm-slim
# Authorities, for HTTPS to a store and to a database.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 secateur \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/secateur --shell /usr/sbin/nologin secateur \
    && install -d -o secateur -g secateur /var/lib/secateur /var/cache/secateur
COPY --from=build /out/secateur /usr/local/bin/secateur
USER 10001:10001
EXPOSE 7400
# An orchestrator that probes by itself ignores this, and `docker run … worker` needs --no-healthcheck. The coordinator listens
# only once it has replayed its journal.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7400"]
ENTRYPOINT ["secateur"]
CMD ["serve", "--log-json", "--data-dir", "/var/lib/secateur"]
