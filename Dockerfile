# syntax=docker/dockerfile:1

# Penstock from scratch: one static binary, no shell, not root. Where no Docker engine runs, "make image-root"
# builds the last stage's root file system from this file and starts the broker in it.
#
#   docker build --build-arg VERSION=$(git describe --always) -t penstock .
#   docker run -p 1883:1883 -p 8083:8083 -v penstock:/data penstock
#
# Clients reach a container from another address than its own, so without accounts they are
# refused (auth.anonymous: loopback). To change anything, mount a file over /etc/penstock/penstock.yaml.

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/penstock ./cmd/penstock
RUN mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY <<EOT /etc/passwd
penstock:x:65532:65532:Penstock:/data:/sbin/nologin
EOT
COPY <<EOT /etc/group
penstock:x:65532:
EOT
COPY <<EOT /etc/penstock/penstock.yaml
listeners:
  - {name: tcp, type: tcp, address: ":1883"}
  - {name: ws, type: ws, address: ":8083", path: /mqtt}
storage: {path: /data}
admin: {address: ":9883"}
EOT
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/penstock /penstock
USER 65532:65532
WORKDIR /data
VOLUME /data
EXPOSE 1883 8083 9883
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/penstock", "health", "--config", "/etc/penstock/penstock.yaml"]
ENTRYPOINT ["/penstock"]
CMD ["serve", "--config", "/etc/penstock/penstock.yaml"]
