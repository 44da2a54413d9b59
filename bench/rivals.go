package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// The brokers that are measured where they are installed. Each is configured to let everybody in, to have room for the window and
// to keep as much as it can, and is otherwise as it comes.

// NanoMQ is EMQ's broker in C (nanomq.io, 0.19 and later). It keeps nothing on disk.
func NanoMQ(path string) Broker {
	return Broker{
		Name: "nanomq", Path: path, version: []string{"--version"}, without: []string{Stored},
		args: func(file string) []string { return []string{"start", "--conf", file} },
		config: func(s settings) string {
			return fmt.Sprintf(`listeners.tcp { bind = "127.0.0.1:%d" }
listeners.ws { enable = false }
mqtt {
	max_packet_size = 16MB
	max_mqueue_len = %d
	retry_interval = 1h
}
auth { allow_anonymous = true, no_match = allow, deny_action = ignore }
log { to = [console], level = error }
`, s.port, max(s.inflight, windowMax))
		},
	}
}

// FlashMQ is the broker in C++ (flashmq.org). With a data folder it writes now and then and when it ends, as mosquitto does.
func FlashMQ(path string) Broker {
	return Broker{
		Name: "flashmq", Path: path, version: []string{"--version"},
		args: func(file string) []string { return []string{"--config-file", file} },
		config: func(s settings) string {
			text := fmt.Sprintf(`allow_anonymous true
max_qos_msg_pending_per_client %d
max_qos_bytes_pending_per_client %d
quiet true
listen {
	protocol mqtt
	port %d
	inet_protocol ip4
	inet4_bind_address 127.0.0.1
}
`, windowMax, int64(1)<<31-1, s.port)
			if s.data != "" {
				text += "storage_dir " + s.data + "\n"
			}
			return text
		},
	}
}

// NATS is nats-server with its MQTT gateway. It keeps sessions and what they queue in JetStream, on disk, whatever the case.
func NATS(path string) Broker {
	return Broker{
		Name: "nats-server", Path: path, version: []string{"--version"}, only311: true, without: []string{string(Share)},
		args: func(file string) []string { return []string{"-c", file} },
		config: func(s settings) string {
			return fmt.Sprintf(`listen: "127.0.0.1:%d"
server_name: bench
jetstream { store_dir: %q }
mqtt { listen: "127.0.0.1:%d", max_ack_pending: %d, ack_wait: "1h" }
logtime: false
`, s.spare, s.home(), s.port, max(s.window, s.inflight))
		},
	}
}

// EMQX is EMQ's broker in Erlang (5 and later), which is configured by its environment.
func EMQX(path string) Broker {
	return Broker{
		Name: "emqx", Path: path, version: []string{"eval", "emqx_app:get_release()."},
		args:   func(string) []string { return []string{"foreground"} },
		config: func(settings) string { return "" },
		environment: func(s settings) []string {
			return []string{
				"EMQX_NODE__NAME=bench@127.0.0.1", "EMQX_NODE__COOKIE=bench", "EMQX_NODE__DATA_DIR=" + s.home(), "EMQX_LOG_DIR=" + s.home(),
				fmt.Sprintf("EMQX_LISTENERS__TCP__DEFAULT__BIND=127.0.0.1:%d", s.port),
				"EMQX_LISTENERS__SSL__DEFAULT__ENABLE=false", "EMQX_LISTENERS__WS__DEFAULT__ENABLE=false", "EMQX_LISTENERS__WSS__DEFAULT__ENABLE=false",
				"EMQX_DASHBOARD__LISTENERS__HTTP__BIND=0",
				fmt.Sprintf("EMQX_MQTT__MAX_INFLIGHT=%d", max(s.window, s.inflight)), "EMQX_MQTT__MAX_MQUEUE_LEN=infinity",
				"EMQX_MQTT__MAX_PACKET_SIZE=16MB", "EMQX_FORCE_SHUTDOWN__ENABLE=false",
				fmt.Sprintf("EMQX_DURABLE_SESSIONS__ENABLE=%t", s.data != ""),
				"EMQX_LOG__CONSOLE__LEVEL=error",
			}
		},
	}
}

// VerneMQ is the broker in Erlang (vernemq.com, 2 and later), from a release tree: a packaged one reads nothing but /etc/vernemq.
// It keeps sessions and what they queue in LevelDB, on disk, whatever the case.
func VerneMQ(path string) Broker {
	return Broker{
		Name: "vernemq", Path: path, version: []string{"version"}, prepare: mirrorVerneMQ,
		args: func(string) []string { return []string{"console", "-noshell", "-noinput"} },
		config: func(s settings) string {
			return fmt.Sprintf(`accept_eula = yes
allow_anonymous = on
nodename = bench@127.0.0.1
distributed_cookie = bench
listener.tcp.default = 127.0.0.1:%d
listener.tcp.allowed_protocol_versions = 3,4,5
listener.http.default = 127.0.0.1:%d
max_inflight_messages = %d
max_online_messages = -1
max_offline_messages = -1
max_message_size = 0
plugins.vmq_passwd = off
plugins.vmq_acl = off
log.console = file
log.console.level = error
platform_data_dir = %s
`, s.port, s.spare, max(s.window, s.inflight), s.home())
		},
	}
}

var errNoRelease = errors.New("it is not in a release tree, with releases beside bin")

// mirrorVerneMQ makes a release tree that has its programs from the one that is installed, by links, and its own configuration,
// because VerneMQ reads that of its tree only. It returns the program in it.
func mirrorVerneMQ(path string, s settings) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	from, to := filepath.Dir(filepath.Dir(path)), filepath.Join(s.folder, "release")
	if _, err := os.Stat(filepath.Join(from, "releases")); err != nil {
		return "", fmt.Errorf("%s: %w", path, errNoRelease)
	}
	// It finds its tree from where bin is in truth, which a link would not change.
	if err := os.CopyFS(filepath.Join(to, "bin"), os.DirFS(filepath.Dir(path))); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return "", err
	}
	own := []string{"bin", "etc", "data", "log"}
	for _, e := range entries {
		if slices.Contains(own, e.Name()) {
			continue
		}
		if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return "", err
		}
	}
	for _, name := range own[2:] {
		if err := os.Mkdir(filepath.Join(to, name), 0o700); err != nil {
			return "", err
		}
	}
	if err := os.CopyFS(filepath.Join(to, "etc"), os.DirFS(filepath.Join(from, "etc"))); err != nil {
		return "", err
	}
	config, err := os.ReadFile(filepath.Join(s.folder, configFile))
	if err != nil {
		return "", err
	}
	return filepath.Join(to, "bin", filepath.Base(path)), os.WriteFile(filepath.Join(to, "etc", "vernemq.conf"), config, 0o600)
}
