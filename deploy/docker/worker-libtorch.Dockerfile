# Workers on processors through libtorch: docker build -f deploy/docker/worker-libtorch.Dockerfile -t secateur-worker:0.1.0-libtorch .
FROM rust:1.95.0-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# Before the sources, so that a change of these does not fetch it again.
COPY deploy/libtorch-cpu.sh deploy/
RUN deploy/libtorch-cpu.sh /opt/libtorch
ENV LIBTORCH=/opt/libtorch
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p secateur-worker --features libtorch \
    && install -D -m 755 target/release/secateur-worker /out/secateur-worker

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 secateur \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/cache/secateur --shell /usr/sbin/nologin secateur \
    && install -d -o secateur -g secateur /var/cache/secateur
# The program remembers this folder.
COPY --from=build /opt/libtorch/lib /opt/libtorch/lib
COPY --from=build /out/secateur-worker /usr/local/bin/secateur-worker
USER 10001:10001
ENTRYPOINT ["secateur-worker", "--log-json", "--cache-dir", "/var/cache/secateur"]
CMD ["--device", "libtorch:cpu"]
