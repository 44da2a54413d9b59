package clicks

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/penstockmq/penstock/client"
)

// patience bounds every wait for something that is sure to come. It is generous: a machine may be busy.
const patience = 2 * time.Minute

// serve starts the broker with the three channels.
func (c *stage) serve() {
	c.Helper()
	config := "listeners:\n  - {name: tcp, type: tcp, address: \"127.0.0.1:0\"}\nstorage: {path: " + c.path("data") + "}\nadmin: {address: \"\"}\n" +
		"sys: {interval: 200ms}\nchannels:\n"
	for _, channel := range channels {
		config += "  - {name: " + channel + ", filter: " + topic + ", ack_timeout: 1h, max_in_flight_per_member: 1000}\n" // only a death may have a message delivered twice
	}
	if err := os.WriteFile(c.path("penstock.yaml"), []byte(config), 0o600); err != nil {
		c.Fatal(err)
	}
	broker := exec.Command(c.program, "serve", "--config", c.path("penstock.yaml"))
	log, err := broker.StderrPipe()
	if err != nil {
		c.Fatal(err)
	}
	c.start(broker)
	lines := bufio.NewScanner(log)
	for lines.Scan() && !strings.Contains(lines.Text(), "msg=ready") {
		if strings.Contains(lines.Text(), "msg=listening") {
			_, c.address, _ = strings.Cut(lines.Text(), "address=")
		}
	}
	if c.address == "" {
		c.Fatal("the broker does not listen")
	}
	go func() { // until the broker ends
		for lines.Scan() {
		}
	}()
}

// emptied reports whether nothing is left in the channels, or waits for that.
func (c *stage) emptied(wait bool) bool {
	c.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	left := map[string]int{}
	o := client.Options{
		Endpoint: client.Endpoint{Scheme: "mqtt", Address: c.address}, Version: client.MQTT5, ClientID: client.NewID(), Clean: true, Timeout: patience,
	}
	_, err := client.Subscribe(ctx, o, client.Subscription{
		Filters: []client.Filter{{Filter: "$SYS/channels/+/depth"}},
		Handle: func(m *client.Message) error {
			depth, err := strconv.Atoi(string(m.Payload))
			left[strings.Split(m.Topic, "/")[2]] = depth
			if known := len(left) == len(channels); known && (!wait || sum(left) == 0) {
				cancel()
			}
			return err
		},
	})
	if err != nil {
		c.Fatal(err)
	}
	if wait && (len(left) < len(channels) || sum(left) > 0) {
		c.Fatalf("left in the channels: %v", left)
	}
	return len(left) == len(channels) && sum(left) == 0
}

func sum(depths map[string]int) (n int) {
	for _, depth := range depths {
		n += depth
	}
	return n
}
