# One image, one binary with the site inside it. Build: docker build -t tokenbank .
# It uses the same command as everybody (`make build`); only the tools come from the images instead.

FROM node:22-bookworm-slim AS node

FROM rust:1-bookworm AS build
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
# Tools first: they change seldom.
COPY package.json package-lock.json .npmrc Cargo.toml ./
COPY scripts scripts
RUN scripts/setup
COPY . .
RUN make build && mkdir /data

# glibc, certificates and nothing to run but the binary: no shell, no package manager. 65532 is its user without rights.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/tokenbank /usr/local/bin/tokenbank
# The SQLite database, unless DATABASE_URL names a Postgres.
COPY --from=build --chown=65532:65532 /data /data
VOLUME /data
ENV TOKENBANK_DATA=/data TOKENBANK_LISTEN=0.0.0.0:3000
# Large blocks, such as those of password hashes, go back to the system when they are freed.
ENV MALLOC_MMAP_THRESHOLD_=1048576
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/tokenbank", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tokenbank"]
CMD ["serve"]
