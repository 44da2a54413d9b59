// Package admin serves the operator's side of the broker over HTTP: /metrics for Prometheus, /healthz,
// /readyz, and an index at / that names them.
//
// It sees the broker through Source, reads one snapshot per scrape and changes nothing. Its noun is the
// Server. It is tested by scraping it over HTTP and parsing what it says as Prometheus does.
package admin
