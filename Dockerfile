# One image, one binary with the site inside it. Build: docker build -t tokenbank .
# It uses the same commands as everybody (`make build`); only the tools come from the images instead. `.ci/run` has no
# Docker daemon and does not build it: whoever changes this file does.

FROM node:22-bookworm-slim AS node

FROM rust:1-bookworm AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
# Tools first: they change seldom, and are the slow part of a rebuild.
COPY Cargo.toml Cargo.lock package.json package-lock.json .npmrc ./
COPY scripts scripts
RUN scripts/setup
COPY . .
RUN make build

FROM debian:12-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home tokenbank
COPY --from=build /src/target/release/tokenbank /usr/local/bin/tokenbank
USER tokenbank
# The SQLite database, unless DATABASE_URL names a Postgres.
VOLUME /data
ENV TOKENBANK_DATA=/data TOKENBANK_LISTEN=0.0.0.0:3000
# Large blocks, such as those of password hashes, go back to the system when they are freed.
ENV MALLOC_MMAP_THRESHOLD_=1048576
EXPOSE 3000
# There is no curl in the image, and none is needed.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/3000 && printf 'GET /readyz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q ' 200'"]
ENTRYPOINT ["tokenbank"]
CMD ["serve"]
