package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// A page is written line by line: a name and what is to say.
type page struct{ table *tabwriter.Writer }

func (p page) line(shown bool, name, format string, args ...any) {
	if shown {
		fmt.Fprintf(p.table, name+"\t"+format+"\n", args...)
	}
}

// Line says the most important in one line.
func (r *Result) Line() string {
	switch {
	case r.Backlog != nil:
		b := r.Backlog
		text := fmt.Sprintf("%.0f acknowledged/s (p99 %v), %.0f drained/s, %.1f MB of memory at most", b.Growth.PerSecond(), Round(r.Acknowledged.P99),
			b.Drain.PerSecond(), megabytes(b.AnonymousPeak))
		if r.Ready > 0 {
			text += fmt.Sprintf(", ready again in %v", Round(r.Ready))
		}
		return text
	case r.Lone != nil:
		return fmt.Sprintf("%v a message, %v a plain append: %.2f", Round(r.Lone.Broker), Round(r.Lone.Plain), r.Lone.Ratio)
	case r.Options.Scenario == Idle:
		return fmt.Sprintf("%.1f MB, %.1f KB for each of %d connections, %.0f connects/s", megabytes(r.RSSAfter), r.RSSPerConnection/1000, r.Options.Clients,
			r.ConnectsPerSecond)
	case r.Options.Scenario == Latency:
		return r.Latency.String()
	}
	return fmt.Sprintf("%.0f deliveries/s, %.2f µs broker CPU a delivery, %.2f µs generator CPU", r.DeliveriesPerSecond, r.BrokerMicros, r.GeneratorMicros)
}

// Write writes the result for a person.
func (r *Result) Write(w io.Writer) error {
	p := page{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	o := &r.Options
	p.line(true, "scenario", "%s, QoS %d, %d bytes, window %d, MQTT %s", o.Scenario, o.QoS, o.Size, o.Window, map[byte]string{4: "3.1.1", 5: "5"}[o.Version])
	r.writeHeld(p)
	r.writeTraffic(p)
	r.writeMemory(p)
	r.writeTimes(p)
	r.Store.write(p)
	r.Collector.write(p)
	if r.Backlog != nil {
		r.Backlog.write(p)
	}
	if r.Lone != nil {
		r.Lone.write(p)
	}
	r.writeFaults(p)
	return p.table.Flush()
}

func (r *Result) writeHeld(p page) {
	p.line(r.SessionsPerSecond > 0, "sessions", "%.0f/s", r.SessionsPerSecond)
	p.line(r.Options.Scenario == Subs, "subscriptions", "%.0f/s", r.SubscriptionsPerSecond)
	p.line(r.RetainedPerSecond > 0, "retained", "%.0f/s", r.RetainedPerSecond)
	p.line(r.Ready > 0, "ready again", "in %v, with %.1f MB of anonymous memory", Round(r.Ready), megabytes(r.AnonymousReady))
	p.line(r.ConnectsPerSecond > 0, "connects", "%.0f/s", r.ConnectsPerSecond)
}

func (r *Result) writeTraffic(p page) {
	p.line(r.DeliveriesPerSecond > 0, "deliveries", "%.0f/s (%d in %.1f s)", r.DeliveriesPerSecond, r.Delivered, r.Seconds)
	p.line(r.MessagesPerWrite > 0, "in one piece", "%.1f messages of a publisher, %.1f to a subscriber", r.MessagesPerWrite, r.MessagesPerRead)
	p.line(r.BrokerMicros > 0, "broker CPU", "%.2f µs a delivery", r.BrokerMicros)
	for _, use := range r.Processes {
		p.line(len(r.Processes) > 1, fmt.Sprint("  process ", use.PID), "%.2f µs a delivery, %.2f cores", use.Micros, use.Cores)
	}
	p.line(r.GeneratorMicros > 0, "generator CPU", "%.2f µs a delivery", r.GeneratorMicros)
	p.line(r.Options.Scenario != Latency && r.BrokerMicros > 0 && r.GeneratorMicros > r.BrokerMicros, "NOTE", "the generator takes more than the broker: its rate is the generator's")
	p.line(r.BrokerCores > 0, "broker cores", "%.2f", r.BrokerCores)
}

func (r *Result) writeMemory(p page) {
	p.line(r.RSSAfter > 0, "broker memory", "%.1f MB (%.1f MB before)", megabytes(r.RSSAfter), megabytes(r.RSSBefore))
	p.line(r.RSSPerConnection > 0, "memory", "%.1f KB a connection", r.RSSPerConnection/1000)
	p.line(r.RSSPerSubscription > 0, "memory", "%.0f bytes a subscription", r.RSSPerSubscription)
	p.line(r.RSSPerRetained > 0, "memory", "%.0f bytes a retained message", r.RSSPerRetained)
}

func (r *Result) writeTimes(p page) {
	name := "in the window for" // waiting behind the other messages of it, which the generator sent at once
	if r.Options.Scenario == Latency {
		name = "latency"
	}
	p.line(r.Latency.Max > 0, name, "%v", r.Latency)
	p.line(r.Options.Scenario == Latency, "sent late by", "%v", r.Lateness)
	if s := r.Silence; s != nil {
		p.line(true, "longest silence", "%v, %d over 1 ms (the generator itself was away for %v at most)", Round(s.Longest), s.Long, Round(s.Away))
	}
	p.line(r.Acknowledged.Max > 0, "acknowledged in", "%v", r.Acknowledged)
}

func (r *Result) writeFaults(p page) {
	p.line(r.Options.Scenario != Idle, "lost", "%d", r.Lost)
	p.line(r.Options.Scenario != Idle, "out of order", "%d", r.Misordered)
	p.line(r.Repeated > 0, "repeated", "%d", r.Repeated)
	p.line(r.Strange > 0, "of other runs", "%d", r.Strange)
	p.line(r.Forgotten > 0, "forgotten", "%d sessions", r.Forgotten)
	p.line(r.Stalled, "STALLED", "nothing arrived for %v", stallAfter)
}

func megabytes(n int64) float64 { return float64(n) / 1e6 }

func (w *StoreWork) write(p page) {
	if w != nil && w.Fsyncs > 0 {
		p.line(true, "fsyncs", "%.0f/s, %.1f messages each, %.0f bytes written a message", w.FsyncsPerSecond, w.MessagesPerFsync, w.BytesPerMessage)
	}
}

func (w *CollectorWork) write(p page) {
	if w != nil {
		p.line(true, "collections", "%.0f (%.1f/s), each a stop of %v in the mean; the longest since the broker began was %v", w.Collections, w.CollectionsPerSecond,
			Round(w.MeanStop), Round(w.LongestStop))
	}
}

func (b *Backlogged) write(p page) {
	stage := func(name string, s *Stage) {
		p.line(true, name, "%.0f/s (%d in %.1f s), generator CPU %.2f µs each", s.PerSecond(), s.Messages(), s.Seconds, s.GeneratorMicros())
		p.line(s.BrokerCores > 0, name+", broker CPU", "%.2f µs each", s.BrokerMicros())
	}
	stage("published", &b.Growth)
	b.Growth.Store.write(p)
	stage("read", &b.Drain)
	p.line(b.AnonymousPeak > 0, "anonymous memory", "%.1f MB with everything queued, %.1f MB at most", megabytes(b.Anonymous), megabytes(b.AnonymousPeak))
	p.line(b.DiskQueued > 0, "disk", "%.1f MB before, %.1f MB with everything queued, %.1f MB when all was read, %.1f MB %.0f s later", megabytes(b.DiskBefore),
		megabytes(b.DiskQueued), megabytes(b.DiskRead), megabytes(b.DiskSettled), b.SettleSeconds)
}

func (l *LoneResult) write(p page) {
	p.line(true, "a message", "%v (mean of %d)", Round(l.Broker), l.Messages)
	p.line(true, "plain append", "%v (mean); %v", Round(l.Plain), l.Append)
	p.line(true, "ratio", "%.2f", l.Ratio)
}
