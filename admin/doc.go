// Package admin serves the operator's side of the broker over HTTP: /metrics for Prometheus, /healthz, /readyz, what the store
// holds and a backup of it below /api/storage, bridges to other brokers below /api/bridges, channels below /api/channels, and
// an index at / that names them.
//
// It sees the broker through Source and what is on disk through Store, reads one snapshot per scrape and changes nothing but
// bridges and channels, through Bridges and Channels. Its noun is the Server. It is tested by asking it over HTTP, and parsing
// its metrics as Prometheus does.
package admin
