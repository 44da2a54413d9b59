package clicks

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/penstockmq/penstock/client"
)

// window is how many messages a worker may have and not have acknowledged.
const window = 200

// work takes messages of a channel until the process is killed. What it takes is in its journal before it is acknowledged.
func work(id, address, channel, folder string) error {
	journal, err := os.Create(filepath.Join(folder, channel+"."+id))
	if err != nil {
		return err
	}
	o := client.Options{
		Endpoint: client.Endpoint{Scheme: "mqtt", Address: address}, Version: client.MQTT5, ClientID: channel + id,
		Clean: true, ReceiveMaximum: window, Timeout: patience,
	}
	err = client.Consume(context.Background(), o, client.Consumption{
		Filters: []client.Filter{{Filter: "$channel/" + channel, QoS: 1}}, Window: window,
		Work: func(_ context.Context, deliveries <-chan *client.Delivery) error {
			return takeDown(journal, deliveries)
		},
	})
	return errors.Join(err, journal.Close())
}

// takeDown writes what there is at once, and acknowledges it at once.
func takeDown(journal *os.File, deliveries <-chan *client.Delivery) error {
	for d := range deliveries {
		batch := []*client.Delivery{d}
		for len(batch) < window && len(deliveries) > 0 {
			batch = append(batch, <-deliveries)
		}
		var lines []byte
		for _, d := range batch {
			lines = append(append(lines, d.Payload...), '\n')
		}
		if _, err := journal.Write(lines); err != nil {
			return err
		}
		client.AckAll(batch)
	}
	return nil
}
