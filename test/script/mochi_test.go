package script

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mochi is a foreign broker: what the player can do with it, it does not do by knowing ours.
type mochi struct{ server *mqtt.Server }

func startMochi(_ *testing.T, s Setup) (Target, error) {
	server := mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	server.Options.Capabilities.ReceiveMaximum = s.Limits.ReceiveMaximum
	server.Options.Capabilities.MaximumQos = s.Limits.MaxQoS
	server.Options.Capabilities.TopicAliasMaximum = s.Limits.TopicAliasMaximum
	server.Options.Capabilities.MaximumPacketSize = s.Limits.MaxPacketSize
	server.Options.SysTopicResendInterval = 1 << 40
	server.Options.Capabilities.MaximumMessageExpiryInterval = 0
	if err := server.AddHook(new(allowAll), nil); err != nil {
		return nil, err
	}
	return &mochi{server}, server.Serve()
}

func (m *mochi) Attach(nc net.Conn) { go m.server.EstablishConnection("pipe", nc) }

func (m *mochi) Shutdown(context.Context) error { return m.server.Close() }

// TestForeignBroker plays scripts that any broker passes against one that we did not write.
func TestForeignBroker(t *testing.T) { Run(t, "testdata", false, startMochi) }

// allowAll lets everybody do everything.
type allowAll struct{ mqtt.HookBase }

func (*allowAll) ID() string { return "allow all" }

func (*allowAll) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

func (*allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

func (*allowAll) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

// With rewrite a file takes what came out, and passes from then on.
func TestRewrite(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ping.txt")
	if err := os.WriteFile(file, []byte("# Ping. []\n# A comment.\nalice ping\n\nbob ping\n----\nalice < closed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("rewrite", func(t *testing.T) { Run(t, dir, true, startMochi) })
	t.Run("again", func(t *testing.T) { Run(t, dir, false, startMochi) })
	got, err := os.ReadFile(file)
	want := "# Ping. []\n# A comment.\nalice ping\n\nbob ping\n----\nalice < PINGRESP\nbob < PINGRESP\n"
	if err != nil || string(got) != want {
		t.Errorf("%v, rewritten to\n%s", err, got)
	}
}
