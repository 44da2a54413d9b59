package broker

import (
	"time"

	"github.com/penstockmq/penstock/hooks"
	"github.com/penstockmq/penstock/storage"
)

// publishWill publishes a will message. Its expiry counts from now [MQTT5-3.1.3.2.4].
func (b *Broker) publishWill(t *turn, client *hooks.Client, w *storage.Will) {
	m := *w.Message
	m.Received = time.Now().UnixNano()
	if w.HasExpiry {
		m.Expires = m.Received + int64(w.Expiry)*1e9
	}
	b.calm(func() {
		// The client may have lost the right to publish it since CONNECT.
		if d := b.hooks.AuthorizePublish(client, m.Topic, m.QoS, m.Retain); d.Verdict == hooks.Deny {
			t.drop("", &m, hooks.DropNotAuthorized)
			return
		}
		b.publish(t, client, &m, nil, nil)
	})
}
