# syntax=docker/dockerfile:1

FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# Queries are checked against the committed .sqlx: no database at build time.
ENV SQLX_OFFLINE=true
COPY . .
# The caches are not part of the layer, so the program is copied out of one.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p cli --bin vocalbridge \
    && cp target/release/vocalbridge /usr/local/bin/vocalbridge

FROM debian:12.12-slim
# The roots that vendors' certificates are checked against; the build image has them, the slim one does not.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/vocalbridge /usr/local/bin/vocalbridge
COPY LICENSE NOTICE /usr/share/doc/vocalbridge/
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin vocalbridge
USER 10001:10001
EXPOSE 8000
# SIGTERM drains: what is under way is finished or handed back.
ENTRYPOINT ["vocalbridge"]
CMD ["serve", "--roles", "api,workers,projections"]
