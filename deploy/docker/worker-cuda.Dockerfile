# Workers on NVIDIA GPUs: docker build -f deploy/docker/worker-cuda.Dockerfile -t secateur-worker:0.1.0-cuda .
# The machine that runs it needs NVIDIA's driver for CUDA 12.8 and the NVIDIA Container Toolkit.
FROM rust:1.95.0-bookworm AS build
ARG LIBTORCH_URL=https://download.pytorch.org/libtorch/cu128/libtorch-shared-with-deps-2.9.0%2Bcu128.zip
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends unzip \
    && rm -rf /var/lib/apt/lists/*
RUN curl --fail --location --silent --show-error --output /tmp/libtorch.zip "$LIBTORCH_URL" \
    && unzip -q /tmp/libtorch.zip -d /opt \
    && rm /tmp/libtorch.zip
ENV LIBTORCH=/opt/libtorch
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p secateur-worker --features libtorch \
    && install -D -m 755 target/release/secateur-worker /out/secateur-worker

# libtorch brings CUDA's libraries; the base tells the container toolkit which driver it needs. Its C library must not be
# older than that of the build stage.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 secateur \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/cache/secateur --shell /usr/sbin/nologin secateur \
    && install -d -o secateur -g secateur /var/cache/secateur
COPY --from=build /opt/libtorch/lib /opt/libtorch/lib
COPY --from=build /out/secateur-worker /usr/local/bin/secateur-worker
USER 10001:10001
ENTRYPOINT ["secateur-worker", "--log-json", "--cache-dir", "/var/cache/secateur"]
CMD ["--device", "libtorch:cuda:0"]
