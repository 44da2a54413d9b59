package configs

import (
	"fmt"
	"math"
	"net"
	"reflect"
	"strconv"
	"time"
)

// A bound is the smallest and the largest value a number, size or duration may have.
type bound struct{ min, max int64 }

const (
	kib = 1 << 10
	mib = 1 << 20
	day = 24 * time.Hour
)

// bounds of the settings whose type allows more than makes sense.
var bounds = map[string]bound{
	"limits.max_packet_size":       {1 * kib, 256 * mib}, // what a remaining length can express (MQTT 5, 1.5.5)
	"limits.receive_maximum":       {1, 65535},           // 0 is a protocol error (MQTT 5, 3.2.2.3.3)
	"limits.max_inflight":          {1, 65534},           // packet identifiers repeat after 65535
	"limits.max_queue_messages":    {1, math.MaxInt},
	"limits.max_queue_bytes":       {1 * kib, math.MaxInt64},
	"limits.max_queue_age":         {0, int64(10 * 366 * day)},
	"limits.max_outbox_bytes":      {1 * kib, math.MaxInt},
	"limits.max_qos":               {0, 2},
	"limits.max_connections":       {1, math.MaxInt},
	"limits.max_sessions":          {1, math.MaxInt},
	"limits.max_subscriptions":     {1, math.MaxInt},
	"limits.max_retained_messages": {0, math.MaxInt},
	"limits.max_retained_bytes":    {0, math.MaxInt64},
	"limits.max_topic_length":      {1, 65535}, // a string's length has two bytes (MQTT 5, 1.5.4)
	"limits.max_topic_levels":      {1, 65535},
	"limits.max_client_id_length":  {23, 65535}, // 23 bytes must be accepted [MQTT311-3.1.3-5]
	"limits.max_user_properties":   {0, math.MaxInt},
	"limits.connect_timeout":       {int64(10 * time.Millisecond), int64(time.Hour)},
	"limits.write_timeout":         {int64(10 * time.Millisecond), int64(day)},
	"limits.shutdown_timeout":      {0, int64(time.Hour)},
	"limits.event_loops":           {NoEventLoops, 1024},
	"sys.interval":                 {0, int64(day)},
	"storage.sync_interval":        {int64(time.Millisecond), int64(time.Hour)},
	"storage.cache_size":           {1 * mib, math.MaxInt64},
	"admin.max_channel_metrics":    {0, 1_000_000},

	"limits.max_deferred_messages":      {0, math.MaxInt},
	"limits.max_deferred_bytes":         {0, math.MaxInt64},
	"limits.max_delay":                  {int64(time.Second), int64(10 * 366 * day)},
	"channels.ack_timeout":              {int64(10 * time.Millisecond), int64(7 * day)},
	"channels.max_in_flight_per_member": {1, 65535}, // what a Receive Maximum can be
	"channels.backoff":                  {int64(time.Millisecond), int64(7 * day)},
	"channels.backoff_max":              {int64(time.Millisecond), int64(366 * day)},
	"channels.max_attempts":             {0, math.MaxInt32},
	"channels.ttl":                      {0, int64(10 * 366 * day)},
	"channels.max_messages":             {1, math.MaxInt},
	"channels.max_bytes":                {1 * kib, math.MaxInt64},
	"channels.dedup_window":             {0, int64(366 * day)},
	"channels.dedup_max":                {1, 10_000_000},
	"bridges.keep_alive":                {0, int64(65535 * time.Second)}, // it has two bytes (MQTT 5, 3.1.2.10)
	"bridges.idle_timeout":              {int64(time.Second), int64(day)},
	"bridges.retry_min":                 {int64(10 * time.Millisecond), int64(day)},
	"bridges.retry_max":                 {int64(10 * time.Millisecond), int64(day)},
	"bridges.fail_back":                 {0, int64(30 * day)},
	"bridges.max_inflight":              {1, 10_000}, // far from the 65535 packet identifiers, which gaps in the queue use up too
	"bridges.max_queue_messages":        {1, math.MaxInt},
	"bridges.max_queue_bytes":           {1 * kib, math.MaxInt64},
	"bridges.rate_limit":                {0, math.MaxInt},
	"bridges.topics.qos":                {0, 2},
	"bridges.answer_timeout":            {int64(10 * time.Millisecond), int64(time.Hour)},
}

// choicesOf the settings that take one of a few words.
var choicesOf = map[string][]string{
	"listeners.type":           {"tcp", "tls", "ws", "wss", "unix"},
	"listeners.proxy_protocol": {"off", "optional", "required"},
	"limits.queue_full":        {RejectNew, DropOldest},
	"storage.sync":             {SyncAlways, SyncInterval, SyncNever},
	"bridges.version":          {VersionAuto, Version5, Version311},
	"bridges.session":          {"durable", SessionClean},
	"bridges.start":            {"automatic", StartLazy},
	"bridges.on_full":          {FullReject, FullBlock, FullDropOldest},
	"bridges.topics.direction": {DirectionOut, DirectionIn, DirectionBoth},
	"bridges.topics.retain":    {"keep", RetainClear},
	"auth.anonymous":           {"never", "loopback", "always"},
	"log.level":                {"debug", "info", "warn", "error"},
	"log.format":               {"text", "json"},
	"channels.on_full":         {OnFullReject, OnFullBlock, OnFullDropOldest},
}

// textChecks of the settings whose text has a form.
var textChecks = map[string]func(string) error{
	"admin.address": checkOptionalAddress,
}

func (s setting) bound() bound {
	if b, ok := bounds[s.key]; ok {
		return b
	}
	switch s.kind.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return bound{0, 1<<s.kind.Bits() - 1}
	}
	return bound{0, math.MaxInt64}
}

func (b bound) holds(n int64) bool { return n >= b.min && n <= b.max }

func (b bound) numbers() string {
	if b.max == math.MaxInt {
		return fmt.Sprintf("%d up", b.min)
	}
	return fmt.Sprintf("%d to %d", b.min, b.max)
}

func (b bound) sizes() string {
	if b.max == math.MaxInt {
		return formatSize(b.min) + " up, such as 64MiB"
	}
	return fmt.Sprintf("%s to %s", formatSize(b.min), formatSize(b.max))
}

func (b bound) durations() string {
	return fmt.Sprintf("%s to %s", time.Duration(b.min), time.Duration(b.max))
}

func checkOptionalAddress(address string) error {
	if address == "" {
		return nil
	}
	return checkAddress(address)
}

// checkAddress accepts host:port with a numeric port; the host may be empty.
func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("expected host:port such as 127.0.0.1:1883 or :1883, got %q", address)
	}
	return nil
}
