package bench

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Broker is a program that can be started to be measured.
type Broker struct {
	Name string
	// Path is the program.
	Path string
	// config is the text of its configuration file.
	config func(s settings) string
	// args are its arguments, given the configuration file.
	args func(file string) []string
	// version are the arguments with which it prints its version, in the first line.
	version []string
	// measures is set if it serves metrics of its store on settings.metrics.
	measures bool
}

// settings are what a broker is configured to.
type settings struct {
	port     int    // of 127.0.0.1
	window   int    // unacknowledged messages that a client may send
	inflight int    // unacknowledged messages that the broker may send to a client
	data     string // folder for what is durable; empty for none
	metrics  int    // port of 127.0.0.1; 0 for none
}

// Penstock is this broker. Queues are as good as unbounded, because mosquitto's are, and limits as measuring needs them; all
// else is as it comes.
func Penstock(path string) Broker {
	return Broker{
		Name: "penstock", Path: path, version: []string{"version"}, measures: true,
		args: func(file string) []string { return []string{"serve", "--config", file} },
		config: func(s settings) string {
			var admin string
			if s.metrics > 0 {
				admin = fmt.Sprintf("127.0.0.1:%d", s.metrics)
			}
			return fmt.Sprintf(`listeners:
  - {name: bench, type: tcp, address: "127.0.0.1:%d"}
storage: {path: %q, sync: always}
limits: {receive_maximum: %d, max_inflight: %d, max_queue_messages: %d, max_queue_bytes: %d}
admin: {address: %q}
log: {level: warn}
`, s.port, s.data, s.window, min(s.inflight, windowMax-1), countMax, int64(1)<<40, admin)
		},
	}
}

// Mosquitto is Eclipse Mosquitto, as Debian builds it, with room for the window and queues without a bound. With a data folder
// its persistence is on, which writes now and then and acknowledges before.
func Mosquitto(path string) Broker {
	return Broker{
		Name: "mosquitto", Path: path, version: []string{"-h"},
		args: func(file string) []string { return []string{"-c", file} },
		config: func(s settings) string {
			// Its limit is one for both directions.
			text := fmt.Sprintf(`listener %d 127.0.0.1
allow_anonymous true
max_inflight_messages %d
max_queued_messages 0
log_type error
`, s.port, max(s.window, s.inflight))
			if s.data == "" {
				return text + "persistence false\n"
			}
			// Started by root it would otherwise change to a user who may not write there.
			return text + fmt.Sprintf("user root\npersistence true\npersistence_location %s%c\n", s.data, filepath.Separator)
		},
	}
}

// said is the first line that the program prints with its version, or its name.
func (b *Broker) said() string {
	output, _ := exec.Command(b.Path, b.version...).CombinedOutput() // mosquitto's way to say it is an error to it
	line, _, _ := bytes.Cut(output, []byte("\n"))
	if text := strings.TrimSpace(string(line)); text != "" {
		return text
	}
	return b.Name
}
